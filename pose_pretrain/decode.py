"""Decodes maps into keypoints: finds peaks, joins them by limbs, assembles people, and selects the person in a box.

The method is that of Cao et al. (CVPR 2017, sections 2.3 and 2.4), except that a given box selects one person.
All coordinates are pixels of the network's input.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from pose_pretrain.network import STRIDE
from pose_pretrain.skeleton import KEYPOINTS, LIMBS

_FIRST_CENTRE = (STRIDE - 1) / 2  # centre of the first cell in pixels
_MIN_CONFIDENCE = 0.1  # of a peak
_MIN_AFFINITY = 0.05  # mean along a limb
_SAMPLES = 10  # of the affinity maps along a limb, as in OpenPose
_MAX_PEAKS = 20  # per part: the maps of an untrained network have hundreds


class Peaks(NamedTuple):
    """Local maxima of the confidence maps: part int [M], position float [M, 2] (x, y in pixels), score float [M]."""

    part: np.ndarray
    position: np.ndarray
    score: np.ndarray


def find_keypoints(confidence: np.ndarray, affinity: np.ndarray, boxes: np.ndarray | None = None) -> np.ndarray:
    """Finds, in each image, the keypoints of the person who fits the box best.

    Boxes of overlapping people contain keypoints of both; the affinity maps assign them to people.

    Args:
        confidence: float32 [N, h, w, 19].
        affinity: float32 [N, h, w, 38].
        boxes: float32 [N, 4], x, y, width, height. A box without any cell, or None, stands for the whole image.

    Returns:
        float32 [N, 18, 3]: x, y, and the value of the peak as score, at least 0. Parts that were not joined to this
        person are at the maximum of their map inside the box.
    """
    count, height, width, _ = confidence.shape
    boxes = _whole_image_where_empty(boxes, count, height, width)
    joined = np.stack([_fitting_person(*one) for one in zip(confidence, affinity, boxes, strict=True)])
    return np.where(joined[..., 2:] > 0, joined, highest_peaks(confidence, boxes)).astype(np.float32)


def highest_peaks(confidence: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Finds the maximum of each part's map over the cells whose centre is at most half a cell outside the box.

    Args:
        confidence: float32 [N, h, w, 19].
        boxes: float32 [N, 4], x, y, width, height.

    Returns:
        float64 [N, 18, 3]: x, y with sub-cell precision, and the value, at least 0.
    """
    parts = np.maximum(confidence[..., : len(KEYPOINTS)], 0)
    count, height, width, _ = parts.shape
    candidates = np.where(_cells_inside(boxes, height, width)[..., None], parts, -1)
    row, column = np.divmod(candidates.reshape(count, height * width, -1).argmax(axis=1), width)  # [N, 18] each
    number, part = np.ogrid[:count, : len(KEYPOINTS)]
    cells = (number, row, column, part)
    return np.concatenate([_sub_cell(parts, *cells), parts[cells][..., None]], axis=-1)


def find_peaks(confidence: np.ndarray) -> Peaks:
    """Finds the local maxima of one image's confidence maps [h, w, 19] with sub-cell precision."""
    parts = confidence[..., : len(KEYPOINTS)]
    neighbourhood_maximum = ndimage.maximum_filter(parts, size=(3, 3, 1), mode="nearest")
    cells = np.nonzero((parts == neighbourhood_maximum) & (parts > _MIN_CONFIDENCE))
    highest_first = np.argsort(-parts[cells], kind="stable")
    of_parts = [highest_first[cells[2][highest_first] == part][:_MAX_PEAKS] for part in range(len(KEYPOINTS))]
    row, column, part = (axis[np.concatenate(of_parts)] for axis in cells)
    position = _sub_cell(parts[None], np.zeros_like(row), row, column, part)
    return Peaks(part, position, parts[row, column, part])


def join_limbs(peaks: Peaks, affinity: np.ndarray) -> np.ndarray:
    """Returns the pairs of peaks that the affinity maps [h, w, 38] join, int [L, 2], by descending affinity."""
    pairs, scores = [], []
    for limb, (start, end) in enumerate(LIMBS):
        both = np.flatnonzero(peaks.part == start), np.flatnonzero(peaks.part == end)
        pair = np.stack(np.meshgrid(*both, indexing="ij"), axis=-1).reshape(-1, 2)
        pairs.append(pair)
        scores.append(_affinity_along(affinity[..., 2 * limb : 2 * limb + 2], *peaks.position[pair.T]))
    pairs, scores = np.concatenate(pairs), np.concatenate(scores)
    descending = np.argsort(-scores, kind="stable")
    return pairs[descending[scores[descending] > _MIN_AFFINITY]]


def join_people(peaks: Peaks, limbs: np.ndarray) -> list[np.ndarray]:
    """Assembles people from peaks, limb by limb, in the given order.

    A limb joins the two partial people at its ends, unless both have the same part and are therefore two people.

    Returns:
        For each person of at least two peaks, int [18]: the index of each part's peak, -1 for a missing part.
    """
    people = [np.where(np.arange(len(KEYPOINTS)) == part, number, -1) for number, part in enumerate(peaks.part)]
    owner = list(range(len(people)))  # for each peak, the index of its person in people
    for one, other in limbs:
        kept, given = owner[one], owner[other]
        common = (people[kept] >= 0) & (people[given] >= 0)
        if kept != given and not common.any():
            people[kept] = np.maximum(people[kept], people[given])
            for peak in people[given][people[given] >= 0]:
                owner[peak] = kept
    return [people[number] for number in sorted(set(owner)) if (people[number] >= 0).sum() > 1]


def _fitting_person(confidence: np.ndarray, affinity: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Returns the keypoints [18, 3] of the person who fits the box [4] best; rows of missing parts are 0."""
    peaks = find_peaks(confidence)
    people = join_people(peaks, join_limbs(peaks, affinity))
    keypoints = np.zeros((len(KEYPOINTS), 3))
    if people:
        person = max(people, key=lambda person: _overlap(peaks.position[person[person >= 0]], box))
        found = person[person >= 0]
        keypoints[person >= 0] = np.column_stack([peaks.position[found], peaks.score[found]])
    return keypoints


def _affinity_along(vectors: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Returns the mean component [L] of vectors [h, w, 2] along lines from start to end [L, 2] (Cao, equation 10)."""
    direction = (end - start) / np.maximum(np.linalg.norm(end - start, axis=1, keepdims=True), 1e-6)
    share = np.linspace(0, 1, _SAMPLES)[:, None, None]
    column, row = np.moveaxis((start + share * (end - start) - _FIRST_CENTRE) / STRIDE, -1, 0)
    sampled = [ndimage.map_coordinates(vectors[..., axis], (row, column), order=1, mode="nearest") for axis in (0, 1)]
    return (sampled[0] * direction[:, 0] + sampled[1] * direction[:, 1]).mean(axis=0)


def _overlap(positions: np.ndarray, box: np.ndarray) -> float:
    """Computes the intersection over union of a box [4] and the bounding box of positions [K, 2]."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    shared = np.prod(np.maximum(np.minimum(high, box[:2] + box[2:]) - np.maximum(low, box[:2]), 0))
    return float(shared / (np.prod(high - low) + np.prod(box[2:]) - shared))


def _whole_image_where_empty(boxes: np.ndarray | None, count: int, height: int, width: int) -> np.ndarray:
    whole = np.tile(np.float32([0, 0, STRIDE * width, STRIDE * height]), (count, 1))
    if boxes is None:
        return whole
    usable = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    usable &= _cells_inside(boxes, height, width).any(axis=(1, 2))
    return np.where(usable[:, None], boxes, whole)


def _cells_inside(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns which cells have their centre at most half a cell outside the box: bool [N, h, w]."""

    def within(cells: int, start: np.ndarray, length: np.ndarray) -> np.ndarray:
        centres = STRIDE * np.arange(cells) + _FIRST_CENTRE
        start, end = start[:, None] - STRIDE / 2, (start + length)[:, None] + STRIDE / 2
        return (centres >= start) & (centres <= end)

    columns, rows = (within(cells, boxes[:, axis], boxes[:, axis + 2]) for cells, axis in ((width, 0), (height, 1)))
    return rows[:, :, None] & columns[:, None, :]


def _sub_cell(parts: np.ndarray, number: np.ndarray, row: np.ndarray, column: np.ndarray, part: np.ndarray):
    """Refines maxima at cells of parts [N, h, w, 18] to sub-cell precision: x, y in pixels, [..., 2]."""
    # With mirrored edges, a peak at the edge stays in the centre of its cell: its outer neighbour is unknown.
    padded = np.pad(parts, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")

    def height_at(rows_off: int, columns_off: int) -> np.ndarray:
        return padded[number, row + 1 + rows_off, column + 1 + columns_off, part]

    x = column + _peak_offset(height_at(0, -1), height_at(0, 0), height_at(0, 1))
    y = row + _peak_offset(height_at(-1, 0), height_at(0, 0), height_at(1, 0))
    return STRIDE * np.stack([x, y], axis=-1) + _FIRST_CENTRE


def _peak_offset(before: np.ndarray, peak: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Returns the offset of the maximum of a Gaussian through three adjacent cells from the middle one, -0.5..0.5."""
    before, peak, after = (np.log(np.maximum(value, 1e-3)) for value in (before, peak, after))
    curvature = 2 * peak - before - after
    offset = np.divide(after - before, 2 * curvature, out=np.zeros_like(peak), where=curvature > 1e-6)
    return np.clip(offset, -0.5, 0.5)
