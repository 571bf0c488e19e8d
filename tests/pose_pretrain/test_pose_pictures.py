import numpy as np

from pose_pretrain.pictures import draw_affinity, draw_confidence, draw_panel, draw_pose
from pose_pretrain.targets import affinity_maps, confidence_maps

IMAGE = np.full((64, 48, 3), 100, np.uint8)


def test_only_keypoints_above_the_threshold_are_drawn_at_their_positions():
    keypoints = np.zeros((18, 3), np.float32)
    keypoints[2], keypoints[3] = [10, 20, 0.9], [30, 50, 0.9]
    picture = draw_pose(IMAGE, keypoints)
    changed = (picture != IMAGE).any(axis=-1)
    assert changed[20, 10] and changed[50, 30] and changed[35, 20]  # both ends and the limb between
    assert not changed[:10].any() and not changed[:, 40:].any()
    keypoints[:, 2] = 0.05
    np.testing.assert_array_equal(draw_pose(IMAGE, keypoints), IMAGE)
    keypoints[:, 2] = 0
    np.testing.assert_array_equal(draw_pose(IMAGE, keypoints, threshold=0), IMAGE)
    assert (IMAGE == 100).all()


def test_confidence_is_red_at_the_keypoint():
    keypoints = np.zeros((1, 1, 18, 3), np.float32)
    keypoints[0, 0, 0] = [19.5, 27.5, 2]
    picture = draw_confidence(IMAGE, confidence_maps(keypoints, 8, 6, 7.0)[0].numpy()).astype(int)
    red, _, blue = np.moveaxis(picture, -1, 0)
    assert red[27, 19] > blue[27, 19] and blue[60, 44] > red[60, 44]


def test_colour_of_affinity_depends_on_the_direction():
    keypoints = np.zeros((2, 1, 18, 3), np.float32)
    keypoints[:, 0, 2], keypoints[:, 0, 3] = [4, 28, 2], [44, 28, 2]
    keypoints[1, 0, [2, 3]] = keypoints[1, 0, [3, 2]]
    forward, backward = (draw_affinity(IMAGE, maps) for maps in affinity_maps(keypoints, 8, 6, 1.0).numpy())
    assert np.abs(forward[28, 24].astype(int) - backward[28, 24]).max() > 50
    np.testing.assert_array_equal(forward[60, 24], backward[60, 24])


def test_panel_has_four_pictures_of_any_input_type():
    maps = np.zeros((8, 6, 19)), np.zeros((8, 6, 38))
    panel = draw_panel(IMAGE.astype(np.float32) + 0.7, *maps, np.zeros((18, 3)))
    assert panel.shape == (256, 4 * 192, 3) and panel.dtype == np.uint8
