"""The look of a drawn person follows from the attributes, the keypoints from the body."""

import dataclasses

import numpy as np
import pytest

from data_prep.rendered.body import Stance, pose_body, random_stance
from data_prep.rendered.figures import Light, draw_figure
from data_prep.rendered.looks import CLASSES, PALETTE, TWIN_TASKS, random_look, random_looks, twin, with_attributes
from data_prep.rendered.people import build_figure
from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import UNKNOWN
from pose_pretrain.skeleton import KEYPOINTS

SIZE, SCALE, FEET = (384, 192), 190.0, (96.0, 370.0)
BACKGROUND = 120
PLAIN = {
    "gender": "female", "hair": "short", "sleeve": "long", "lower_length": "long", "lower_type": "pants",
    "hat": "no", "backpack": "no", "bag": "no", "handbag": "no", "age": "adult",
    "upper_colour": "red", "lower_colour": "blue",
}  # fmt: skip


def plain_look(**classes):
    return random_look(np.random.default_rng(5), **{**PLAIN, **classes})


def test_a_task_without_a_class_in_drawn_people_is_named(monkeypatch):
    monkeypatch.setitem(CLASSES, "glasses", ("no", "yes"))
    with pytest.raises(InputError, match=r"^glasses: .*_random_classes in .*looks\.py$"):
        random_looks(np.random.default_rng(0), 1)


def draw(look, yaw=0.0, stance=None):
    """Image, mask and keypoints of a person on a grey background."""
    image = np.full((*SIZE, 3), BACKGROUND, np.uint8)
    owners = np.zeros(SIZE, np.uint8)
    figure = build_figure(look, stance or Stance()).turned(yaw, 0.1)
    keypoints = draw_figure(image, owners, figure, 1, FEET, SCALE, Light((0.3, 0.6, 0.74), 0.6))
    return image.astype(int), owners == 1, keypoints


def at(keypoints, name):
    return keypoints[KEYPOINTS.index(name)]


def box_between(image, mask, keypoints, first, second, margin):
    """Mean colour of the person around the line between two keypoints."""
    low = np.minimum(at(keypoints, first)[:2], at(keypoints, second)[:2]) - margin
    high = np.maximum(at(keypoints, first)[:2], at(keypoints, second)[:2]) + margin
    rows, columns = slice(int(low[1]), int(high[1]) + 1), slice(int(low[0]), int(high[0]) + 1)
    return image[rows, columns][mask[rows, columns]].mean(axis=0)


@pytest.mark.parametrize("yaw", [0.0, np.pi])
@pytest.mark.parametrize("colour", CLASSES["upper_colour"])
def test_upper_colour_is_the_colour_of_the_torso(colour, yaw):
    image, mask, keypoints = draw(plain_look(upper_colour=colour), yaw)
    torso = box_between(image, mask, keypoints, "neck", "right_hip", 0)
    # Light changes the brightness: compare after division by a common factor.
    named = {name: np.array(PALETTE[name], float) for name in CLASSES["upper_colour"]}
    distances = {name: np.linalg.norm(torso / 0.85 - value) for name, value in named.items()}
    assert min(distances, key=distances.get) == colour


@pytest.mark.parametrize("colour", CLASSES["lower_colour"])
def test_lower_colour_is_the_colour_of_the_trousers(colour):
    image, mask, keypoints = draw(plain_look(lower_colour=colour))
    thigh = box_between(image, mask, keypoints, "right_hip", "right_knee", 3)
    distances = {name: np.linalg.norm(thigh / 0.85 - PALETTE[name]) for name in CLASSES["lower_colour"]}
    assert min(distances, key=distances.get) == colour


@pytest.mark.parametrize(
    ("task", "yaw", "low", "high"),
    [  # rows that may change, as shares of the figure's height from the top
        ("hat", 0.0, 0.0, 0.16),
        ("hair", 0.0, 0.0, 0.36),
        ("backpack", np.pi, 0.08, 0.52),
        ("bag", 0.0, 0.1, 0.62),
        ("handbag", 0.0, 0.2, 0.75),
        ("sleeve", 0.0, 0.16, 0.56),
        ("lower_length", 0.0, 0.42, 1.0),
    ],
)
def test_an_attribute_changes_only_its_part_of_the_picture(task, yaw, low, high):
    look = plain_look()
    other = next(name for name in CLASSES[task] if name != look[task])
    before, mask, _ = draw(look, yaw)
    after, mask_after, _ = draw(with_attributes(look, **{task: other}), yaw)
    rows = np.flatnonzero((mask | mask_after).any(axis=1))
    # The weave differs when faces are added; larger differences are changes.
    changed = np.flatnonzero((np.abs(before - after).max(axis=2) > 90).sum(axis=1) > 1)
    shares = (changed - rows[0]) / (rows[-1] - rows[0])
    assert len(changed) > 5
    assert low <= shares.min() and shares.max() <= high


def test_short_sleeves_and_shorts_show_skin():
    def skin_distance(look, first, second):
        image, mask, keypoints = draw(look, stance=Stance(arms_apart=(0.5, 0.5)))
        return np.linalg.norm(box_between(image, mask, keypoints, first, second, 0) / 0.85 - look.skin)

    for task, first, second in (("sleeve", "left_elbow", "left_wrist"), ("lower_length", "left_knee", "left_ankle")):
        bare = skin_distance(plain_look(**{task: "short"}), first, second)
        covered = skin_distance(plain_look(**{task: "long"}), first, second)
        assert bare < 60 < covered


def test_a_dress_fills_the_gap_between_the_legs():
    stance = Stance(legs_apart=(0.12, 0.12))
    for kind, filled in (("dress", True), ("pants", False)):
        _, mask, keypoints = draw(plain_look(lower_type=kind), stance=stance)
        knees = (at(keypoints, "left_knee") + at(keypoints, "right_knee")) / 2
        assert mask[int(knees[1]), int(knees[0])] == filled


def test_backpack_shows_straps_in_front_and_its_whole_size_behind():
    look = plain_look(backpack="yes", upper_colour="white")
    look = dataclasses.replace(look, backpack=(20, 60, 200))

    def blue_pixels(yaw):
        image, mask, _ = draw(look, yaw)
        upper = np.arange(SIZE[0])[:, None] < 200
        return int((mask & upper & (image[..., 2] > 1.7 * image[..., 0])).sum())

    assert 50 < blue_pixels(0.0) < 0.6 * blue_pixels(np.pi)


def test_front_and_back_differ_and_left_is_the_persons_left():
    look = plain_look()
    _, _, front = draw(look, 0.0)
    _, _, back = draw(look, np.pi)
    assert at(front, "left_shoulder")[0] > at(front, "right_shoulder")[0]  # the viewer sees their left on the right
    assert at(back, "left_shoulder")[0] < at(back, "right_shoulder")[0]
    assert at(front, "nose")[2] == 2 and at(back, "nose")[2] == 0  # COCO does not label a hidden face


@pytest.mark.parametrize(("yaw", "near"), [(np.pi / 2, "right"), (-np.pi / 2, "left")])
def test_from_the_side_the_far_shoulder_and_hip_are_hidden(yaw, near):
    far = {"left": "right", "right": "left"}[near]
    _, _, keypoints = draw(plain_look(), yaw)
    for joint in ("shoulder", "hip"):
        assert at(keypoints, f"{near}_{joint}")[2] == 2
        assert at(keypoints, f"{far}_{joint}")[2] == 1


def test_visible_keypoints_lie_on_the_person():
    rng = np.random.default_rng(0)
    for look in random_looks(rng, 6):
        for action in ("walk", "stand", "carry", "gesture"):
            _, mask, keypoints = draw(look, rng.uniform(0, 6.28), random_stance(rng, look, action))
            inside = (keypoints[:, :2] >= 0).all(axis=1) & (keypoints[:, :2] < SIZE[::-1]).all(axis=1)
            seen = keypoints[inside & (keypoints[:, 2] == 2)].astype(int)
            assert len(seen) > 5
            assert mask[seen[:, 1], seen[:, 0]].all()


def test_bones_keep_their_length_in_every_stance():
    rng = np.random.default_rng(1)
    look = plain_look()
    bones = [("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")]
    lengths = []
    for action in ("walk", "stand", "carry", "gesture"):
        joints = pose_body(look, random_stance(rng, look, action)).joints
        lengths.append(
            [np.linalg.norm(joints[f"{s}_{a}"] - joints[f"{s}_{b}"]) for s in ("left", "right") for a, b in bones]
        )
        assert min(joint[1] for joint in joints.values()) > -1e-9  # all joints are above the ground
    assert np.allclose(lengths, lengths[0])
    assert np.allclose(lengths[0][:4], lengths[0][4:])


def test_a_stride_puts_one_leg_and_the_other_arm_forward():
    rng = np.random.default_rng(2)
    look = plain_look()
    for _ in range(20):
        joints = pose_body(look, random_stance(rng, look, "walk")).joints
        legs = joints["left_knee"][2] - joints["right_knee"][2]
        arms = joints["left_wrist"][2] - joints["right_wrist"][2]
        if abs(legs) > 0.15:
            assert legs * arms < 0


def test_children_have_big_heads_and_the_old_stoop():
    def head_share(age):
        look = plain_look(age=age)
        return pose_body(look, Stance()).head_height / look.height

    assert head_share("young") > head_share("teenager") > head_share("adult")
    rng = np.random.default_rng(0)

    def neck_forward(age):
        look = plain_look(age=age)
        joints = pose_body(look, random_stance(rng, look, "stand")).joints
        return joints["neck"][2] - joints["pelvis"][2]

    assert np.mean([neck_forward("old") for _ in range(5)]) > 0.05 + np.mean([neck_forward("adult") for _ in range(5)])
    assert min(plain_look(age="old").hair) > 150


def test_twins_differ_in_one_or_two_attributes_and_nothing_else():
    rng = np.random.default_rng(3)
    counts = set()
    for _ in range(40):
        look = random_look(rng)
        other = twin(look, rng)
        different = [task for task in CLASSES if look[task] != other[task]]
        counts.add(len(different))
        assert set(different) <= set(TWIN_TASKS)
        assert dataclasses.replace(other, attributes=look.attributes) == look
    assert counts == {1, 2}


def test_the_colour_of_two_coloured_clothes_is_unknown():
    look = plain_look(upper_colour="unknown")
    assert look["upper_colour"] == "unknown" and look.attributes[list(CLASSES).index("upper_colour")] == UNKNOWN
    assert look.upper != look.upper_second
    everyone = random_looks(np.random.default_rng(0), 300)
    unknown = sum(look["upper_colour"] == "unknown" for look in everyone)
    assert 3 < unknown < 60
