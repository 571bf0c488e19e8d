"""Targets are compared with a slow reference that loops over all cells."""

import math

import numpy as np
import pytest

from pose_pretrain.skeleton import KEYPOINTS, LIMBS, from_coco
from pose_pretrain.targets import affinity_maps, confidence_maps, position_weights

HEIGHT, WIDTH = 6, 9


def reference_confidence(people, sigma):
    maps = np.zeros((HEIGHT, WIDTH, 19))
    for i in range(HEIGHT):
        for j in range(WIDTH):
            px, py = 8 * j + 3.5, 8 * i + 3.5
            for person in people:
                for part, (x, y, v) in enumerate(person.tolist()):
                    if v > 0:
                        value = math.exp(-((px - x) ** 2 + (py - y) ** 2) / (2 * sigma**2))
                        maps[i, j, part] = max(maps[i, j, part], value)
            maps[i, j, 18] = 1 - maps[i, j, :18].max()
    return maps


def reference_affinity(people, limb_width):
    maps = np.zeros((HEIGHT, WIDTH, 38))
    for limb, (start, end) in enumerate(LIMBS):
        for i in range(HEIGHT):
            for j in range(WIDTH):
                p = np.array([8 * j + 3.5, 8 * i + 3.5])
                vectors = []
                for person in people.astype(np.float64):
                    a, b = person[start], person[end]
                    length = np.linalg.norm(b[:2] - a[:2])
                    if a[2] == 0 or b[2] == 0 or length == 0:
                        continue
                    u = (b[:2] - a[:2]) / length
                    along, across = np.dot(p - a[:2], u), np.dot(p - a[:2], [-u[1], u[0]])
                    if 0 <= along <= length and abs(across) <= 8 * limb_width:
                        vectors.append(u)
                if vectors:
                    maps[i, j, 2 * limb : 2 * limb + 2] = np.mean(vectors, axis=0)
    return maps


def random_batch(make_keypoints, seed):
    """Three images of 3, 1 and 0 people, padded; some keypoints are outside the image."""
    rng = np.random.default_rng(seed)
    batch = np.zeros((3, 3, 18, 3), np.float32)
    for image, people in enumerate((3, 1, 0)):
        keypoints = from_coco(make_keypoints(rng, people, 8 * HEIGHT, 8 * WIDTH))
        keypoints[..., :2] += rng.normal(0, 10, (people, 18, 2)) * (keypoints[..., 2:] > 0)
        batch[image, :people] = keypoints
    return batch


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sigma", [2.5, 7.0])
def test_confidence_maps_equal_the_reference(make_keypoints, seed, sigma):
    batch = random_batch(make_keypoints, seed)
    maps = confidence_maps(batch, HEIGHT, WIDTH, sigma)
    expected = np.stack([reference_confidence(people, sigma) for people in batch])
    np.testing.assert_allclose(maps, expected, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limb_width", [0.7, 1.0, 2.0])
def test_affinity_maps_equal_the_reference(make_keypoints, seed, limb_width):
    batch = random_batch(make_keypoints, seed)
    maps = affinity_maps(batch, HEIGHT, WIDTH, limb_width)
    expected = np.stack([reference_affinity(people, limb_width) for people in batch])
    assert np.abs(expected).sum() > 0
    np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_confidence_is_one_at_a_keypoint_on_the_centre_of_a_cell():
    keypoints = np.zeros((1, 1, 18, 3), np.float32)
    keypoints[0, 0, 5] = [8 * 4 + 3.5, 8 * 2 + 3.5, 2]
    maps = confidence_maps(keypoints, HEIGHT, WIDTH, 7.0).numpy()[0]
    assert maps[2, 4, 5] == 1 and maps[2, 4, 18] == 0
    assert np.unravel_index(maps[..., 5].argmax(), (HEIGHT, WIDTH)) == (2, 4)
    np.testing.assert_array_equal(np.delete(maps[..., :18], 5, axis=-1), 0)


def test_overlapping_limbs_are_averaged():
    """Two forearms cross at a right angle: the mean vector where both overlap, and the vector of each elsewhere."""
    start, end = (KEYPOINTS.index(f"right_{part}") for part in ("elbow", "wrist"))
    limb = LIMBS.index((start, end))
    keypoints = np.zeros((1, 2, 18, 3), np.float32)
    keypoints[0, 0, [start, end]] = [[0, 27.5, 2], [71, 27.5, 2]]
    keypoints[0, 1, [start, end]] = [[35.5, 0, 2], [35.5, 47, 2]]
    maps = affinity_maps(keypoints, HEIGHT, WIDTH, 0.5).numpy()[0, ..., 2 * limb : 2 * limb + 2]
    np.testing.assert_allclose(maps[3, 4], [0.5, 0.5])
    np.testing.assert_allclose(maps[3, 0], [1, 0])
    np.testing.assert_allclose(maps[0, 4], [0, 1])
    np.testing.assert_allclose(maps[0, 0], [0, 0])


def test_degenerate_keypoints_give_finite_maps():
    keypoints = np.zeros((4, 2, 18, 3), np.float32)
    keypoints[0] = np.nan
    keypoints[0, :, :, 2] = 0  # unlabelled, so that coordinates do not matter
    keypoints[1] = [1e6, -1e6, 2]  # far outside, limbs without length
    keypoints[2] = [20, 20, 1]  # all keypoints at one position
    for maps in (confidence_maps(keypoints, HEIGHT, WIDTH, 7.0), affinity_maps(keypoints, HEIGHT, WIDTH, 1.0)):
        assert np.isfinite(maps).all()
    nobody = np.zeros((2, 0, 18, 3), np.float32)
    assert (confidence_maps(nobody, HEIGHT, WIDTH, 7.0).numpy()[..., :18] == 0).all()
    assert (confidence_maps(nobody, HEIGHT, WIDTH, 7.0).numpy()[..., 18] == 1).all()
    assert (affinity_maps(nobody, HEIGHT, WIDTH, 1.0).numpy() == 0).all()


def test_position_weights_are_zero_where_half_a_cell_is_ignored():
    ignored = np.zeros((1, 16, 24, 1), np.float32)
    ignored[0, :8, 8:16] = 1  # a whole cell
    ignored[0, 8:12, 16:24] = 1  # half a cell
    ignored[0, 8:11, 0:8] = 1  # less than half a cell
    np.testing.assert_array_equal(position_weights(ignored)[0, ..., 0], [[1, 0, 1], [1, 1, 0]])
