"""k-reciprocal re-ranking (Zhong et al., CVPR 2017) in memory that grows with the images, not with their square.

Everything the method compares is sparse: an image has some twenty neighbours. Only distances are dense, and
those are made by blocks of rows and forgotten.
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from lrdnn_tf.evaluation import ranking
from pose_pretrain.errors import InputError

_GROUPS = 512  # groups of columns whose least distances bound the k-th least of a row
_PAIR_BYTES = 16 << 20  # descriptors of pairs of images that are gathered at once


def rerank(
    query: np.ndarray, gallery: np.ndarray, k1: int = 20, k2: int = 6, lambda_value: float = 0.3
) -> Iterator[np.ndarray]:
    """Re-ranked distances, by blocks of queries, as `ranking.rank_distances` takes them.

    The distance of the paper, (1 - lambda) Jaccard + lambda original, in its authors' formulation: the original
    distance is the squared Euclidean one of L2-normalized descriptors, each image's divided by its largest to
    any query or gallery image; the k1 nearest are counted beside the image itself; the sets of reciprocal neighbours
    are expanded by those at half k1 that share more than two thirds; vectors are averaged over the k2 nearest.

    Args:
        query, gallery: [queries, D] and [images, D] descriptors, normalized here.
        k1: Neighbours that are tried for reciprocity.
        k2: Neighbours over which the vectors are averaged; 1 leaves them as they are.
        lambda_value: Share of the original distance, 0 to 1.

    Returns:
        An iterator over float32 [some queries, images], in the order of the queries.

    Raises:
        InputError: Bad descriptors, or k1, k2 or lambda_value out of range; raised at once, not on iteration.
    """
    query, gallery = ranking.normalized_pair(query, gallery)
    if not 1 <= k1 <= len(gallery):
        raise InputError(f"k1={k1}: expected 1 to the {len(gallery)} images of the gallery; try k1={len(gallery) // 2}")
    if not 1 <= k2 <= k1 + 1:
        raise InputError(f"k2={k2}: expected 1 to k1 + 1 = {k1 + 1}")
    if not 0 <= lambda_value <= 1:
        raise InputError(f"lambda_value={lambda_value}: expected 0 to 1")
    return _distances(np.concatenate([query, gallery]), len(query), k1, k2, lambda_value)


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
        jaccard = 1 - overlap / (2 - overlap)  # vectors add up to 1, so the sum of the maxima is 2 - overlap
        yield (1 - lambda_value) * jaccard + lambda_value * original
        start = block.stop


def _neighbours(images: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest images of every image, and the largest squared distance that it has to any.

    Returns:
        int32 [images, count], the image itself, then nearest first, the lower index first among equals;
        float32 [images].
    """
    total = len(images)
    neighbours, largest = np.empty((total, count), np.int32), np.empty(total, np.float32)
    start = 0
    for cosines in ranking.opposite_cosines(images, images):
        rows = np.arange(start, start + len(cosines))
        largest[rows] = 2 + 2 * cosines.max(axis=1)
        cosines[rows - start, rows] = -np.inf
        for row, values, bound in zip(rows, cosines, _upper_bounds(cosines, count), strict=True):
            near = np.flatnonzero(values <= bound)
            neighbours[row] = near[values[near].argsort(kind="stable")[:count]]
        start += len(cosines)
    return neighbours, np.where(largest > 0, largest, 1)  # 0: all images alike


def _upper_bounds(distances: np.ndarray, count: int) -> np.ndarray:
    """A number per row that at least `count` of its distances do not exceed, and few do not.

    The count-th least of the minima of groups of columns: much cheaper than the count-th least of all.
    """
    total = distances.shape[1]
    if total < 2 * _GROUPS or count > _GROUPS:
        return np.partition(distances, count - 1, axis=1)[:, count - 1]
    whole = total // _GROUPS * _GROUPS
    minima = distances[:, :whole].reshape(len(distances), -1, _GROUPS).min(axis=1)
    return np.partition(minima, count - 1, axis=1)[:, count - 1]


def _pattern(neighbours: np.ndarray) -> sp.csr_array:
    """float32 [images, images] with a 1 at (image, each of its neighbours)."""
    total, count = neighbours.shape
    starts = np.arange(0, total * count + 1, count)
    return sp.csr_array((np.ones(total * count, np.float32), neighbours.ravel(), starts), shape=(total, total))


def _reciprocal(neighbours: np.ndarray) -> sp.csr_array:
    """Pairs of images that are among each other's neighbours."""
    pattern = _pattern(neighbours)
    return (pattern * pattern.T).tocsr()


def _reciprocal_vectors(images: np.ndarray, neighbours: np.ndarray, largest: np.ndarray) -> sp.csr_array:
    """Equations 5 to 7 of the paper: the expanded reciprocal sets, weighted by exp(-distance), rows adding up to 1."""
    k1 = neighbours.shape[1] - 1
    full, half = _reciprocal(neighbours), _reciprocal(neighbours[:, : round(k1 / 2) + 1])
    shared = ((full @ half.T) * full).tocoo()  # at (image, candidate): members of the candidate's set that it shares
    joins = 3 * shared.data > 2 * half.sum(axis=1)[shared.col]
    joined = sp.csr_array((shared.data[joins], (shared.row[joins], shared.col[joins])), shape=full.shape)
    pairs = (full + joined @ half).tocoo()
    weights = np.empty(pairs.nnz, np.float32)
    at_once = max(1, _PAIR_BYTES // (2 * images[0].nbytes))
    for start in range(0, pairs.nnz, at_once):
        row, col = pairs.row[start : start + at_once], pairs.col[start : start + at_once]
        distances = np.maximum(2 - 2 * np.einsum("ij,ij->i", images[row], images[col]), 0)
        weights[start : start + at_once] = np.exp(-distances / largest[row])
    weights /= np.bincount(pairs.row, weights, minlength=len(images))[pairs.row]
    return sp.csr_array((weights, (pairs.row, pairs.col)), shape=pairs.shape)


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
