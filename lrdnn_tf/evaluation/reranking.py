"""k-reciprocal re-ranking (Zhong et al., CVPR 2017) in memory that grows with the images, not with their square.

The sets and vectors of the method are sparse, since an image has about twenty neighbours. Only distances are dense;
they are computed in blocks of rows, which are not kept.
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from tqdm import tqdm

from lrdnn_base.errors import InputError
from lrdnn_tf.evaluation import ranking

_TILE = 1024  # images per side of a square tile of distances
_TILES = 4  # tiles that are computed by one matrix product


def rerank(
    query: np.ndarray, gallery: np.ndarray, k1: int = 20, k2: int = 6, lambda_value: float = 0.3
) -> Iterator[np.ndarray]:
    """Re-ranked distances, in blocks of queries, as `ranking.rank_distances` takes them.

    The distance of the paper, (1 - lambda) Jaccard + lambda original, as in its authors' implementation: the original
    distance is the squared Euclidean distance of L2-normalized descriptors, divided by the image's largest distance to
    any query or gallery image; the neighbours of an image are itself and its k1 nearest; its set of
    reciprocal neighbours is expanded by those sets of its members, for k1 / 2, of which it shares more than two thirds;
    vectors are averaged over the k2 nearest, the image itself included.

    Args:
        query, gallery: [queries, D] and [images, D] descriptors, normalized here.
        k1: Number of nearest neighbours that are tested for reciprocity.
        k2: Number of nearest neighbours over which the vectors are averaged; 1 for no averaging.
        lambda_value: Weight of the original distance, 0 to 1.

    Returns:
        An iterator over float32 [some queries, images], in the order of the queries.

    Raises:
        InputError: The descriptors cannot be used, or k1, k2 or lambda_value is out of range; raised by the call, not
            during iteration.
    """
    images = ranking.normalized_stack(query, gallery)
    check_settings(len(gallery), k1, k2, lambda_value)
    return _distances(images, len(query), k1, k2, lambda_value)


def check_settings(gallery_images: int, k1: int, k2: int, lambda_value: float) -> None:
    """Raises an InputError that names the parameter that is out of range for a gallery of this size."""
    if not 1 <= k1 <= gallery_images:
        most = f"the {gallery_images} images of the gallery"
        raise InputError(f"k1={k1}: expected 1 to {most}; try k1={max(1, gallery_images // 2)}")
    if not 1 <= k2 <= k1 + 1:
        raise InputError(f"k2={k2}: expected 1 to k1 + 1 = {k1 + 1}")
    if not 0 <= lambda_value <= 1:
        raise InputError(f"lambda_value={lambda_value}: expected 0 to 1")


def _distances(images: np.ndarray, queries: int, k1: int, k2: int, lambda_value: float) -> Iterator[np.ndarray]:
    neighbours, largest = _neighbours(images, k1 + 1)
    vectors = _reciprocal_vectors(images, neighbours, largest)
    if k2 > 1:
        vectors = _pattern(neighbours[:, :k2]) @ vectors / np.float32(k2)
    gallery_vectors = vectors[queries:].tocsc()
    start = 0
    for cosines in ranking.opposite_cosines(images[:queries], images[queries:]):
        block = slice(start, start + len(cosines))
        original = np.maximum(2 + 2 * cosines, 0) / largest[block, None]
        overlap = _overlap(vectors[block], gallery_vectors)
        jaccard = 1 - overlap / (2 - overlap)  # a vector's sum is 1, so the sum of the maxima is 2 - overlap
        yield (1 - lambda_value) * jaccard + lambda_value * original
        start = block.stop


def _neighbours(images: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest images of every image, and its largest squared distance to any image.

    The matrix of distances is symmetric: only tiles on and above its diagonal are computed, and each is used for its
    rows and its columns.

    Returns:
        int32 [images, count], the image itself, then nearest first; among equally near ones, the lower index first;
        float32 [images].
    """
    total = len(images)
    nearest = np.zeros((total, count), np.int32)
    distances = np.full((total, count), np.inf, np.float32)  # negative cosines of the images in `nearest`
    farthest = np.full(total, -np.inf, np.float32)
    for start, other, tile in _tiles(images):
        rows, columns = slice(start, start + len(tile)), slice(other, other + tile.shape[1])
        farthest[rows] = np.maximum(farthest[rows], tile.max(axis=1))
        farthest[columns] = np.maximum(farthest[columns], tile.max(axis=0))
        if start == other:
            np.fill_diagonal(tile, -np.inf)
        else:
            _keep_nearest(nearest[columns], distances[columns], tile, start, axis=1)
        _keep_nearest(nearest[rows], distances[rows], tile, other, axis=0)
    largest = 2 + 2 * farthest
    return nearest, np.where(largest > 0, largest, 1)  # 0 when all images are equal


def _tiles(images: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Tiles on and above the diagonal of the matrix of negative cosines: first row, first column, float32 tile.

    Several tiles come from one product, since few large products are faster; one tile fits into a cache.
    """
    total = len(images)
    jobs = [(start, other) for start in range(0, total, _TILE) for other in range(start, total, _TILES * _TILE)]
    for start, first in tqdm(jobs, desc="  re-ranking", unit="block", delay=2, disable=None):
        block = -images[start : start + _TILE] @ images[first : first + _TILES * _TILE].T
        for column in range(0, block.shape[1], _TILE):
            yield start, first + column, block[:, column : column + _TILE]


def _keep_nearest(nearest: np.ndarray, distances: np.ndarray, tile: np.ndarray, first: int, axis: int) -> None:
    """Inserts further images into the lists of the nearest where they are nearer than the last entry.

    Args:
        nearest, distances: [lists, count], the lists so far, nearest first; modified in place.
        tile: Distances; the lists belong to its rows (axis 0) or its columns (axis 1).
        first: Index of the first image along the other axis, larger than every index in the lists.
        axis: 0 or 1, the axis of the lists.
    """
    count = distances.shape[1]
    if np.isinf(distances[0, -1]) and tile.shape[1 - axis] >= count:  # the lists are still empty
        limits = np.partition(tile, count - 1, axis=1 - axis).take(count - 1, axis=1 - axis)
    else:
        limits = np.nextafter(distances[:, -1], -np.inf, dtype=np.float32)
    pairs = np.divmod(np.flatnonzero(tile <= np.expand_dims(limits, 1 - axis)), tile.shape[1])
    order = np.argsort(pairs[axis], kind="stable")
    row, other, new = pairs[axis][order], pairs[1 - axis][order], tile[pairs][order]
    changed, starts, found = np.unique(row, return_index=True, return_counts=True)
    if not len(changed):
        return
    # All candidates of a list in one row: the list so far, then the new ones; the rest of the row is infinite.
    position = np.repeat(np.arange(len(changed)), found), count + np.arange(len(row)) - np.repeat(starts, found)
    width = count + found.max()
    values, images = np.full((len(changed), width), np.inf, np.float32), np.zeros((len(changed), width), np.int32)
    values[:, :count], images[:, :count] = distances[changed], nearest[changed]
    values[position], images[position] = new, first + other
    order = np.argsort(values, axis=1, kind="stable")[:, :count]
    distances[changed] = np.take_along_axis(values, order, axis=1)
    nearest[changed] = np.take_along_axis(images, order, axis=1)


def _pattern(neighbours: np.ndarray) -> sp.csr_array:
    """float32 [images, images] with a 1 at (image, each of its neighbours)."""
    total, count = neighbours.shape
    starts = np.arange(0, total * count + 1, count)
    return sp.csr_array((np.ones(total * count, np.float32), neighbours.ravel(), starts), shape=(total, total))


def _reciprocal(neighbours: np.ndarray) -> sp.csr_array:
    """Pairs of images each of which is among the other's neighbours."""
    pattern = _pattern(neighbours)
    return (pattern * pattern.T).tocsr()


def _reciprocal_vectors(images: np.ndarray, neighbours: np.ndarray, largest: np.ndarray) -> sp.csr_array:
    """Equations 5 to 7 of the paper: the expanded reciprocal sets, weighted by exp(-distance); each row sums to 1."""
    k1 = neighbours.shape[1] - 1
    full, half = _reciprocal(neighbours), _reciprocal(neighbours[:, : round(k1 / 2) + 1])
    shared = ((full @ half.T) * full).tocoo()  # at (image, candidate): number of common members
    joins = 3 * shared.data > 2 * half.sum(axis=1)[shared.col]
    joined = sp.csr_array((shared.data[joins], (shared.row[joins], shared.col[joins])), shape=full.shape)
    vectors = (full + joined @ half).tocsr()
    for row, (start, end) in enumerate(zip(vectors.indptr[:-1], vectors.indptr[1:], strict=True)):
        cosines = images[vectors.indices[start:end]] @ images[row]
        weights = np.exp(np.minimum(2 * cosines - 2, 0) / largest[row])
        vectors.data[start:end] = weights / weights.sum()
    return vectors


def _overlap(vectors: sp.csr_array, others: sp.csc_array) -> np.ndarray:
    """Sums of the element-wise minima of every vector with every other: float32 [vectors, others]."""
    overlap = np.empty((vectors.shape[0], others.shape[0]), np.float32)
    lengths = np.diff(others.indptr)
    for row, (start, end) in enumerate(zip(vectors.indptr[:-1], vectors.indptr[1:], strict=True)):
        columns = vectors.indices[start:end]
        counts = lengths[columns]
        first = others.indptr[columns] - (np.cumsum(counts) - counts)
        entries = np.arange(counts.sum()) + np.repeat(first, counts)  # of others, in the columns of this vector
        minima = np.minimum(np.repeat(vectors.data[start:end], counts), others.data[entries])
        overlap[row] = np.bincount(others.indices[entries], minima, minlength=others.shape[0])
    return overlap
