"""Ranking of a gallery for every query, under the Market-1501 protocol: CMC, mAP, mINP.

Nothing is sorted: CMC and AP need only the places of the true matches, and the place of a match is the
number of gallery images at most as far away.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from pose_pretrain.errors import InputError

JUNK = -1  # identity of gallery images that are ignored
DISTRACTOR = 0  # identity of gallery images that are wrong for every query
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


def normalize(descriptors: np.ndarray, name: str = "descriptors") -> np.ndarray:
    """Descriptors scaled to length 1.

    Args:
        descriptors: [images, dimensions], any real dtype.
        name: What the error message calls them.

    Returns:
        float32 [images, dimensions].

    Raises:
        InputError: They are not a matrix, are empty, or a row is all zeros, NaN or infinite.
    """
    descriptors = np.asarray(descriptors, np.float32)
    if descriptors.ndim != 2 or 0 in descriptors.shape:
        raise InputError(f"{name}: expected a matrix [images, dimensions], not shape {descriptors.shape}")
    largest = np.maximum(descriptors.max(axis=1), -descriptors.min(axis=1))[:, None]  # NaN where the row has one
    usable = np.isfinite(largest) & (largest > 0)
    if not usable.all():
        row = int(np.argmin(usable))
        fault = "is all zeros" if largest[row] == 0 else "holds NaN or infinity"
        raise InputError(
            f"{name}: row {row} {fault} ({np.count_nonzero(~usable)} such rows of {len(usable)}); "
            "a direction is needed to compare"
        )
    scaled = descriptors / largest  # before squaring, which would overflow or vanish at the ends of float32
    scaled /= np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    return scaled


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
    ignored, queries without a true match are left out. A wrong image as far away as a true match stands
    before it, so that the result depends neither on the gallery's order nor on the size of blocks.

    Args:
        query, gallery: [queries, D] and [images, D] descriptors, normalized here.
        query_ids, gallery_ids: Integer identities.
        query_cameras, gallery_cameras: Integer cameras.

    Raises:
        InputError: Names the argument that is empty, holds zeros or NaN, or has another length, or says that
            no query has a true match.
    """
    query, gallery, *labels = _checked(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras)
    protocol = _protocol(*labels)
    _require_matches(protocol)
    return _summary(protocol, _places(opposite_cosines(query, gallery), protocol))


def rank_distances(
    blocks: Iterable[np.ndarray],
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
) -> Ranking:
    """Like rank, from distances: [some queries, images] at a time, in the order of the queries."""
    protocol = _protocol(*_labels(query_ids, gallery_ids, query_cameras, gallery_cameras))
    _require_matches(protocol)
    return _summary(protocol, _places(_fitting(blocks, protocol), protocol))


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
    query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras = _checked(
        query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras
    )
    lists = []
    for row, identity, camera in zip(-query @ gallery.T, query_ids, query_cameras, strict=True):
        right = gallery_ids == identity
        kept = np.flatnonzero(~(right & (gallery_cameras == camera)) & (gallery_ids != JUNK))
        lists.append(kept[np.lexsort((right[kept], row[kept]))[:count]])
    return lists


def camera_pairs(
    query: np.ndarray,
    gallery: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
) -> pd.DataFrame:
    """Ranking by pair of cameras: each camera's queries against the images of one other camera alone.

    Returns:
        Columns query_camera, gallery_camera, queries, rank1, mAP; pairs in which no query has a match are left out.
    """
    query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras = _checked(
        query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras
    )
    _require_matches(_protocol(query_ids, gallery_ids, query_cameras, gallery_cameras))
    rows = []
    for camera in np.unique(gallery_cameras):
        here = gallery_cameras == camera
        protocol = _protocol(query_ids, gallery_ids[here], query_cameras, gallery_cameras[here])
        if not protocol.matches.counts.any():
            continue
        ranking = _summary(protocol, _places(opposite_cosines(query, gallery[here]), protocol))
        results = pd.DataFrame(
            {
                "query_camera": query_cameras,
                "gallery_camera": camera,
                "rank1": ranking.first_matches == 1,
                "mAP": ranking.average_precisions,
            }
        )[protocol.matches.counts > 0]
        by_pair = results.groupby(["query_camera", "gallery_camera"])
        rows.append(by_pair.agg(queries=("mAP", "size"), rank1=("rank1", "mean"), mAP=("mAP", "mean")).reset_index())
    return pd.concat(rows, ignore_index=True).sort_values(["query_camera", "gallery_camera"], ignore_index=True)


def opposite_cosines(query: np.ndarray, gallery: np.ndarray) -> Iterator[np.ndarray]:
    """-cosine of normalized descriptors, by blocks float32 [some queries, images].

    Every block lies in the memory of the one before: copy what is to be kept.
    """
    rows = max(1, _BLOCK_BYTES // (4 * len(gallery)))
    memory = np.empty((min(rows, len(query)), len(gallery)), np.float32)
    for start in range(0, len(query), rows):
        block = -query[start : start + rows]
        yield np.matmul(block, gallery.T, out=memory[: len(block)])


def normalized_pair(query: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both normalized; an InputError when they do not have the same number of dimensions."""
    query, gallery = normalize(query, "query"), normalize(gallery, "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise InputError(f"gallery: descriptors have {gallery.shape[1]} dimensions, those of query {query.shape[1]}")
    return query, gallery


def _checked(query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras) -> list[np.ndarray]:
    """All six arguments of rank, normalized and as integers."""
    query, gallery = normalized_pair(query, gallery)
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


def _places(blocks: Iterable[np.ndarray], protocol: _Protocol) -> np.ndarray:
    """Places (from 0 on) of all true matches in their query's ranking, nearest match first: int64 [matches]."""
    matches, same_camera = protocol.matches, protocol.same_camera
    limits = np.empty(len(matches.gallery))
    counts = np.empty(len(matches.gallery), np.int64)
    rows = (distances for block in blocks for distances in block)
    for query, distances in enumerate(rows):
        mine = slice(matches.starts[query], matches.starts[query + 1])
        if mine.start < mine.stop:
            limits[mine] = mine_limits = np.sort(distances[matches.gallery[mine]])
            distances = distances.copy()
            distances[same_camera.of(query)] = np.inf
            distances[protocol.junk] = np.inf
            counts[mine] = _counts_up_to(mine_limits, distances)
    return counts - 1 - _tied_after(limits, matches)


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
