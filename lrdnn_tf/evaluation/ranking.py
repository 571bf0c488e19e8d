"""Ranking of a gallery for every query, under the Market-1501 protocol: CMC, mAP, mINP.

Nothing is sorted: CMC and AP need only the ranks of the true matches, and the rank of a match is the number of gallery
images at most as far away.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from lrdnn_base.errors import InputError
from lrdnn_tf.data.dataset import JUNK
from lrdnn_tf.evaluation.protocol import Labels, Pairs, Protocol, apply_protocol, same_camera

CMC_RANKS = 50
_BLOCK_BYTES = 16 << 20  # size of a block of distances
_FEW = 0.15  # counting is faster when the near distances are selected first, below this share of them in a row


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Metrics of a ranking. The averages are over the queries that have a true match.

    Attributes:
        cmc: float64 [50], cmc[k - 1] is the share of queries with a true match among the first k.
        mean_ap: Mean average precision, as the mean of the precisions at the true matches.
        mean_ap_trapezoid: The same with the Market-1501 toolkit's trapezoid between the precisions.
        mean_ap_interpolated: The same with the highest precision at a true match or a later one (paper, section 4.2).
        mean_inp: Mean inverse negative penalty (Ye et al., 2021): true matches / rank of the last of them.
        average_precisions: float64 [queries], NaN for queries without a true match.
        first_matches: int64 [queries], rank of the first true match, from 1; 0 without one.
        match_counts: int64 [queries], number of true matches.
        chance_rank1: Expected rank-1 of a random order.
    """

    cmc: np.ndarray
    mean_ap: float
    mean_ap_trapezoid: float
    mean_ap_interpolated: float
    mean_inp: float
    average_precisions: np.ndarray
    first_matches: np.ndarray
    match_counts: np.ndarray
    chance_rank1: float

    @property
    def rank1(self) -> float:
        return float(self.cmc[0])

    @property
    def queries(self) -> int:
        """Number of queries that have a true match."""
        return int(np.count_nonzero(self.match_counts))

    @property
    def queries_left_out(self) -> int:
        """Number of queries without a true match."""
        return len(self.match_counts) - self.queries


def normalize(descriptors: np.ndarray, name: str = "descriptors", out: np.ndarray | None = None) -> np.ndarray:
    """Descriptors scaled to length 1.

    Args:
        descriptors: [images, dimensions], any real dtype.
        name: Their name in error messages.
        out: float32 array for the result; a new one when None.

    Returns:
        float32 [images, dimensions].

    Raises:
        InputError: They are not a matrix, are empty, or a row is all zeros or holds NaN or infinity.
    """
    descriptors = _matrix(descriptors, name)
    largest = np.maximum(descriptors.max(axis=1), -descriptors.min(axis=1))[:, None]  # NaN where the row has one
    usable = np.isfinite(largest) & (largest > 0)
    if not usable.all():
        row = int(np.argmin(usable))
        fault = "is all zeros" if largest[row] == 0 else "holds NaN or infinity"
        raise InputError(
            f"{name}: row {row} {fault} ({np.count_nonzero(~usable)} such rows of {len(usable)}); "
            "such a descriptor has no direction to compare"
        )
    scaled = np.divide(descriptors, largest, out=out)  # so that squares neither overflow nor underflow
    scaled /= np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    return scaled


def _matrix(descriptors: np.ndarray, name: str) -> np.ndarray:
    try:
        descriptors = np.asarray(descriptors, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected a matrix of numbers [images, dimensions] ({error})") from None
    if descriptors.ndim != 2 or 0 in descriptors.shape:
        raise InputError(f"{name}: expected a matrix [images, dimensions], not shape {descriptors.shape}")
    return descriptors


def rank(query: np.ndarray, gallery: np.ndarray, query_labels: Labels, gallery_labels: Labels) -> Ranking:
    """Ranks the gallery for every query by the cosine of L2-normalized descriptors.

    Euclidean distance of normalized descriptors gives the same order. See `lrdnn_tf.evaluation.protocol` for which
    images count; queries without a true match are left out.

    Ties: a wrong image at the same distance as a true match is ranked before it, and images with the same descriptor
    are at the same distance. The order of the gallery therefore has no effect, and a model that cannot distinguish
    people is not rewarded for it.

    Args:
        query, gallery: [queries, D] and [images, D] descriptors, normalized here.
        query_labels, gallery_labels: Their identities and cameras.

    Raises:
        InputError: An argument holds NaN, infinity or a row of zeros, or the lengths differ, or no query has a true
            match; the message names the argument.
    """
    query, gallery = checked_descriptors(query, gallery, query_labels, gallery_labels)
    return _ranking_of(opposite_cosines(query, gallery), apply_protocol(query_labels, gallery_labels))


def rank_distances(blocks: Iterable[np.ndarray], query_labels: Labels, gallery_labels: Labels) -> Ranking:
    """Like rank, from distances: [some queries, images] at a time, in the order of the queries."""
    protocol = apply_protocol(query_labels, gallery_labels)
    return _ranking_of(_checked_blocks(blocks, len(query_labels), len(gallery_labels)), protocol)


def nearest(
    query: np.ndarray, gallery: np.ndarray, query_labels: Labels, gallery_labels: Labels, count: int = 10
) -> list[np.ndarray]:
    """The first `count` gallery images of every query's ranking; arguments and order as in rank.

    Returns:
        An integer array of gallery indices per query, nearest first; shorter where fewer are not ignored.
    """
    query, gallery = checked_descriptors(query, gallery, query_labels, gallery_labels)
    gallery_ids = gallery_labels.identities
    lists = []
    rows = (row for block in opposite_cosines(query, gallery) for row in block)
    for row, identity, camera in zip(rows, query_labels.identities, query_labels.cameras, strict=True):
        right = gallery_ids == identity
        kept = np.flatnonzero(~(right & same_camera(gallery_labels.cameras, camera)) & (gallery_ids != JUNK))
        lists.append(kept[np.lexsort((right[kept], row[kept]))[:count]])
    return lists


def rank_with_camera_pairs(
    query: np.ndarray, gallery: np.ndarray, query_labels: Labels, gallery_labels: Labels
) -> tuple[Ranking, pd.DataFrame]:
    """The result of rank, and the same by pair of cameras, from one pass over the distances.

    Returns:
        The ranking; and a table in which each camera's queries search the images of one other camera alone, with the
        columns query_camera, gallery_camera, queries, rank1, mAP. Pairs in which no query has a match are left out.

    Raises:
        InputError: As for rank.
    """
    query, gallery = checked_descriptors(query, gallery, query_labels, gallery_labels)
    whole = _Counts(apply_protocol(query_labels, gallery_labels))
    whole.protocol.require_matches()
    cameras = gallery_labels.cameras
    columns = {camera: np.flatnonzero(cameras == camera) for camera in np.unique(cameras)}
    parts = {
        camera: _Counts(apply_protocol(query_labels, gallery_labels.take(images))) for camera, images in columns.items()
    }
    for block in opposite_cosines(query, gallery):
        whole.add(block)
        for camera, part in parts.items():
            part.add(block[:, columns[camera]])
    pairs = [
        _camera_table(query_labels.cameras, camera, part.ranking()) for camera, part in parts.items() if part.matches
    ]
    table = pd.concat(pairs).sort_values(["query_camera", "gallery_camera"], ignore_index=True)
    return whole.ranking(), table


def opposite_cosines(query: np.ndarray, gallery: np.ndarray) -> Iterator[np.ndarray]:
    """-cosine of normalized descriptors, by blocks float32 [some queries, images].

    Images with equal descriptors get equal numbers, which a matrix product alone does not guarantee. A block may reuse
    the memory of the previous one: copy what you keep.
    """
    first = _first_copies(gallery)
    kept = np.flatnonzero(first == np.arange(len(gallery)))
    repeated = len(kept) < len(gallery)
    distinct, column = (gallery[kept], np.searchsorted(kept, first)) if repeated else (gallery, None)
    rows = max(1, _BLOCK_BYTES // (4 * len(gallery)))
    memory = np.empty((min(rows, len(query)), len(distinct)), np.float32)
    for start in range(0, len(query), rows):
        block = -query[start : start + rows]
        distances = np.matmul(block, distinct.T, out=memory[: len(block)])
        yield distances[:, column] if repeated else distances


def _first_copies(descriptors: np.ndarray) -> np.ndarray:
    """For every row of a float32 matrix, the index of the first row with the same content."""
    bits = np.ascontiguousarray(descriptors).view(np.int32)
    weights = np.random.default_rng(0).integers(1, 2**31, bits.shape[1], np.int32)
    sums = np.einsum("ij,j->i", bits, weights)  # equal for copies and rarely for other rows; cheap to sort
    _, group, sizes = np.unique(sums, return_inverse=True, return_counts=True)
    alike = np.flatnonzero(sizes[group] > 1)
    first = np.arange(len(bits))
    if len(alike):
        rows = bits[alike].view(f"V{bits.itemsize * bits.shape[1]}").ravel()
        _, index, copy_of = np.unique(rows, return_index=True, return_inverse=True)
        first[alike] = alike[index[copy_of]]
    return first


def normalized_stack(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Both normalized, in one float32 [queries + images, D]; an InputError when their dimensions differ."""
    query, gallery = _matrix(query, "query"), _matrix(gallery, "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise InputError(f"gallery: descriptors have {gallery.shape[1]} dimensions, those of query {query.shape[1]}")
    images = np.empty((len(query) + len(gallery), query.shape[1]), np.float32)
    normalize(query, "query", images[: len(query)])
    normalize(gallery, "gallery", images[len(query) :])
    return images


def checked_descriptors(
    query: np.ndarray, gallery: np.ndarray, query_labels: Labels, gallery_labels: Labels
) -> tuple[np.ndarray, np.ndarray]:
    """Query and gallery normalized; an InputError names the argument that cannot be used."""
    images = normalized_stack(query, gallery)
    query, gallery = images[: len(query)], images[len(query) :]
    for name, labels, descriptors in (("query", query_labels, query), ("gallery", gallery_labels, gallery)):
        if len(labels) != len(descriptors):
            raise InputError(f"{name}_labels: {len(labels)} images, but {len(descriptors)} descriptors in {name}")
    return query, gallery


def _checked_blocks(blocks: Iterable[np.ndarray], queries: int, images: int) -> Iterator[np.ndarray]:
    """The blocks as floats, or an InputError that names the first one that does not fit the labels."""
    query = 0
    for block in blocks:
        block = np.asarray(block)
        if block.ndim != 2 or block.shape[1] != images or query + len(block) > queries:
            raise InputError(
                f"blocks: distances of shape {block.shape}, starting at query {query}, do not fit "
                f"{queries} query_labels and {images} gallery_labels"
            )
        if not np.isfinite(block.max(initial=0)):
            last = query + len(block) - 1
            raise InputError(f"blocks: NaN or infinity among the distances of queries {query} to {last}")
        yield block.astype(np.result_type(block, np.float32), copy=False)
        query += len(block)
    if query != queries:
        raise InputError(f"blocks: distances for {query} queries, but {queries} query_labels")


class _Counts:
    """Counts, block by block, the gallery images that are at most as far from a query as each of its true matches."""

    def __init__(self, protocol: Protocol):
        self.protocol = protocol
        self.matches = len(protocol.matches.gallery)
        self._limits = np.empty(self.matches)
        self._counts = np.empty(self.matches, np.int64)
        self._query = 0

    def add(self, block: np.ndarray) -> None:
        """Adds the distances of the next queries, [some queries, images]; does not change them."""
        protocol, starts = self.protocol, self.protocol.matches.starts
        for query, distances in enumerate(block, self._query):
            mine = slice(starts[query], starts[query + 1])
            if mine.start < mine.stop:
                self._limits[mine] = limits = np.sort(distances[protocol.matches.of(query)])
                distances = distances.copy()
                distances[protocol.same_camera.of(query)] = np.inf
                distances[protocol.junk] = np.inf
                self._counts[mine] = _counts_up_to(limits, distances)
        self._query += len(block)

    def ranking(self) -> Ranking:
        """The metrics over all blocks."""
        ahead = self._counts - 1 - _tied_after(self._limits, self.protocol.matches)
        return _summary(self.protocol, ahead)


def _ranking_of(blocks: Iterable[np.ndarray], protocol: Protocol) -> Ranking:
    protocol.require_matches()
    counts = _Counts(protocol)
    for block in blocks:
        counts.add(block)
    return counts.ranking()


def _camera_table(query_cameras: np.ndarray, gallery_camera: int, ranking: Ranking) -> pd.DataFrame:
    """Averages of a ranking by the camera of the query."""
    results = pd.DataFrame(
        {
            "query_camera": query_cameras,
            "gallery_camera": gallery_camera,
            "rank1": ranking.first_matches == 1,
            "mAP": ranking.average_precisions,
        }
    )[ranking.match_counts > 0]
    by_pair = results.groupby(["query_camera", "gallery_camera"])
    return by_pair.agg(queries=("mAP", "size"), rank1=("rank1", "mean"), mAP=("mAP", "mean")).reset_index()


def _counts_up_to(limits: np.ndarray, distances: np.ndarray) -> list[int]:
    """How many distances are at most each limit; limits are sorted."""
    near = distances <= limits[-1]
    if np.count_nonzero(near) < _FEW * len(near):
        distances = distances[near]
    return [np.count_nonzero(row) for row in distances <= limits[:, None]]


def _tied_after(limits: np.ndarray, matches: Pairs) -> np.ndarray:
    """How many later matches of the same query are at the same distance: they were counted, but are ranked behind."""
    last_of_tie = np.append(limits[1:] != limits[:-1], True)
    last_of_tie[matches.starts[1:][matches.counts > 0] - 1] = True
    ends = np.flatnonzero(last_of_tie)
    indices = np.arange(len(limits))
    return ends[np.searchsorted(ends, indices)] - indices


def _summary(protocol: Protocol, ahead: np.ndarray) -> Ranking:
    """The metrics, from the number of images that are ranked ahead of each true match."""
    counts, starts = protocol.matches.counts, protocol.matches.starts
    valid = counts > 0
    firsts = starts[:-1][valid]
    order = np.arange(1, len(ahead) + 1) - np.repeat(starts[:-1], counts)  # 1 for a query's nearest match, 2, ...
    precisions = order / (ahead + 1)
    previous = np.where(ahead > 0, (order - 1) / np.maximum(ahead, 1), 1.0)  # precision one rank earlier

    def mean_per_query(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, firsts) / counts[valid]

    average_precisions = np.full(len(counts), np.nan)
    average_precisions[valid] = mean_per_query(precisions)
    first_matches = np.zeros(len(counts), np.int64)
    first_matches[valid] = ahead[firsts] + 1
    lasts = starts[1:][valid] - 1
    candidates = protocol.images - protocol.same_camera.counts  # gallery images that are not ignored
    return Ranking(
        cmc=np.mean(first_matches[valid, None] <= np.arange(1, CMC_RANKS + 1), axis=0),
        mean_ap=float(average_precisions[valid].mean()),
        mean_ap_trapezoid=float(mean_per_query((precisions + previous) / 2).mean()),
        mean_ap_interpolated=float(mean_per_query(_highest_from_here(precisions, order)).mean()),
        mean_inp=float(precisions[lasts].mean()),
        average_precisions=average_precisions,
        first_matches=first_matches,
        match_counts=counts,
        chance_rank1=float(np.mean(counts[valid] / candidates[valid])),
    )


def _highest_from_here(precisions: np.ndarray, order: np.ndarray) -> np.ndarray:
    """For each true match, the highest precision at it or at a later match of its query.

    Each pass doubles the number of matches that are looked at, and only selects: nothing is rounded.

    Args:
        precisions: float64 [matches], query by query and nearest first.
        order: int [matches], 1 for a query's nearest match, 2, ...
    """
    highest, step = precisions.copy(), 1
    while step < order.max():
        same_query = order[step:] > step
        highest[:-step] = np.maximum(highest[:-step], np.where(same_query, highest[step:], 0))
        step *= 2
    return highest
