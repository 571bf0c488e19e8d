import numpy as np
import pytest
import tensorflow as tf

from pose_pretrain.augment import MAX_SHIFT, person_warp, random_warp, usable_box, warp_image, warp_keypoints
from pose_pretrain.skeleton import FLIP

SIZE = 120, 160  # of the image
CROP = 96, 64


def dots(keypoints, height, width):
    """A black image with a white blob on each keypoint, one image per keypoint: [18, height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - keypoints[:, 0, None, None], y - keypoints[:, 1, None, None])
    return np.repeat(255 * np.exp(-((distance / 3) ** 2))[..., None], 3, axis=-1).astype(np.float32)


def centre_of_mass(image):
    weights = image / image.sum()
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weights * x).sum(), (weights * y).sum()])


def grid_of_keypoints():
    keypoints = np.full((1, 18, 3), 2, np.float32)
    keypoints[0, :, 0], keypoints[0, :, 1] = np.tile(np.linspace(60, 100, 6), 3), np.repeat([40, 60, 80], 6)
    return keypoints


@pytest.mark.parametrize("seed", range(8))
def test_keypoints_move_with_the_image(seed):
    """A blob that is drawn on a keypoint before the warp is at the warped keypoint after it."""
    keypoints = grid_of_keypoints()
    box = np.array([[40, 20, 80, 80]], np.float32)
    warp, mirrored = random_warp(tf.constant([seed, 1]), box, SIZE, *CROP)
    moved = warp_keypoints(keypoints, warp, mirrored)[0].numpy()
    order = FLIP if mirrored else range(18)
    checked = 0
    for part, image in zip(range(18), dots(keypoints[0], *SIZE)[list(order)], strict=True):
        x, y, v = moved[part]
        assert v == 2
        if 12 < x < CROP[1] - 12 and 12 < y < CROP[0] - 12:
            crop, _ = warp_image(image, np.zeros((*SIZE, 1), np.float32), warp, *CROP)
            # Pixels outside the image are gray; only the blob is brighter.
            bright = np.where(crop.numpy()[..., 0] > 128.5, crop.numpy()[..., 0] - 128, 0)
            np.testing.assert_allclose(centre_of_mass(bright), [x, y], atol=0.5)
            checked += 1
    assert checked >= 3


def test_mask_moves_with_the_image():
    mask = np.zeros((*SIZE, 1), np.float32)
    mask[30:90, 50:100] = 1
    image = np.repeat(255 * mask, 3, axis=-1)
    for seed in range(4):
        warp, _ = random_warp(tf.constant([seed, 2]), np.array([[40, 20, 80, 80]], np.float32), SIZE, *CROP)
        crop, ignored = (value.numpy() for value in warp_image(image, mask, warp, *CROP))
        # The mask equals the crop where the crop is fully inside the image.
        clear = (ignored[..., 0] > 0.999) | (crop[..., 0] < 0.01)
        assert (ignored[..., 0] > 0.999).sum() > 20
        np.testing.assert_allclose(crop[clear][:, 0] / 255, ignored[clear][:, 0], atol=2e-3)


def test_identity_warp_changes_nothing():
    image = np.random.default_rng(0).uniform(0, 255, (24, 32, 3)).astype(np.float32)
    crop, _ = warp_image(image, np.zeros((24, 32, 1), np.float32), tf.eye(3), 24, 32)
    np.testing.assert_allclose(crop, image, atol=1e-3)


def test_small_crops_are_antialiased():
    """A fine checkerboard becomes gray, not a coarse checkerboard."""
    board = np.repeat((np.indices((128, 128)).sum(axis=0) % 2 * 255.0)[..., None], 3, axis=-1).astype(np.float32)
    warp = person_warp(tf.constant([0.0, 0, 128, 128]), (128, 128), 32, 32, share=0.9)
    crop, _ = warp_image(board, np.zeros((128, 128, 1), np.float32), warp, 32, 32)
    assert crop.numpy()[6:-6, 6:-6].std() < 5


def test_the_box_is_centred_and_fills_its_share():
    box = tf.constant([30.0, 10.0, 21.0, 91.0])
    warp = person_warp(box, SIZE, *CROP, share=0.5).numpy()
    corners = warp @ np.array([[30, 10, 1], [50, 100, 1]], np.float32).T
    np.testing.assert_allclose(corners[:2].mean(axis=1), [(CROP[1] - 1) / 2, (CROP[0] - 1) / 2], atol=1e-3)
    np.testing.assert_allclose(corners[1, 1] - corners[1, 0], 90 * 0.5 * CROP[0] / 91, rtol=1e-4)


def test_rotation_has_the_given_angle_and_mirroring_swaps_sides():
    warp = person_warp(tf.constant([0.0, 0, 10, 10]), SIZE, 80, 80, angle=30.0).numpy()
    direction = warp[:2, :2] @ [1, 0]
    np.testing.assert_allclose(np.degrees(np.arctan2(direction[1], direction[0])), 30, atol=1e-3)
    assert np.linalg.det(warp[:2, :2]) > 0
    mirrored = person_warp(tf.constant([0.0, 0, 10, 10]), SIZE, 80, 80, mirrored=True).numpy()
    assert mirrored[0, 0] < 0 < mirrored[1, 1]


def test_random_warp_is_a_function_of_its_seed():
    box = np.array([[40, 20, 80, 80], [0, 0, 30, 60]], np.float32)
    warps = [random_warp(tf.constant([seed, 0]), box, SIZE, *CROP)[0].numpy() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(warps[0], warps[1])
    assert not np.array_equal(warps[0], warps[2])


def test_random_warps_keep_the_person_in_the_crop():
    box = np.array([[40, 20, 40, 80]], np.float32)
    middle = np.array([[[40 + 19.5, 20 + 39.5, 2]] * 18], np.float32)
    for seed in range(50):
        warp, mirrored = random_warp(tf.constant([seed, 3]), box, SIZE, *CROP)
        x, y, _ = warp_keypoints(middle, warp, mirrored)[0, 0].numpy()
        assert abs(x - (CROP[1] - 1) / 2) <= MAX_SHIFT * CROP[1] + 1e-3
        assert abs(y - (CROP[0] - 1) / 2) <= MAX_SHIFT * CROP[0] + 1e-3


@pytest.mark.parametrize("box", [[5, 5, 0, 10], [5, 5, 10, -1], [np.nan, 0, 10, 10], [0, 0, np.inf, 10]])
def test_an_unusable_box_stands_for_the_whole_image(box):
    np.testing.assert_array_equal(usable_box(tf.constant(box, tf.float32), SIZE), [0, 0, SIZE[1], SIZE[0]])
    warp = person_warp(tf.constant(box, tf.float32), SIZE, *CROP)
    assert np.isfinite(warp).all() and abs(np.linalg.det(warp)) > 0


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (2000, 1)])
def test_thin_images_give_finite_crops(size):
    image = np.full((*size, 3), 50, np.float32)
    warp, _ = random_warp(tf.constant([0, 0]), np.zeros((0, 4), np.float32), size, *CROP)
    crop, ignored = warp_image(image, np.ones((*size, 1), np.float32), warp, *CROP)
    assert crop.shape == (*CROP, 3) and ignored.shape == (*CROP, 1)
    assert np.isfinite(crop).all() and crop.numpy().min() < 128


def test_rotation_is_bounded():
    box = np.array([[40, 20, 80, 80]], np.float32)
    for seed in range(20):
        warp, mirrored = random_warp(tf.constant([seed, 4]), box, SIZE, *CROP, rotation=5.0)
        down = warp.numpy()[:2, :2] @ [0, 1]
        assert abs(np.degrees(np.arctan2(-down[0], down[1]))) <= 5 + 1e-3
        assert bool(mirrored) == (np.linalg.det(warp.numpy()) < 0)
