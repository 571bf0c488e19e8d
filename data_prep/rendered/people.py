"""Draws people: a posed body dressed in parts of small faces, turned to the viewer, filled from back to front.

Every part is a tube of elliptic rings; its faces are painted by where they lie on the part (a strap on the
chest, an eye on the head). OpenCV fills the faces' numbers into an index map; colours, light and depth are looked
up from there, which gives self-occlusion, left and right, and hidden keypoints from the one turn of the body.
"""

import dataclasses

import cv2
import numpy as np

from data_prep.rendered.body import Body, Stance, pose_body
from data_prep.rendered.looks import Look
from pose_pretrain.skeleton import KEYPOINTS

_SIDES = ("right", "left")
_SUBPIXEL_BITS = 3
_EYES_AND_NOSE = tuple(KEYPOINTS.index(name) for name in ("nose", "right_eye", "left_eye"))
_NOWHERE = -1e3  # the depth, in metres, where nothing is drawn
_CARDBOARD = (178, 138, 92)
# How far below the surface a keypoint may lie and still be seen, in body heights.
_FLESH = np.array(
    [
        {"shoulder": 0.075, "hip": 0.105, "neck": 0.08, "knee": 0.06, "nose": 0.03, "eye": 0.03}.get(
            name.split("_")[-1], 0.05
        )
        for name in KEYPOINTS
    ]
)


@dataclasses.dataclass(frozen=True)
class Figure:
    """A person as faces. Axes as in body.py, or the viewer's (x right, y up, z to the viewer) once turned; metres."""

    corners: np.ndarray  # [faces, 4, 3]
    colours: np.ndarray  # [faces, 3], red, green, blue, 0..255
    limbs: np.ndarray  # uint8 [faces], which limb a face belongs to: edges are drawn where one passes another
    keypoints: np.ndarray  # [18, 3]
    facing: np.ndarray  # [3], where the face looks
    height: float

    def turned(self, yaw: float, elevation: float) -> "Figure":
        """As seen by a viewer: yaw 0 shows the front, pi/2 faces the viewer's right; elevation looks from above."""
        sin, cos = np.sin(yaw), np.cos(yaw)
        about_y = np.array(((cos, 0, sin), (0, 1, 0), (-sin, 0, cos)))
        sin, cos = np.sin(elevation), np.cos(elevation)
        turn = np.array(((1, 0, 0), (0, cos, -sin), (0, sin, cos))) @ about_y
        return dataclasses.replace(
            self, corners=self.corners @ turn.T, keypoints=self.keypoints @ turn.T, facing=turn @ self.facing
        )

    def extent(self) -> tuple[float, float, float, float]:
        """left, bottom, right, top of the figure, in metres on the viewer's x and y axes."""
        points = self.corners[..., :2].reshape(-1, 2)
        return (*points.min(axis=0), *points.max(axis=0))


@dataclasses.dataclass(frozen=True)
class Light:
    """Where light comes from (towards it, on the viewer's axes) and how much of it comes from everywhere."""

    direction: tuple[float, float, float]
    ambient: float


def draw_figure(
    image: np.ndarray,
    owners: np.ndarray,
    figure: Figure,
    owner: int,
    origin: tuple[float, float],
    scale: float,
    light: Light,
) -> np.ndarray:
    """Draws a turned figure in place.

    Args:
        image: uint8 [height, width, 3], RGB.
        owners: uint8 [height, width]; gets `owner` wherever the figure is drawn.
        figure: a turned figure.
        owner: the number to write into owners.
        origin: pixel (x, y) of the point on the ground below the pelvis.
        scale: pixels in a metre.
        light: the light.

    Returns:
        [18, 3]: x, y in pixels and v: 2 seen, 1 hidden by the figure itself, 0 a face turned away (as COCO leaves
        unlabelled). Points outside the image are returned as they are.
    """
    pixels = np.array(origin) + figure.corners[..., :2] * (scale, -scale)
    left, top = np.maximum(np.floor(pixels.min(axis=(0, 1))).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(pixels.max(axis=(0, 1))).astype(int) + 2, image.shape[1::-1])
    points = figure.keypoints[:, :2] * (scale, -scale) + origin
    visible = np.full(len(points), 2.0)
    if right > left and bottom > top:
        index, normals = _fill(figure, pixels - (left, top), (bottom - top, right - left))
        drawn = index > 0
        face = index[drawn] - 1
        depth = np.full(index.shape, _NOWHERE, np.float32)
        depth[drawn] = figure.corners[..., 2].mean(axis=1)[face]
        limb = np.zeros(index.shape, np.uint8)
        limb[drawn] = figure.limbs[face]
        shade = light.ambient + (1 - light.ambient) * np.maximum(0, normals @ np.array(light.direction))
        colours = (figure.colours * shade[:, None]).clip(0, 255).astype(np.float32)
        creases = _creases(depth, limb, 0.015 * figure.height)[drawn]
        image[top:bottom, left:right][drawn] = (colours[face] * creases[:, None]).astype(np.uint8)
        owners[top:bottom, left:right][drawn] = owner
        visible = _seen(figure, points - (left, top), depth)
    visible[list(_EYES_AND_NOSE)] *= figure.facing[2] > -0.3
    return np.column_stack((points, visible))


def _fill(figure: Figure, pixels: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Fills the faces that look to the viewer, far ones first: int32 index map (0 empty, else face + 1), normals."""
    corners = figure.corners
    normals = _cross(corners[:, 3] - corners[:, 1], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    order = np.argsort(corners[..., 2].mean(axis=1), kind="stable")
    order = order[normals[order, 2] > 0]
    index = np.zeros(shape, np.int32)
    fixed_point = np.round(pixels * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    for face in order:
        cv2.fillConvexPoly(index, fixed_point[face], int(face) + 1, cv2.LINE_8, _SUBPIXEL_BITS)
    return index, normals


def _creases(depth: np.ndarray, limb: np.ndarray, step: float) -> np.ndarray:
    """Darkens the rim of the figure and the edges where one limb passes before another: factors, float32."""
    kernel = np.ones((3, 3), np.uint8)
    edge = cv2.dilate(limb, kernel) != cv2.erode(limb, kernel)
    behind = edge & (cv2.dilate(depth, kernel) > depth + step)
    rim = edge & (cv2.erode(limb, kernel) == 0)
    return np.where(behind, 0.6, np.where(rim, 0.8, 1.0)).astype(np.float32)


def _seen(figure: Figure, points: np.ndarray, depth: np.ndarray) -> np.ndarray:
    columns, rows = np.floor(points).astype(int).T
    inside = (columns >= 0) & (rows >= 0) & (columns < depth.shape[1]) & (rows < depth.shape[0])
    surface = np.full(len(points), np.inf)
    surface[inside] = depth[rows[inside], columns[inside]]
    return np.where(surface - figure.keypoints[:, 2] < _FLESH * figure.height, 2.0, 1.0)


# ---------------------------------------------------------------- from a look and a stance to faces


def build_figure(look: Look, stance: Stance) -> Figure:
    """Dresses a body: every attribute of the look becomes a part or the paint of one."""
    body = pose_body(look, stance)
    limbs = [_torso(look, body), _head(look, body), _hair(look, body), _hat(look, body)]
    limbs += [_arm(look, body, side) for side in _SIDES]
    limbs += [_leg(look, body, side) for side in _SIDES]
    limbs += [_skirt(look, body), _luggage(look, body)]
    if stance.parcel:
        centre = (body.joints["right_hand"] + body.joints["left_hand"]) / 2 + (0, 0.03, 0.02)
        limbs.append([_box(centre, body.trunk, np.array((0.1, 0.07, 0.07)) * look.height, _CARDBOARD)])
    parts = [part for limb in limbs for part in limb]
    colours = np.concatenate([colours for _, colours in parts])
    weave = np.random.default_rng(look.cloth_seed).normal(1, 0.045, (len(colours), 1))
    return Figure(
        corners=np.concatenate([corners for corners, _ in parts]),
        colours=colours * weave,
        limbs=np.repeat(
            np.arange(1, len(limbs) + 1), [sum(len(corners) for corners, _ in limb) for limb in limbs]
        ).astype(np.uint8),
        keypoints=body.keypoints,
        facing=body.head[:, 2],
        height=look.height,
    )


Part = tuple[np.ndarray, np.ndarray]  # corners [faces, 4, 3], colours [faces, 3]


def _torso(look: Look, body: Body) -> list[Part]:
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
    path = _interpolate(levels, knots, centres)
    widths = np.interp(levels, knots, profile[0]) * unit
    depths = np.interp(levels, knots, profile[1]) * unit
    rings = _rings(path, widths, depths, body.chest, segments=32)
    level, aside, front = _places(rings)
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
    neck = _limb(joints["neck"] - 0.02 * up, joints["head"], (0.029 * look.height,) * 2, look.skin)
    return [_faces(rings, paint), neck]


# Half widths and half depths of the torso, from crotch to the base of the neck, in body heights.
_PROFILES = {
    "male": ((0.074, 0.094, 0.088, 0.106, 0.116, 0.100, 0.042), (0.055, 0.068, 0.062, 0.070, 0.066, 0.048, 0.036)),
    "female": ((0.082, 0.106, 0.072, 0.088, 0.092, 0.080, 0.036), (0.060, 0.076, 0.055, 0.078, 0.062, 0.044, 0.032)),
    "child": ((0.074, 0.088, 0.084, 0.088, 0.090, 0.080, 0.040), (0.060, 0.070, 0.070, 0.068, 0.062, 0.046, 0.036)),
}


def _head(look: Look, body: Body) -> list[Part]:
    centre, frame, size = body.joints["head"], body.head, body.head_height
    rings, direction = _ball(centre, frame, np.array((0.37, 0.5, 0.44)) * size, levels=15, segments=28)
    aside, up, front = np.moveaxis(direction, -1, 0)
    skin = np.array(look.skin, float)
    paint = np.broadcast_to(skin, direction.shape).copy()
    paint[(np.abs(np.abs(aside) - 0.38) < 0.12) & (np.abs(up - 0.13) < 0.08) & (front > 0)] = (30, 24, 24)
    paint[(np.abs(np.abs(aside) - 0.38) < 0.2) & (np.abs(up - 0.35) < 0.05) & (front > 0)] = np.array(look.hair) * 0.7
    paint[(np.abs(aside) < 0.28) & (np.abs(up + 0.52) < 0.08) & (front > 0)] = skin * (0.78, 0.5, 0.5)
    nose = _limb(centre + frame @ (0, 0.04, 0.40) * size, body.joints["nose"], (0.05 * size, 0.07 * size), look.skin)
    ears = [
        _limb(body.joints[f"{side}_ear"], body.joints[f"{side}_ear"] + frame @ (0, 0.08, 0) * size, (0.06 * size,) * 2,
              skin * 0.9)
        for side in _SIDES
    ]  # fmt: skip
    return [_faces(rings, paint), nose, *ears]


def _hair(look: Look, body: Body) -> list[Part]:
    frame, size = body.head, body.head_height
    long = look["hair"] == "long"
    centre = body.joints["head"] + frame @ (0, 0.03, -0.04) * size
    rings, direction = _ball(centre, frame, np.array((0.42, 0.54, 0.47)) * size, levels=13, segments=24)
    _, up, front = np.moveaxis(direction, -1, 0)
    keep = (up > 0.55) | (front < (0.2 if long else 0.05)) & (up > (-0.9 if long else -0.42))
    colour = np.broadcast_to(np.array(look.hair, float), direction.shape)
    parts = [_faces(rings, colour, keep)]
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
        path = _interpolate(levels, np.linspace(0, 1, 4), path)
        widths = np.interp(levels, (0, 0.4, 0.85, 1), (0.43, 0.5, 0.46, 0.3)) * size
        depths = np.interp(levels, (0, 0.5, 1), (0.42, 0.3, 0.12)) * size
        rings = _rings(path[::-1], widths[::-1], depths[::-1], frame, segments=20)
        _, _, front = _places(rings)
        parts.append(_faces(rings, np.broadcast_to(np.array(look.hair, float) * 0.92, (*front.shape, 3)), front < 0.25))
    return parts


def _hat(look: Look, body: Body) -> list[Part]:
    if look["hat"] == "no":
        return []
    frame, size = body.head, body.head_height
    centre = body.joints["head"] + frame @ (0, 0.08, -0.01) * size
    rings, direction = _ball(centre, frame, np.array((0.46, 0.54, 0.53)) * size, levels=13, segments=24)
    colour = np.broadcast_to(np.array(look.hat, float), direction.shape)
    brim, brim_direction = _ball(
        centre + frame @ (0, 0.16, 0.5) * size, frame, np.array((0.38, 0.05, 0.38)) * size, levels=5, segments=20
    )
    return [
        _faces(rings, colour, direction[..., 1] > 0.2),
        _faces(brim, np.broadcast_to(np.array(look.hat, float) * 0.7, brim_direction.shape)),
    ]


def _arm(look: Look, body: Body, side: str) -> list[Part]:
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
            _limb(shoulder, elbow, (0.028 * thick, 0.030 * thick, 0.025 * thick), look.skin),
            _limb(elbow, wrist, (0.025 * thick, 0.025 * thick, 0.018 * thick), look.skin),
        ]
    return [*parts, _limb(wrist, hand, (0.018 * thick, 0.024 * thick, 0.016 * thick), look.skin)]


def _sleeve(look: Look, start: np.ndarray, end: np.ndarray, radii: tuple[float, ...], aside: float) -> Part:
    corners, _ = _limb(start, end, radii, look.upper)
    along = (corners.mean(axis=1) - start) @ (end - start) / ((end - start) @ (end - start))
    return corners, _cloth(look.upper, look.upper_second, look.pattern, 2.6 * along, np.full(len(along), aside))


def _leg(look: Look, body: Body, side: str) -> list[Part]:
    hip, knee, ankle, heel, toe = (body.joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle", "heel", "toe"))
    thick = look.height * (0.55 + 0.45 * look.width)
    aside = 1.0 if side == "left" else -1.0
    cloth = _cloth(look.lower, look.lower_second, look.pattern, np.zeros(1), np.array((aside,)))[0]
    dress, short = look["lower_type"] == "dress", look["lower_length"] == "short"
    sole = np.array((0, 0.012 * look.height, 0))
    parts = [_limb(heel + sole, toe, (0.027 * thick, 0.028 * thick, 0.02 * thick), look.shoes)]
    if dress:  # what the skirt covers is not drawn
        top = hip + 0.75 * (knee - hip) if short else knee + 0.7 * (ankle - knee)
        parts += [_limb(top, knee, (0.036 * thick, 0.034 * thick), look.skin)] if short else []
        return [*parts, _limb(knee if short else top, ankle, (0.034 * thick, 0.035 * thick, 0.021 * thick), look.skin)]
    if short:
        return [
            *parts,
            _limb(hip, hip + 0.82 * (knee - hip), (0.060 * thick, 0.060 * thick, 0.057 * thick), cloth),
            _limb(hip, knee, (0.050 * thick, 0.046 * thick, 0.034 * thick), look.skin),
            _limb(knee, ankle, (0.034 * thick, 0.035 * thick, 0.021 * thick), look.skin),
        ]
    return [
        *parts,
        _limb(hip, knee, (0.058 * thick, 0.053 * thick, 0.043 * thick), cloth),
        _limb(knee, ankle, (0.043 * thick, 0.040 * thick, 0.036 * thick), cloth),
    ]


def _skirt(look: Look, body: Body) -> list[Part]:
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
    path = _interpolate(levels, knots, np.stack(path))[::-1]
    widths, depths = (np.interp(levels, knots, values)[::-1] for values in (widths, depths))
    rings = _rings(path, widths, depths, body.trunk, segments=26)
    level, aside, _ = _places(rings)
    paint = _cloth(look.lower, look.lower_second, look.pattern, 5 * level, aside)
    paint[:, ::3] *= 0.85  # pleats
    return [_faces(rings, paint)]


def _luggage(look: Look, body: Body) -> list[Part]:
    joints, unit = body.joints, look.height
    parts = []
    if look["backpack"] == "yes":
        size = np.array((0.088, 0.128, 0.055)) * unit * look.backpack_size
        centre = joints["chest"] + body.chest @ (0, -0.005 * unit, -0.062 * unit * look.width - size[2])
        parts += [
            _box(centre, body.chest, size, look.backpack),
            _box(
                centre + body.chest @ (0, -0.45 * size[1], -0.9 * size[2]),
                body.chest,
                size * (0.75, 0.42, 0.45),
                np.array(look.backpack) * 0.75,
            ),
        ]
    if look["bag"] == "yes":
        centre = joints["pelvis"] + body.trunk @ (body.hip_width + 0.075 * unit * look.width, 0.015 * unit, 0.01)
        parts.append(_box(centre, body.trunk, np.array((0.034, 0.068, 0.095)) * unit, look.bag))
    if look["handbag"] == "yes":
        hand = joints["left_hand"]
        centre = hand - (0, 0.115 * unit, 0)
        parts.append(_box(centre, np.eye(3), np.array((0.030, 0.062, 0.088)) * unit, look.handbag))
        parts += [
            _limb(hand, centre + np.array((0, 0.055, z)) * unit, (0.007 * unit,) * 2, np.array(look.handbag) * 0.7)
            for z in (-0.055, 0.055)
        ]
    return parts


# ---------------------------------------------------------------- parts from rings


def _rings(
    path: np.ndarray, widths: np.ndarray, depths: np.ndarray, frame: np.ndarray, segments: int, square: float = 1.0
) -> np.ndarray:
    """Elliptic rings around a path that goes up the frame: [levels, segments, 3]; square < 1 makes corners."""
    angle = np.arange(segments) * (2 * np.pi / segments)
    sin, cos = (np.sign(value) * np.abs(value) ** square for value in (np.sin(angle), np.cos(angle)))
    aside = cos[None, :, None] * widths[:, None, None] * frame[:, 0]
    front = sin[None, :, None] * depths[:, None, None] * frame[:, 2]
    return path[:, None, :] + aside + front


def _places(rings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each face lies: level 0..1 upwards, aside -1..1 to the person's left, front -1..1; [levels-1, segments]."""
    levels, segments = len(rings) - 1, rings.shape[1]
    angle = (np.arange(segments) + 0.5) * (2 * np.pi / segments)
    level = np.repeat((np.arange(levels) + 0.5)[:, None] / levels, segments, axis=1)
    return level, np.tile(np.cos(angle), (levels, 1)), np.tile(np.sin(angle), (levels, 1))


def _faces(rings: np.ndarray, colours: np.ndarray, keep: np.ndarray | None = None) -> Part:
    """The quads between neighbouring rings, those of keep only."""
    after = np.roll(rings, -1, axis=1)
    corners = np.stack([rings[:-1], after[:-1], after[1:], rings[1:]], axis=2)
    keep = np.ones(corners.shape[:2], bool) if keep is None else keep
    return corners[keep], colours[keep]


def _ball(
    centre: np.ndarray, frame: np.ndarray, radii: np.ndarray, levels: int, segments: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rings of an ellipsoid, and the direction of each face from its centre (left, up, front; length 1)."""
    latitude = np.linspace(-np.pi / 2, np.pi / 2, levels)
    path = centre + np.sin(latitude)[:, None] * radii[1] * frame[:, 1]
    rings = _rings(path, np.cos(latitude) * radii[0], np.cos(latitude) * radii[2], frame, segments)
    middle = (latitude[1:] + latitude[:-1])[:, None] / 2
    _, aside, front = _places(rings)
    up = np.broadcast_to(np.sin(middle), aside.shape)
    return rings, np.stack([aside * np.cos(middle), up, front * np.cos(middle)], axis=-1)


def _limb(start: np.ndarray, end: np.ndarray, radii: tuple[float, ...], colour: tuple, segments: int = 12) -> Part:
    """A tapered capsule through the given radii, evenly spaced from start to end."""
    along = (end - start) / (np.linalg.norm(end - start) + 1e-9)
    reference = np.array((0.0, 0, 1)) if abs(along[2]) < 0.9 else np.array((0.0, 1, 0))
    aside = _cross(along, reference)
    aside /= np.linalg.norm(aside)
    frame = np.column_stack((aside, along, _cross(aside, along)))
    levels = np.linspace(0, 1, max(5, 2 * len(radii) - 1))
    radius = np.interp(levels, np.linspace(0, 1, len(radii)), radii)
    middle = start + levels[:, None] * (end - start)
    caps = ((0.0, 0.95), (0.6, 0.75), (0.9, 0.4))  # share of the radius, share of it beyond the end
    path = [start - along * radii[0] * beyond for _, beyond in caps]
    path += [*middle, *(end + along * radii[-1] * beyond for _, beyond in caps[::-1])]
    widths = np.array([radii[0] * s for s, _ in caps] + [*radius] + [radii[-1] * s for s, _ in caps[::-1]])
    rings = _rings(np.stack(path), widths, widths, frame, segments)
    return _faces(rings, np.broadcast_to(np.array(colour, float), (len(rings) - 1, segments, 3)))


def _box(centre: np.ndarray, frame: np.ndarray, half_sizes: np.ndarray, colour: tuple) -> Part:
    """A box with rounded corners."""
    levels = np.array((-1.0, -0.97, -0.6, -0.2, 0.2, 0.6, 0.97, 1.0))
    shares = np.array((0.0, 0.88, 1.0, 1.0, 1.0, 1.0, 0.88, 0.0))
    path = centre + levels[:, None] * half_sizes[1] * frame[:, 1]
    rings = _rings(path, shares * half_sizes[0], shares * half_sizes[2], frame, segments=20, square=0.5)
    return _faces(rings, np.broadcast_to(np.array(colour, float), (len(levels) - 1, 20, 3)))


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """np.cross along the last axis, without its overhead, which counts for short arrays."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.array((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)).T


def _interpolate(levels: np.ndarray, knots: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(levels, knots, points[:, axis]) for axis in range(3)], axis=1)


def _cloth(first: tuple, second: tuple, pattern: str, along: np.ndarray, aside: np.ndarray) -> np.ndarray:
    """Two colours on a garment: bands along it, or one for each side of the body; plain when both are the same."""
    odd = np.floor(along).astype(int) % 2 == 1 if pattern == "stripes" else aside > 0
    return np.where(odd[..., None], np.array(second, float), np.array(first, float))
