import numpy as np
import pytest

from pose_pretrain.skeleton import COCO_KEYPOINTS, FLIP, FLIP_LIMBS, KEYPOINTS, LIMBS, from_coco, to_coco


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(1, 100, (20, 17, 3)).astype(np.float32)
    keypoints[..., 2] = rng.integers(0, 3, (20, 17))
    return keypoints


def test_to_coco_inverts_from_coco(people):
    np.testing.assert_array_equal(to_coco(from_coco(people)), people)


def test_from_coco_keeps_the_names_of_keypoints(people):
    converted = from_coco(people)
    for name in COCO_KEYPOINTS:
        np.testing.assert_array_equal(
            converted[:, KEYPOINTS.index(name)], people[:, COCO_KEYPOINTS.index(name)], err_msg=name
        )


def test_neck_is_between_the_shoulders_only_where_both_are_labelled(people):
    neck = from_coco(people)[:, KEYPOINTS.index("neck")]
    left, right = (people[:, COCO_KEYPOINTS.index(f"{side}_shoulder")] for side in ("left", "right"))
    for person in range(len(people)):
        if left[person, 2] and right[person, 2]:
            np.testing.assert_allclose(neck[person, :2], (left[person, :2] + right[person, :2]) / 2, rtol=1e-6)
            assert neck[person, 2] == min(left[person, 2], right[person, 2])
        else:
            np.testing.assert_array_equal(neck[person], 0)


def test_from_coco_does_not_change_its_input(people):
    before = people.copy()
    from_coco(people)
    np.testing.assert_array_equal(people, before)


def test_flip_swaps_sides_and_is_its_own_inverse():
    for number, name in enumerate(KEYPOINTS):
        mirrored = KEYPOINTS[FLIP[number]]
        assert FLIP[FLIP[number]] == number
        assert mirrored == name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")


def test_flipped_limbs_join_flipped_keypoints():
    for number, (start, end) in enumerate(LIMBS):
        assert LIMBS[FLIP_LIMBS[number]] == (FLIP[start], FLIP[end])
