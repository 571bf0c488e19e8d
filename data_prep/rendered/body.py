"""The stance of a drawn person: from joint angles to an articulated body with 18 keypoints.

Body axes, in metres: x to the person's own left, y up, z forward; the origin lies on the ground below the pelvis.
Pairs are (right, left). Angles are radians; a limb at 0 hangs straight down, positive angles swing it forward.
"""

from typing import NamedTuple

import numpy as np

from data_prep.rendered.looks import Look
from pose_pretrain.skeleton import KEYPOINTS

Pair = tuple[float, float]
_SIDES = ("right", "left")
_OUTWARD = {"right": -1.0, "left": 1.0}


class Stance(NamedTuple):
    """Joint angles."""

    hip: Pair = (0.0, 0.0)
    knee: Pair = (0.05, 0.05)  # bends the shin back
    legs_apart: Pair = (0.05, 0.05)
    shoulder: Pair = (0.0, 0.0)
    elbow: Pair = (0.15, 0.15)  # bends the forearm forward
    arms_apart: Pair = (0.14, 0.14)
    forearms_in: Pair = (0.0, 0.0)  # turns the forearm towards the body's centre
    lean: float = 0.03  # the whole trunk, forward
    stoop: float = 0.0  # the upper back and neck, forward
    twist: float = 0.0  # of the shoulders relative to the hips
    head_turn: float = 0.0  # to the person's left
    head_down: float = 0.0
    parcel: bool = False  # a box held in front with both hands


class Body(NamedTuple):
    """A posed body. The frames trunk, chest and head are rotation matrices with the columns left, up and forward."""

    joints: dict[str, np.ndarray]  # the 18 keypoints, and head, chest, waist, pelvis, *_hand, *_toe, *_heel
    trunk: np.ndarray
    chest: np.ndarray
    head: np.ndarray
    head_height: float
    hip_width: float  # half the distance between the hips

    @property
    def keypoints(self) -> np.ndarray:
        """[18, 3] in the order of KEYPOINTS."""
        return np.stack([self.joints[name] for name in KEYPOINTS])


def random_stance(rng: np.random.Generator, look: Look, action: str) -> Stance:
    """A moment of an action: "walk", "stand", "carry" (walking with a parcel) or "gesture" (arms in any position)."""
    old = look["age"] == "old"
    narrow = old or (look["lower_type"], look["lower_length"]) == ("dress", "long")
    if action in ("walk", "carry"):
        stance = _stride(rng.uniform(0, 2 * np.pi), swing=0.27 if narrow else rng.uniform(0.36, 0.52))
    else:
        stance = _standing(rng)
    if action == "gesture":
        stance = stance._replace(
            shoulder=_uniform_pair(rng, -0.5, 2.4),
            elbow=_uniform_pair(rng, 0.1, 2.0),
            arms_apart=_uniform_pair(rng, 0.1, 1.2),
            forearms_in=_uniform_pair(rng, -0.2, 0.6),
        )
    stance = stance._replace(head_turn=rng.normal(0, 0.25), head_down=rng.normal(0.05, 0.1))
    stance = stance._replace(lean=stance.lean + rng.normal(0, 0.03))
    if action == "carry":
        arms = {"shoulder": (0.15, 0.15), "elbow": (1.45, 1.45), "arms_apart": (0.2, 0.2), "forearms_in": (0.3, 0.3)}
        stance = stance._replace(parcel=True, **arms)
    elif look["handbag"] == "yes":  # the left arm hangs down with the bag
        left = {"shoulder": min(0.4 * stance.shoulder[1], 0.4), "elbow": 0.12, "arms_apart": 0.2, "forearms_in": 0.0}
        stance = stance._replace(**{name: (getattr(stance, name)[0], angle) for name, angle in left.items()})
    if old:
        knee = (stance.knee[0] + 0.22, stance.knee[1] + 0.22)
        stance = stance._replace(knee=knee, lean=stance.lean + 0.09, stoop=0.36)
    return stance


def _stride(phase: float, swing: float) -> Stance:
    """A moment of walking: arms swing against the legs, and the knee bends while its leg moves forward."""
    phases = np.array([phase, phase + np.pi])
    shoulders = -0.9 * swing * np.sin(phases)
    return Stance(
        hip=tuple(swing * np.sin(phases) + 0.08),
        knee=tuple(0.1 + 2.0 * swing * np.maximum(0, np.cos(phases + 0.35)) ** 2),
        legs_apart=(0.02, 0.02),
        shoulder=tuple(shoulders),
        elbow=tuple(0.3 + 0.5 * np.maximum(0, shoulders)),
        lean=0.06,
        twist=0.25 * swing * np.sin(phase),
    )


def _standing(rng: np.random.Generator) -> Stance:
    return Stance(
        hip=_uniform_pair(rng, -0.08, 0.12),
        knee=_uniform_pair(rng, 0.02, 0.2),
        legs_apart=_uniform_pair(rng, 0.03, 0.16),
        shoulder=_uniform_pair(rng, -0.15, 0.2),
        elbow=_uniform_pair(rng, 0.1, 0.5),
        arms_apart=_uniform_pair(rng, 0.1, 0.3),
    )


def _uniform_pair(rng: np.random.Generator, low: float, high: float) -> Pair:
    return tuple(rng.uniform(low, high, 2))


def pose_body(look: Look, stance: Stance) -> Body:
    """Forward kinematics: bone lengths follow from the height, age and gender of a look, angles from the stance."""
    height = look.height
    child, female = look["age"] == "young", look["gender"] == "female"
    head_height = height * {"young": 0.185, "teenager": 0.148, "adult": 0.134, "old": 0.138}[look["age"]]
    leg = height * (0.455 if child else 0.515)
    ankle_height = 0.042 * height
    bone = (leg - ankle_height) / 2
    trunk_length = height - leg - head_height - 0.032 * height
    shoulder_width = height * look.width * (0.094 if child else 0.091 if female else 0.108)
    hip_width = height * look.width * (0.052 if child else 0.058 if female else 0.052)

    trunk = turn_x(stance.lean)
    chest = trunk @ turn_y(-stance.twist) @ turn_x(stance.stoop)
    head = trunk @ turn_y(stance.head_turn) @ turn_x(0.15 * stance.stoop + stance.head_down)
    joints = {"pelvis": np.zeros(3)}
    joints["waist"] = trunk @ (0, 0.35 * trunk_length, 0)
    joints["chest"] = joints["waist"] + trunk @ turn_x(0.5 * stance.stoop) @ (0, 0.35 * trunk_length, 0)
    joints["neck"] = joints["chest"] + chest @ (0, 0.30 * trunk_length, 0)
    joints["head"] = (
        joints["neck"] + chest @ (0, 0.032 * height, 0.01) + head @ (0, 0.5 * head_height, 0.12 * head_height)
    )
    for name, position in _FACE.items():
        joints[name] = joints["head"] + head @ np.array(position) * head_height

    for index, side in enumerate(_SIDES):
        outward = _OUTWARD[side]
        joints[f"{side}_hip"] = np.array((outward * hip_width, -0.01, 0))
        thigh = _hang(stance.hip[index], outward * stance.legs_apart[index])
        shin = _hang(stance.hip[index] - stance.knee[index], outward * stance.legs_apart[index])
        joints[f"{side}_knee"] = joints[f"{side}_hip"] + bone * thigh
        joints[f"{side}_ankle"] = joints[f"{side}_knee"] + bone * shin
        foot = turn_x(-0.7 * (stance.hip[index] - stance.knee[index]) - 0.05)
        joints[f"{side}_heel"] = joints[f"{side}_ankle"] + foot @ (0, -0.8 * ankle_height, -0.02 * height)
        joints[f"{side}_toe"] = joints[f"{side}_ankle"] + foot @ (0.02 * outward, -0.8 * ankle_height, 0.095 * height)

        joints[f"{side}_shoulder"] = joints["neck"] + chest @ (outward * shoulder_width, -0.036 * height, 0)
        upper_arm = trunk @ _hang(stance.shoulder[index], outward * stance.arms_apart[index])
        forearm = trunk @ _hang(
            stance.shoulder[index] + stance.elbow[index],
            outward * (stance.arms_apart[index] * np.cos(stance.elbow[index]) - stance.forearms_in[index]),
        )
        joints[f"{side}_elbow"] = joints[f"{side}_shoulder"] + 0.172 * height * upper_arm
        joints[f"{side}_wrist"] = joints[f"{side}_elbow"] + 0.145 * height * forearm
        joints[f"{side}_hand"] = joints[f"{side}_wrist"] + 0.05 * height * forearm

    lowest = min(joints[f"{side}_{part}"][1] for side in _SIDES for part in ("heel", "toe"))
    lift = np.array((0, 0.012 * height - lowest, 0))
    joints = {name: np.asarray(joint, float) + lift for name, joint in joints.items()}
    return Body(joints, trunk, chest, head, head_height, hip_width)


# Positions relative to the centre of the head, in head heights.
_FACE = {
    "nose": (0.0, -0.06, 0.46),
    "right_eye": (-0.14, 0.06, 0.37),
    "left_eye": (0.14, 0.06, 0.37),
    "right_ear": (-0.37, 0.0, 0.0),
    "left_ear": (0.37, 0.0, 0.0),
}


def _hang(forward: float, aside: float) -> np.ndarray:
    """The unit vector along a limb that swings forward and to the left by the given angles."""
    return np.array((np.sin(aside), -np.cos(forward) * np.cos(aside), np.sin(forward) * np.cos(aside)))


def turn_x(angle: float) -> np.ndarray:
    """Rotation about x that turns up towards forward."""
    sin, cos = np.sin(angle), np.cos(angle)
    return np.array(((1, 0, 0), (0, cos, -sin), (0, sin, cos)))


def turn_y(angle: float) -> np.ndarray:
    """Rotation about y that turns forward towards +x, the left."""
    sin, cos = np.sin(angle), np.cos(angle)
    return np.array(((cos, 0, sin), (0, 1, 0), (-sin, 0, cos)))
