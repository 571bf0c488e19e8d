"""Maps to the keypoints of people: peaks, limbs that join them, people put together from limbs, the one in the box.

Cao et al. (CVPR 2017, sections 2.3 and 2.4) put people together so; here a box says which of them is asked for.
All coordinates are pixels of the network's input.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from pose_pretrain.network import STRIDE
from pose_pretrain.skeleton import KEYPOINTS, LIMBS

_FIRST_CENTRE = (STRIDE - 1) / 2  # of the first cell, in pixels
_LOWEST_PEAK = 0.1  # of a confidence map
_LOWEST_LIMB = 0.05  # mean of the affinity along a limb
_SAMPLES = 10  # of the affinity maps along a limb, as OpenPose takes
_MOST_PEAKS = 20  # of a part: the maps of an untrained network have hundreds


class Peaks(NamedTuple):
    """Local maxima of the confidence maps: part int [M], place float [M, 2] (x, y), score float [M]."""

    part: np.ndarray
    place: np.ndarray
    score: np.ndarray


def find_keypoints(confidence: np.ndarray, affinity: np.ndarray, boxes: np.ndarray | None = None) -> np.ndarray:
    """Of the people whom the maps show, the one who fits the box best.

    Boxes of people who overlap hold keypoints of both; the affinity maps tell whose they are.

    Args:
        confidence: float32 [N, h, w, 19].
        affinity: float32 [N, h, w, 38].
        boxes: float32 [N, 4], x, y, width, height. A box that holds no cell, or None, is the whole image.

    Returns:
        float32 [N, 18, 3]: x, y, and the peak's height as score, at least 0. Parts that were not joined to this
        person are at the highest peak of their map inside the box.
    """
    count, height, width, _ = confidence.shape
    boxes = _whole_image_where_empty(boxes, count, height, width)
    joined = np.stack([_fitting_person(*one) for one in zip(confidence, affinity, boxes, strict=True)])
    guessed = highest_peaks(confidence, boxes)
    return np.where(joined[..., 2:] > 0, joined, guessed).astype(np.float32)


def highest_peaks(confidence: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The highest value of each part's map in cells whose centre is inside the box, or half a cell around.

    Args:
        confidence: float32 [N, h, w, 19].
        boxes: float32 [N, 4].

    Returns:
        float64 [N, 18, 3]: x, y to a fraction of a cell, and the value, at least 0.
    """
    parts = np.maximum(confidence[..., : len(KEYPOINTS)], 0)
    count, height, width, _ = parts.shape
    looked_at = np.where(_cells_inside(boxes, height, width)[..., None], parts, -1)
    row, column = np.divmod(looked_at.reshape(count, height * width, -1).argmax(axis=1), width)  # [N, 18] each
    number, part = np.ogrid[:count, : len(KEYPOINTS)]
    cells = (number, row, column, part)
    return np.concatenate([_sub_cell(parts, *cells), parts[cells][..., None]], axis=-1)


def find_peaks(confidence: np.ndarray) -> Peaks:
    """The local maxima of one image's parts [h, w, 19], to a fraction of a cell."""
    parts = confidence[..., : len(KEYPOINTS)]
    highest_around = ndimage.maximum_filter(parts, size=(3, 3, 1), mode="nearest")
    cells = np.nonzero((parts == highest_around) & (parts > _LOWEST_PEAK))
    highest_first = np.argsort(-parts[cells], kind="stable")
    of_parts = [highest_first[cells[2][highest_first] == part][:_MOST_PEAKS] for part in range(len(KEYPOINTS))]
    row, column, part = (axis[np.concatenate(of_parts)] for axis in cells)
    place = _sub_cell(parts[None], np.zeros_like(row), row, column, part)
    return Peaks(part, place, parts[row, column, part])


def join_limbs(peaks: Peaks, affinity: np.ndarray) -> np.ndarray:
    """The pairs of peaks that the affinity maps [h, w, 38] join, the surest first: int [L, 2]."""
    pairs, scores = [], []
    for limb, (start, end) in enumerate(LIMBS):
        both = np.flatnonzero(peaks.part == start), np.flatnonzero(peaks.part == end)
        pair = np.stack(np.meshgrid(*both, indexing="ij"), axis=-1).reshape(-1, 2)
        pairs.append(pair)
        scores.append(_affinity_along(affinity[..., 2 * limb : 2 * limb + 2], *peaks.place[pair.T]))
    pairs, scores = np.concatenate(pairs), np.concatenate(scores)
    surest_first = np.argsort(-scores, kind="stable")
    return pairs[surest_first[scores[surest_first] > _LOWEST_LIMB]]


def join_people(peaks: Peaks, limbs: np.ndarray) -> list[np.ndarray]:
    """Joins peaks to people limb by limb, in the order given.

    A limb joins the two partial people at its ends, unless they have a part in common and so are two people.

    Returns:
        For each person of two peaks or more int [18]: the number of each part's peak, -1 where it has none.
    """
    people = [np.where(np.arange(len(KEYPOINTS)) == part, number, -1) for number, part in enumerate(peaks.part)]
    owner = list(range(len(people)))  # of each peak: a number in people
    for one, other in limbs:
        kept, given = owner[one], owner[other]
        common = (people[kept] >= 0) & (people[given] >= 0)
        if kept != given and not common.any():
            people[kept] = np.maximum(people[kept], people[given])
            for peak in people[given][people[given] >= 0]:
                owner[peak] = kept
    return [people[number] for number in sorted(set(owner)) if (people[number] >= 0).sum() > 1]


def _fitting_person(confidence: np.ndarray, affinity: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Keypoints [18, 3] of the person who fits the box [4] best; zeros where a part, or anybody, is missing."""
    peaks = find_peaks(confidence)
    people = join_people(peaks, join_limbs(peaks, affinity))
    keypoints = np.zeros((len(KEYPOINTS), 3))
    if people:
        person = max(people, key=lambda person: _overlap(peaks.place[person[person >= 0]], box))
        found = person[person >= 0]
        keypoints[person >= 0] = np.column_stack([peaks.place[found], peaks.score[found]])
    return keypoints


def _affinity_along(vectors: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The mean of the vectors' [h, w, 2] component along lines from start to end [L, 2]: [L] (equation 10 there)."""
    direction = (end - start) / np.maximum(np.linalg.norm(end - start, axis=1, keepdims=True), 1e-6)
    share = np.linspace(0, 1, _SAMPLES)[:, None, None]
    column, row = np.moveaxis((start + share * (end - start) - _FIRST_CENTRE) / STRIDE, -1, 0)
    sampled = [ndimage.map_coordinates(vectors[..., axis], (row, column), order=1, mode="nearest") for axis in (0, 1)]
    return (sampled[0] * direction[:, 0] + sampled[1] * direction[:, 1]).mean(axis=0)


def _overlap(places: np.ndarray, box: np.ndarray) -> float:
    """Intersection over union of a box [4] and the smallest one around places [K, 2]."""
    low, high = places.min(axis=0), places.max(axis=0)
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
    """Which cells [N, h, w] have their centre in the box, or half a cell around it."""

    def within(cells: int, start: np.ndarray, length: np.ndarray) -> np.ndarray:
        centres = STRIDE * np.arange(cells) + _FIRST_CENTRE
        start, end = start[:, None] - STRIDE / 2, (start + length)[:, None] + STRIDE / 2
        return (centres >= start) & (centres <= end)

    columns, rows = (within(cells, boxes[:, axis], boxes[:, axis + 2]) for cells, axis in ((width, 0), (height, 1)))
    return rows[:, :, None] & columns[:, None, :]


def _sub_cell(parts: np.ndarray, number: np.ndarray, row: np.ndarray, column: np.ndarray, part: np.ndarray):
    """Where the top around cells of parts [N, h, w, 18] is: x, y in pixels, [..., 2]."""
    # Mirrored edges: a peak on the edge stays in the middle of its cell, its outer neighbour is unknown.
    padded = np.pad(parts, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")

    def height_at(rows_off: int, columns_off: int) -> np.ndarray:
        return padded[number, row + 1 + rows_off, column + 1 + columns_off, part]

    x = column + _peak_offset(height_at(0, -1), height_at(0, 0), height_at(0, 1))
    y = row + _peak_offset(height_at(-1, 0), height_at(0, 0), height_at(1, 0))
    return STRIDE * np.stack([x, y], axis=-1) + _FIRST_CENTRE


def _peak_offset(before: np.ndarray, peak: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where a Gaussian through three neighbours has its top, in cells from the middle one, at most half a cell."""
    before, peak, after = (np.log(np.maximum(value, 1e-3)) for value in (before, peak, after))
    curvature = 2 * peak - before - after
    offset = np.divide(after - before, 2 * curvature, out=np.zeros_like(peak), where=curvature > 1e-6)
    return np.clip(offset, -0.5, 0.5)
