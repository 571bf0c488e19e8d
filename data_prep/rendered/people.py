"""Builds the mesh of a person: a posed body, dressed as the attributes say.

Every part of the body and every garment is a tube of elliptic rings. Its faces are coloured by their position on the
part, for example a strap on the chest or an eye on the head.
"""

import itertools

import numpy as np

from data_prep.rendered.body import Body, Stance, pose_body
from data_prep.rendered.figures import Figure
from data_prep.rendered.looks import Look
from data_prep.rendered.meshes import Mesh, ball, box, capsule, face_positions, faces_between, interpolate, rings_around

_SIDES = ("right", "left")
_CARDBOARD = (178, 138, 92)


def build_figure(look: Look, stance: Stance) -> Figure:
    """The mesh of a person in a stance: each attribute of the look adds parts or changes the colours of faces."""
    body = pose_body(look, stance)
    limbs = [_torso(look, body), _head(look, body), _hair(look, body), _hat(look, body)]
    limbs += [_arm(look, body, side) for side in _SIDES]
    limbs += [_leg(look, body, side) for side in _SIDES]
    limbs += [_skirt(look, body), _bags(look, body)]
    if stance.parcel:
        centre = (body.joints["right_hand"] + body.joints["left_hand"]) / 2 + (0, 0.03, 0.02)
        limbs.append([box(centre, body.trunk, np.array((0.1, 0.07, 0.07)) * look.height, _CARDBOARD)])
    corners, colours = (np.concatenate(arrays) for arrays in zip(*itertools.chain(*limbs), strict=True))
    weave = np.random.default_rng(look.cloth_seed).normal(1, 0.045, (len(colours), 1))
    faces = [sum(len(corners) for corners, _ in limb) for limb in limbs]
    return Figure(
        corners=corners,
        colours=colours * weave,
        limbs=np.repeat(np.arange(1, len(limbs) + 1), faces).astype(np.uint8),
        keypoints=body.keypoints,
        facing=body.head[:, 2],
        height=look.height,
    )


def _torso(look: Look, body: Body) -> list[Mesh]:
    joints, unit = body.joints, look.height * look.width
    up = body.trunk[:, 1]
    profile = _PROFILES["child" if look["age"] == "young" else look["gender"]]
    centres = np.stack(
        [
            joints["pelvis"] - 0.05 * look.height * up,
            joints["pelvis"],
            joints["waist"],
            joints["chest"],
            (joints["chest"] + joints["neck"]) / 2,
            joints["neck"] - body.chest[:, 1] * 0.018 * look.height,
            joints["neck"] + body.chest[:, 1] * 0.012 * look.height,
        ]
    )
    levels = np.linspace(0, 1, 19)
    knots = np.array((0, 0.13, 0.42, 0.66, 0.84, 0.95, 1))
    path = interpolate(levels, knots, centres)
    widths = np.interp(levels, knots, profile[0]) * unit
    depths = np.interp(levels, knots, profile[1]) * unit
    rings = rings_around(path, widths, depths, body.chest, segments=32)
    level, aside, front = face_positions(rings)
    paint = _cloth(look.upper, look.upper_second, look.pattern, 5 * level, aside)
    hem = 0.16
    lower = _cloth(look.lower, look.lower_second, look.pattern, 0 * level, aside)
    paint = np.where((level < hem)[..., None], lower, paint)
    paint[(level < hem + 0.05) & (level > hem - 0.01)] *= 0.82  # the fold at the hem
    if look["backpack"] == "yes":
        straps = (np.abs(np.abs(aside) - 0.6) < 0.14) & (front > 0) & (level > 0.42)
        paint[straps] = np.array(look.backpack) * 0.8
    if look["bag"] == "yes":
        strap = np.abs(aside - (1.15 - 1.9 * (level - 0.1))) < 0.17
        paint[strap & (level > 0.1)] = np.array(look.bag) * 0.75
    neck = capsule(joints["neck"] - 0.02 * up, joints["head"], (0.029 * look.height,) * 2, look.skin)
    return [faces_between(rings, paint), neck]


# Half widths and half depths of the torso, from crotch to the base of the neck, in body heights.
_PROFILES = {
    "male": ((0.074, 0.094, 0.088, 0.106, 0.116, 0.100, 0.042), (0.055, 0.068, 0.062, 0.070, 0.066, 0.048, 0.036)),
    "female": ((0.082, 0.106, 0.072, 0.088, 0.092, 0.080, 0.036), (0.060, 0.076, 0.055, 0.078, 0.062, 0.044, 0.032)),
    "child": ((0.074, 0.088, 0.084, 0.088, 0.090, 0.080, 0.040), (0.060, 0.070, 0.070, 0.068, 0.062, 0.046, 0.036)),
}


def _head(look: Look, body: Body) -> list[Mesh]:
    centre, frame, size = body.joints["head"], body.head, body.head_height
    rings, direction = ball(centre, frame, np.array((0.37, 0.5, 0.44)) * size, levels=15, segments=28)
    aside, up, front = np.moveaxis(direction, -1, 0)
    skin = np.array(look.skin, float)
    paint = np.broadcast_to(skin, direction.shape).copy()
    paint[(np.abs(np.abs(aside) - 0.38) < 0.12) & (np.abs(up - 0.13) < 0.08) & (front > 0)] = (30, 24, 24)
    paint[(np.abs(np.abs(aside) - 0.38) < 0.2) & (np.abs(up - 0.35) < 0.05) & (front > 0)] = np.array(look.hair) * 0.7
    paint[(np.abs(aside) < 0.28) & (np.abs(up + 0.52) < 0.08) & (front > 0)] = skin * (0.78, 0.5, 0.5)
    nose = capsule(centre + frame @ (0, 0.04, 0.40) * size, body.joints["nose"], (0.05 * size, 0.07 * size), look.skin)
    ears = []
    for side in _SIDES:
        ear = body.joints[f"{side}_ear"]
        ears.append(capsule(ear, ear + frame @ (0, 0.08, 0) * size, (0.06 * size,) * 2, skin * 0.9))
    return [faces_between(rings, paint), nose, *ears]


def _hair(look: Look, body: Body) -> list[Mesh]:
    frame, size = body.head, body.head_height
    long = look["hair"] == "long"
    centre = body.joints["head"] + frame @ (0, 0.03, -0.04) * size
    rings, direction = ball(centre, frame, np.array((0.42, 0.54, 0.47)) * size, levels=13, segments=24)
    _, up, front = np.moveaxis(direction, -1, 0)
    keep = (up > 0.55) | (front < (0.2 if long else 0.05)) & (up > (-0.9 if long else -0.42))
    parts = [faces_between(rings, look.hair, keep)]
    if long:
        path = np.stack(
            [
                centre + frame @ (0, 0.05, -0.08) * size,
                centre + frame @ (0, -0.45, -0.10) * size,
                body.joints["neck"] + body.chest @ (0, -0.2, -0.42) * size,
                body.joints["neck"] + body.chest @ (0, -0.75, -0.45) * size,
            ]
        )
        levels = np.linspace(0, 1, 9)
        path = interpolate(levels, np.linspace(0, 1, 4), path)
        widths = np.interp(levels, (0, 0.4, 0.85, 1), (0.43, 0.5, 0.46, 0.3)) * size
        depths = np.interp(levels, (0, 0.5, 1), (0.42, 0.3, 0.12)) * size
        rings = rings_around(path[::-1], widths[::-1], depths[::-1], frame, segments=20)
        _, _, front = face_positions(rings)
        parts.append(faces_between(rings, np.array(look.hair) * 0.92, front < 0.25))
    return parts


def _hat(look: Look, body: Body) -> list[Mesh]:
    if look["hat"] == "no":
        return []
    frame, size = body.head, body.head_height
    centre = body.joints["head"] + frame @ (0, 0.08, -0.01) * size
    rings, direction = ball(centre, frame, np.array((0.46, 0.54, 0.53)) * size, levels=13, segments=24)
    brim, _ = ball(
        centre + frame @ (0, 0.16, 0.5) * size, frame, np.array((0.38, 0.05, 0.38)) * size, levels=5, segments=20
    )
    return [faces_between(rings, look.hat, direction[..., 1] > 0.2), faces_between(brim, np.array(look.hat) * 0.7)]


def _arm(look: Look, body: Body, side: str) -> list[Mesh]:
    shoulder, elbow, wrist, hand = (body.joints[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist", "hand"))
    thick = look.height * (0.6 + 0.4 * look.width) * (1.0 if look["gender"] == "male" else 0.9)
    aside = 1.0 if side == "left" else -1.0
    if look["sleeve"] == "long":
        parts = [
            _sleeve(look, shoulder, elbow, (0.037 * thick, 0.036 * thick, 0.031 * thick), aside),
            _sleeve(look, elbow, wrist, (0.031 * thick, 0.029 * thick, 0.025 * thick), aside),
        ]
    else:
        cuff = shoulder + 0.5 * (elbow - shoulder)
        parts = [
            _sleeve(look, shoulder, cuff, (0.037 * thick, 0.039 * thick, 0.038 * thick), aside),
            capsule(shoulder, elbow, (0.028 * thick, 0.030 * thick, 0.025 * thick), look.skin),
            capsule(elbow, wrist, (0.025 * thick, 0.025 * thick, 0.018 * thick), look.skin),
        ]
    return [*parts, capsule(wrist, hand, (0.018 * thick, 0.024 * thick, 0.016 * thick), look.skin)]


def _sleeve(look: Look, start: np.ndarray, end: np.ndarray, radii: tuple[float, ...], aside: float) -> Mesh:
    corners, _ = capsule(start, end, radii, look.upper)
    along = (corners.mean(axis=1) - start) @ (end - start) / ((end - start) @ (end - start))
    return corners, _cloth(look.upper, look.upper_second, look.pattern, 2.6 * along, np.full(len(along), aside))


def _leg(look: Look, body: Body, side: str) -> list[Mesh]:
    hip, knee, ankle, heel, toe = (body.joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle", "heel", "toe"))
    thick = look.height * (0.55 + 0.45 * look.width)
    aside = 1.0 if side == "left" else -1.0
    cloth = _cloth(look.lower, look.lower_second, look.pattern, np.zeros(1), np.array((aside,)))[0]
    dress, short = look["lower_type"] == "dress", look["lower_length"] == "short"
    sole = np.array((0, 0.012 * look.height, 0))
    parts = [capsule(heel + sole, toe, (0.027 * thick, 0.028 * thick, 0.02 * thick), look.shoes)]
    if dress:  # what the skirt covers is not drawn
        top = hip + 0.75 * (knee - hip) if short else knee + 0.7 * (ankle - knee)
        parts += [capsule(top, knee, (0.036 * thick, 0.034 * thick), look.skin)] if short else []
        calf = capsule(knee if short else top, ankle, (0.034 * thick, 0.035 * thick, 0.021 * thick), look.skin)
        return [*parts, calf]
    if short:
        return [
            *parts,
            capsule(hip, hip + 0.82 * (knee - hip), (0.060 * thick, 0.060 * thick, 0.057 * thick), cloth),
            capsule(hip, knee, (0.050 * thick, 0.046 * thick, 0.034 * thick), look.skin),
            capsule(knee, ankle, (0.034 * thick, 0.035 * thick, 0.021 * thick), look.skin),
        ]
    return [
        *parts,
        capsule(hip, knee, (0.058 * thick, 0.053 * thick, 0.043 * thick), cloth),
        capsule(knee, ankle, (0.043 * thick, 0.040 * thick, 0.036 * thick), cloth),
    ]


def _skirt(look: Look, body: Body) -> list[Mesh]:
    if look["lower_type"] != "dress":
        return []
    joints, unit = body.joints, look.height * look.width
    knees = np.stack([joints["right_knee"], joints["left_knee"]])
    ankles = np.stack([joints["right_ankle"], joints["left_ankle"]])
    spread = np.abs(knees - knees.mean(axis=0)).max(axis=0)
    path = [joints["pelvis"] + 0.055 * look.height * body.trunk[:, 1], joints["pelvis"], knees.mean(axis=0)]
    widths = [0.088 * unit, 0.114 * unit, max(0.125 * unit, spread[0] + 0.05 * look.height)]
    depths = [0.066 * unit, 0.084 * unit, max(0.105 * unit, spread[2] + 0.05 * look.height)]
    if look["lower_length"] == "short":
        path[2] = path[1] + 0.9 * (path[2] - path[1])
    else:
        spread = np.abs(ankles - ankles.mean(axis=0)).max(axis=0)
        path.append(knees.mean(axis=0) + 0.86 * (ankles.mean(axis=0) - knees.mean(axis=0)))
        widths.append(max(0.135 * unit, spread[0] + 0.04 * look.height))
        depths.append(max(0.120 * unit, min(0.9 * spread[2], 0.17 * look.height)))
    levels, knots = np.linspace(0, 1, 10), np.linspace(0, 1, len(path))
    path = interpolate(levels, knots, np.stack(path))[::-1]
    widths, depths = (np.interp(levels, knots, values)[::-1] for values in (widths, depths))
    rings = rings_around(path, widths, depths, body.trunk, segments=26)
    level, aside, _ = face_positions(rings)
    paint = _cloth(look.lower, look.lower_second, look.pattern, 5 * level, aside)
    paint[:, ::3] *= 0.85  # pleats
    return [faces_between(rings, paint)]


def _bags(look: Look, body: Body) -> list[Mesh]:
    joints, unit = body.joints, look.height
    parts = []
    if look["backpack"] == "yes":
        size = np.array((0.088, 0.128, 0.055)) * unit * look.backpack_size
        centre = joints["chest"] + body.chest @ (0, -0.005 * unit, -0.062 * unit * look.width - size[2])
        pocket = centre + body.chest @ (0, -0.45 * size[1], -0.9 * size[2])
        parts.append(box(centre, body.chest, size, look.backpack))
        parts.append(box(pocket, body.chest, size * (0.75, 0.42, 0.45), np.array(look.backpack) * 0.75))
    if look["bag"] == "yes":
        centre = joints["pelvis"] + body.trunk @ (body.hip_width + 0.075 * unit * look.width, 0.015 * unit, 0.01)
        parts.append(box(centre, body.trunk, np.array((0.034, 0.068, 0.095)) * unit, look.bag))
    if look["handbag"] == "yes":
        hand = joints["left_hand"]
        centre = hand - (0, 0.115 * unit, 0)
        parts.append(box(centre, np.eye(3), np.array((0.030, 0.062, 0.088)) * unit, look.handbag))
        for z in (-0.055, 0.055):  # the handles
            end = centre + np.array((0, 0.055, z)) * unit
            parts.append(capsule(hand, end, (0.007 * unit,) * 2, np.array(look.handbag) * 0.7))
    return parts


def _cloth(first: tuple, second: tuple, pattern: str, along: np.ndarray, aside: np.ndarray) -> np.ndarray:
    """The colours of faces at given positions: bands along a garment ("stripes"), or one colour per side ("halves")."""
    odd = np.floor(along).astype(int) % 2 == 1 if pattern == "stripes" else aside > 0
    return np.where(odd[..., None], np.array(second, float), np.array(first, float))
