"""Decoding is tested against the targets: from the maps that targets.py draws, it must recover the people."""

import numpy as np
import pytest

from pose_pretrain.decode import Peaks, find_keypoints, find_peaks, highest_peaks, join_limbs, join_people
from pose_pretrain.skeleton import KEYPOINTS, LIMBS
from pose_pretrain.targets import affinity_maps, confidence_maps

HEIGHT, WIDTH = 16, 16  # cells

# A standing person seen from the front: offsets from the pelvis, in units of the head's height.
_STANDING = {
    "nose": (0, -3.0), "neck": (0, -2.3), "eye": (0.2, -3.2), "ear": (0.45, -3.1), "shoulder": (0.8, -2.3),
    "elbow": (1.1, -1.2), "wrist": (1.3, -0.1), "hip": (0.5, 0), "knee": (0.55, 1.7), "ankle": (0.6, 3.4),
}  # fmt: skip


def standing(rng, x, y, head):
    """The person above as keypoints [18, 3], with the pelvis at x, y and noise on each joint."""
    keypoints = np.full((18, 3), 2, np.float32)
    for number, name in enumerate(KEYPOINTS):
        side, _, part = name.rpartition("_")
        aside, down = _STANDING[part]
        keypoints[number, :2] = x + {"right": -head, "left": head, "": 0}[side] * aside, y + head * down
    keypoints[:, :2] += rng.normal(0, 0.1 * head, (18, 2))
    return keypoints


def maps_of(people):
    """Confidence and affinity maps of one image that shows people [people, 18, 3]: [1, h, w, ...]."""
    people = np.asarray(people, np.float32)[None]
    return confidence_maps(people, HEIGHT, WIDTH, 6.0).numpy(), affinity_maps(people, HEIGHT, WIDTH, 1.0).numpy()


def box_of(person):
    low, high = person[:, :2].min(axis=0), person[:, :2].max(axis=0)
    return np.concatenate([low, high - low])[None].astype(np.float32)


def errors(found, person):
    return np.linalg.norm(found[0, :, :2] - person[:, :2], axis=1)


def test_decoding_recovers_the_keypoints_of_one_person():
    """Targets and decoding agree on the position of a cell to a fraction of a pixel."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        person = np.full((18, 3), 2, np.float32)
        person[:, :2] = rng.uniform(8, [8 * WIDTH - 9, 8 * HEIGHT - 9], (18, 2))
        found = find_keypoints(*maps_of([person]))
        np.testing.assert_allclose(found[0, :, :2], person[:, :2], atol=0.05)
        assert (found[..., 2] > 0.6).all()


def test_people_whose_boxes_overlap_keep_their_own_keypoints():
    rng = np.random.default_rng(1)
    near, near_by_height = [], []
    for _ in range(12):
        first = standing(rng, rng.uniform(45, 55), 62, rng.uniform(13, 16))
        second = standing(rng, first[8:12:3, 0].mean() + rng.uniform(20, 30), 66, rng.uniform(13, 16))
        maps = maps_of([first, second])
        for person in (first, second):
            near.append(errors(find_keypoints(*maps, box_of(person)), person) < 3)
            near_by_height.append(errors(highest_peaks(maps[0], box_of(person)), person) < 3)
    assert np.mean(near) > 0.97
    assert np.mean(near_by_height) < 0.85  # this case requires the affinity maps


def test_parts_that_no_limb_joins_are_at_the_highest_peak_in_the_box():
    rng = np.random.default_rng(2)
    person, other = standing(rng, 35, 64, 12), standing(rng, 95, 64, 12)
    confidence, affinity = maps_of([person, other])
    wrist = KEYPOINTS.index("left_wrist")
    for limb, ends in enumerate(LIMBS):
        if wrist in ends:
            affinity[..., 2 * limb : 2 * limb + 2] = 0
    for one in (person, other):
        assert errors(find_keypoints(confidence, affinity, box_of(one)), one)[wrist] < 1
    nobody_joined = find_keypoints(confidence, 0 * affinity, box_of(other))
    np.testing.assert_allclose(nobody_joined, highest_peaks(confidence, box_of(other)), atol=1e-4)


def test_only_peaks_inside_the_box_are_candidates():
    rng = np.random.default_rng(3)
    left, right = np.full((2, 18, 3), 2, np.float32)
    left[:, :2] = rng.uniform([10, 10], [50, 110], (18, 2))
    right[:, :2] = rng.uniform([76, 10], [116, 110], (18, 2))
    maps, _ = maps_of([left, right])
    for person in (left, right):
        assert (errors(highest_peaks(maps, box_of(person)), person) < 1).all()


@pytest.mark.parametrize("box", [[10, 10, 0, 0], [-500, -500, 10, 10], [np.nan] * 4, [20, 20, 10, -3]])
def test_a_box_without_any_cell_stands_for_the_whole_image(box):
    maps = maps_of([standing(np.random.default_rng(4), 60, 60, 14)])
    np.testing.assert_array_equal(find_keypoints(*maps, np.array([box], np.float32)), find_keypoints(*maps))


@pytest.mark.parametrize("shape", [(4, 4), (1, 1), (46, 46)])
def test_all_maps_give_finite_keypoints(shape):
    rng = np.random.default_rng(5)
    affinity = rng.normal(size=(1, *shape, 38)).astype(np.float32)
    for confidence in (np.zeros, np.ones, lambda size: np.full(size, -3.0), lambda size: rng.normal(size=size)):
        found = find_keypoints(confidence((1, *shape, 19)).astype(np.float32), affinity)
        assert found.shape == (1, 18, 3) and found.dtype == np.float32
        assert np.isfinite(found).all() and (found[..., 2] >= 0).all()


def test_peaks_are_the_cells_that_no_neighbour_exceeds():
    confidence = np.random.default_rng(6).uniform(size=(9, 7, 19)).astype(np.float32)
    peaks = find_peaks(confidence)
    expected = set()
    for row in range(9):
        for column in range(7):
            around = confidence[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2, :18]
            tops = np.flatnonzero(around.max(axis=(0, 1)) == confidence[row, column, :18])
            expected |= {(int(part), row, column) for part in tops if confidence[row, column, part] > 0.1}
    column, row = np.round((peaks.position - 3.5) / 8).astype(int).T
    found = {(int(p), int(r), int(c)) for p, r, c in zip(peaks.part, row, column, strict=True)}
    # The maximum of two adjacent cells of equal value lies between them: rounding may select either cell.
    assert len(peaks.part) == len(expected) and len(found & expected) > 0.9 * len(expected)


def test_limbs_are_sorted_by_affinity_and_never_against_their_direction():
    start, end = LIMBS[1]
    peaks = Peaks(
        np.array([start, end, end]), np.array([[20.0, 20.0], [20.0, 80.0], [80.0, 20.0]]), np.array([0.9, 0.8, 0.7])
    )
    affinity = np.zeros((HEIGHT, WIDTH, 38), np.float32)
    affinity[..., 2:4] = [0.3, 0.8]  # right and down
    assert join_limbs(peaks, affinity).tolist() == [[0, 1], [0, 2]]
    assert join_limbs(peaks, -affinity).tolist() == []


def test_no_person_has_a_part_twice_and_no_peak_belongs_to_two_people():
    rng = np.random.default_rng(7)
    peaks = Peaks(rng.integers(0, 18, 60), rng.uniform(0, 128, (60, 2)), rng.uniform(size=60))
    limbs = join_limbs(peaks, rng.normal(size=(HEIGHT, WIDTH, 38)))
    people = join_people(peaks, limbs)
    owned = np.concatenate([person[person >= 0] for person in people])
    assert len(people) > 1 and len(set(owned)) == len(owned)
    for person in people:
        np.testing.assert_array_equal(peaks.part[person[person >= 0]], np.flatnonzero(person >= 0))
