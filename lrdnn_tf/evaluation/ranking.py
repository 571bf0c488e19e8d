"""Ranking of a gallery for every query, under the Market-1501 protocol: CMC, mAP, mINP.

Nothing is sorted: CMC and AP need only the places of the true matches, and the place of a match is the
number of gallery images at most as far away.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from lrdnn_base.errors import InputError
from lrdnn_tf.data.dataset import DISTRACTOR, JUNK

CMC_RANKS = 50
_BLOCK_BYTES = 16 << 20  # distances held at a time
_FEW = 0.15  # below this share of a row, picking the values out first makes counting cheaper


@dataclasses.dataclass(frozen=True)
class Ranking:
    """What a ranking came to. The averages are over the queries that have a true match.

    Attributes:
        cmc: float64 [50], cmc[k - 1] is the share of queries with a true match among the first k.
        mean_ap: Mean average precision, as the mean of the precisions at the true matches.
        mean_ap_trapezoid: The same with the Market-1501 toolkit's trapezoid between the precisions.
        mean_inp: Mean inverse negative penalty (Ye et al., 2021): true matches / place of the last of them.
        average_precisions: float64 [queries], NaN for queries without a true match.
        first_matches: int64 [queries], place of the first true match from 1 on, 0 without one.
        match_counts: int64 [queries], true matches that count.
        chance_rank1: Rank-1 that an order drawn at random has on average.
    """

    cmc: np.ndarray
    mean_ap: float
    mean_ap_trapezoid: float
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
        """Queries that have a true match, which the averages are over."""
        return int(np.count_nonzero(self.match_counts))

    @property
    def queries_left_out(self) -> int:
        """Queries without a true match in another camera."""
        return len(self.match_counts) - self.queries


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """Pairs of a query and a gallery image, sorted by query: pairs of query q are starts[q] to starts[q + 1]."""

    gallery: np.ndarray
    starts: np.ndarray

    def of(self, query: int) -> np.ndarray:
        return self.gallery[self.starts[query] : self.starts[query + 1]]

    @property
    def counts(self) -> np.ndarray:
        return np.diff(self.starts)


@dataclasses.dataclass(frozen=True)
class _Protocol:
    """Which gallery images are right and which are ignored, for every query."""

    matches: _Pairs
    same_camera: _Pairs
    junk: np.ndarray
    images: int  # in the gallery, without junk

    @property
    def candidates(self) -> np.ndarray:
        """Gallery images that are not ignored, per query."""
        return self.images - self.same_camera.counts


def normalize(descriptors: np.ndarray, name: str = "descriptors", out: np.ndarray | None = None) -> np.ndarray:
    """Descriptors scaled to length 1.

    Args:
        descriptors: [images, dimensions], any real dtype.
        name: What the error message calls them.
        out: Where they go, float32; new memory when None.

    Returns:
        float32 [images, dimensions].

    Raises:
        InputError: They are not a matrix, are empty, or a row is all zeros, NaN or infinite.
    """
    descriptors = _matrix(descriptors, name)
    largest = np.maximum(descriptors.max(axis=1), -descriptors.min(axis=1))[:, None]  # NaN where the row has one
    usable = np.isfinite(largest) & (largest > 0)
    if not usable.all():
        row = int(np.argmin(usable))
        fault = "is all zeros" if largest[row] == 0 else "holds NaN or infinity"
        raise InputError(
            f"{name}: row {row} {fault} ({np.count_nonzero(~usable)} such rows of {len(usable)}); "
            "a direction is needed to compare"
        )
    scaled = np.divide(descriptors, largest, out=out)  # before squaring, which would overflow or vanish
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


def rank(
    query: np.ndarray,
    gallery: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
) -> Ranking:
    """Ranks the gallery for every query by the cosine of L2-normalized descriptors.

    Euclidean distance of normalized descriptors gives the same order. The Market-1501 protocol (Zheng et al.,
    ICCV 2015): gallery images of the query's identity from its own camera and images of identity -1 are
    ignored, queries without a true match are left out.

    Ties: a wrong image as far away as a true match stands before it, and images with the same descriptor are as far
    away. So the gallery's order changes nothing, and a model that tells nobody apart is not rewarded for it.

    Args:
        query, gallery: [queries, D] and [images, D] descriptors, normalized here.
        query_ids, gallery_ids: Integer identities.
        query_cameras, gallery_cameras: Integer cameras.

    Raises:
        InputError: Names the argument that is empty, holds zeros or NaN, or has another length, or says that
            no query has a true match.
    """
    query, gallery, *labels = checked_inputs(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras)
    return _ranking_of(opposite_cosines(query, gallery), _protocol(*labels))


def rank_distances(
    blocks: Iterable[np.ndarray],
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
) -> Ranking:
    """Like rank, from distances: [some queries, images] at a time, in the order of the queries."""
    protocol = _protocol(*_labels(query_ids, gallery_ids, query_cameras, gallery_cameras))
    return _ranking_of(_fitting(blocks, protocol), protocol)


def nearest(
    query: np.ndarray,
    gallery: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
    count: int = 10,
) -> list[np.ndarray]:
    """The first `count` gallery images of every query's ranking, for looking at: arguments and order as in rank.

    Returns:
        An integer array of gallery indices per query, nearest first; shorter where fewer are not ignored.
    """
    query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras = checked_inputs(
        query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras
    )
    lists = []
    rows = (row for block in opposite_cosines(query, gallery) for row in block)
    for row, identity, camera in zip(rows, query_ids, query_cameras, strict=True):
        right = gallery_ids == identity
        kept = np.flatnonzero(~(right & (gallery_cameras == camera)) & (gallery_ids != JUNK))
        lists.append(kept[np.lexsort((right[kept], row[kept]))[:count]])
    return lists


def rank_with_camera_pairs(
    query: np.ndarray,
    gallery: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
) -> tuple[Ranking, pd.DataFrame]:
    """What rank gives, and the same by pair of cameras, from one pass over the distances.

    Returns:
        The ranking; and a table in which each camera's queries search the images of one other camera alone, with the
        columns query_camera, gallery_camera, queries, rank1, mAP. Pairs in which no query has a match are left out.

    Raises:
        InputError: As rank.
    """
    query, gallery, *labels = checked_inputs(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras)
    query_ids, gallery_ids, query_cameras, gallery_cameras = labels
    whole = _Counts(_protocol(*labels))
    _require_matches(whole.protocol)
    columns = {camera: np.flatnonzero(gallery_cameras == camera) for camera in np.unique(gallery_cameras)}
    parts = {
        camera: _Counts(_protocol(query_ids, gallery_ids[here], query_cameras, gallery_cameras[here]))
        for camera, here in columns.items()
    }
    for block in opposite_cosines(query, gallery):
        whole.add(block)
        for camera, part in parts.items():
            part.add(block[:, columns[camera]])
    pairs = [_camera_table(query_cameras, camera, part.ranking()) for camera, part in parts.items() if part.matches]
    table = pd.concat(pairs).sort_values(["query_camera", "gallery_camera"], ignore_index=True)
    return whole.ranking(), table


def opposite_cosines(query: np.ndarray, gallery: np.ndarray) -> Iterator[np.ndarray]:
    """-cosine of normalized descriptors, by blocks float32 [some queries, images].

    Images with the very same descriptor get the very same numbers, which a matrix product alone does not promise.
    Every block may lie in the memory of the one before: copy what is to be kept.
    """
    first = _first_copies(gallery)
    kept = np.flatnonzero(first == np.arange(len(gallery)))
    repeated = len(kept) < len(gallery)
    distinct, place = (gallery[kept], np.searchsorted(kept, first)) if repeated else (gallery, None)
    rows = max(1, _BLOCK_BYTES // (4 * len(gallery)))
    memory = np.empty((min(rows, len(query)), len(distinct)), np.float32)
    for start in range(0, len(query), rows):
        block = -query[start : start + rows]
        distances = np.matmul(block, distinct.T, out=memory[: len(block)])
        yield distances[:, place] if repeated else distances


def _first_copies(descriptors: np.ndarray) -> np.ndarray:
    """For every row of a float32 matrix, the number of the first row with the same content."""
    bits = np.ascontiguousarray(descriptors).view(np.int32)
    weights = np.random.default_rng(0).integers(1, 2**31, bits.shape[1], np.int32)
    sums = np.einsum("ij,j->i", bits, weights)  # equal for copies, seldom for others; sorting these is cheap
    _, group, sizes = np.unique(sums, return_inverse=True, return_counts=True)
    alike = np.flatnonzero(sizes[group] > 1)
    first = np.arange(len(bits))
    if len(alike):
        rows = bits[alike].view(f"V{bits.itemsize * bits.shape[1]}").ravel()
        _, index, place = np.unique(rows, return_index=True, return_inverse=True)
        first[alike] = alike[index[place]]
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


def check_labels(
    query_ids: np.ndarray, gallery_ids: np.ndarray, query_cameras: np.ndarray, gallery_cameras: np.ndarray
) -> None:
    """Raises the InputError that rank would raise because of the labels, before descriptors are there."""
    _require_matches(_protocol(*_labels(query_ids, gallery_ids, query_cameras, gallery_cameras)))


def checked_inputs(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras) -> list[np.ndarray]:
    """All six arguments of rank, normalized and as integers; an InputError names the one that cannot be used."""
    images = normalized_stack(query, gallery)
    query, gallery = images[: len(query)], images[len(query) :]
    labels = _labels(query_ids, gallery_ids, query_cameras, gallery_cameras)
    for name, ids, descriptors in (("query_ids", labels[0], query), ("gallery_ids", labels[1], gallery)):
        if len(ids) != len(descriptors):
            raise InputError(f"{name}: {len(ids)} identities for {len(descriptors)} descriptors")
    return [query, gallery, *labels]


def _labels(query_ids, gallery_ids, query_cameras, gallery_cameras) -> list[np.ndarray]:
    """The four label arrays as integers, or an InputError that names the one that cannot be used."""
    labels = {
        "query_ids": query_ids,
        "gallery_ids": gallery_ids,
        "query_cameras": query_cameras,
        "gallery_cameras": gallery_cameras,
    }
    labels = {name: np.asarray(values) for name, values in labels.items()}
    for name, values in labels.items():
        if values.ndim != 1 or not len(values):
            raise InputError(f"{name}: expected one integer per image, not shape {values.shape}")
        if not np.issubdtype(values.dtype, np.integer):
            raise InputError(f"{name}: expected integers, not {values.dtype}")
        ids = labels[name.replace("cameras", "ids")]
        if len(values) != len(ids):
            raise InputError(f"{name}: {len(values)} cameras for {len(ids)} identities")
    return list(labels.values())


def _protocol(
    query_ids: np.ndarray, gallery_ids: np.ndarray, query_cameras: np.ndarray, gallery_cameras: np.ndarray
) -> _Protocol:
    order = np.argsort(gallery_ids, kind="stable")
    first = np.searchsorted(gallery_ids, query_ids, "left", sorter=order)
    counts = np.searchsorted(gallery_ids, query_ids, "right", sorter=order) - first
    counts[query_ids <= DISTRACTOR] = 0  # nobody in particular: no image of the gallery is right
    query = np.repeat(np.arange(len(query_ids)), counts)
    within = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    gallery = order[first[query] + within]
    same_camera = query_cameras[query] == gallery_cameras[gallery]

    def pairs(chosen: np.ndarray) -> _Pairs:
        ends = np.cumsum(np.bincount(query[chosen], minlength=len(query_ids)))
        return _Pairs(gallery[chosen], np.concatenate([[0], ends]))

    junk = np.flatnonzero(gallery_ids == JUNK)
    return _Protocol(pairs(~same_camera), pairs(same_camera), junk, len(gallery_ids) - len(junk))


def _require_matches(protocol: _Protocol) -> None:
    if not protocol.matches.counts.any():
        raise InputError("query_ids: no query has an image of its identity from another camera in the gallery")


def _fitting(blocks: Iterable[np.ndarray], protocol: _Protocol) -> Iterator[np.ndarray]:
    """The blocks as floats, or an InputError that says which does not fit the labels."""
    queries, images = len(protocol.matches.counts), protocol.images + len(protocol.junk)
    query = 0
    for block in blocks:
        block = np.asarray(block)
        if block.ndim != 2 or block.shape[1] != images or query + len(block) > queries:
            raise InputError(
                f"blocks: distances of shape {block.shape} from query {query} on do not fit "
                f"{queries} query_ids and {images} gallery_ids"
            )
        if not np.isfinite(block.max(initial=0)):
            last = query + len(block) - 1
            raise InputError(f"blocks: NaN or infinity among the distances of queries {query} to {last}")
        yield block.astype(np.result_type(block, np.float32), copy=False)
        query += len(block)
    if query != queries:
        raise InputError(f"blocks: distances for {query} queries, but {queries} query_ids")


class _Counts:
    """Counts, block by block, how many images of its ranking stand up to each true match of a query."""

    def __init__(self, protocol: _Protocol):
        self.protocol = protocol
        self.matches = len(protocol.matches.gallery)
        self._limits = np.empty(self.matches)
        self._counts = np.empty(self.matches, np.int64)
        self._query = 0

    def add(self, block: np.ndarray) -> None:
        """Distances of the next queries, [some queries, images]; left as they are."""
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
        """What all blocks together came to."""
        places = self._counts - 1 - _tied_after(self._limits, self.protocol.matches)
        return _summary(self.protocol, places)


def _ranking_of(blocks: Iterable[np.ndarray], protocol: _Protocol) -> Ranking:
    _require_matches(protocol)
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


def _tied_after(limits: np.ndarray, matches: _Pairs) -> np.ndarray:
    """How many later matches of the same query are exactly as far away: they were counted, but stand behind."""
    last_of_tie = np.append(limits[1:] != limits[:-1], True)
    last_of_tie[matches.starts[1:][matches.counts > 0] - 1] = True
    ends = np.flatnonzero(last_of_tie)
    places = np.arange(len(limits))
    return ends[np.searchsorted(ends, places)] - places


def _chance(protocol: _Protocol) -> float:
    valid = protocol.matches.counts > 0
    return float(np.mean(protocol.matches.counts[valid] / protocol.candidates[valid]))


def _summary(protocol: _Protocol, places: np.ndarray) -> Ranking:
    counts, starts = protocol.matches.counts, protocol.matches.starts
    valid = counts > 0
    firsts = starts[:-1][valid]
    order = np.arange(1, len(places) + 1) - np.repeat(starts[:-1], counts)  # 1 for a query's nearest match, 2, ...
    precisions = order / (places + 1)
    before = np.where(places > 0, (order - 1) / np.maximum(places, 1), 1.0)  # precision one place further up

    def mean_per_query(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, firsts) / counts[valid]

    average_precisions = np.full(len(counts), np.nan)
    average_precisions[valid] = mean_per_query(precisions)
    first_matches = np.zeros(len(counts), np.int64)
    first_matches[valid] = places[firsts] + 1
    lasts = starts[1:][valid] - 1
    return Ranking(
        cmc=np.mean(first_matches[valid, None] <= np.arange(1, CMC_RANKS + 1), axis=0),
        mean_ap=float(average_precisions[valid].mean()),
        mean_ap_trapezoid=float(mean_per_query((precisions + before) / 2).mean()),
        mean_inp=float(precisions[lasts].mean()),
        average_precisions=average_precisions,
        first_matches=first_matches,
        match_counts=counts,
        chance_rank1=_chance(protocol),
    )
