"""A person as a mesh, and how it is drawn: faces that point to the viewer are filled from back to front.

OpenCV fills an index map with the numbers of the faces; colours, light and depth are looked up by these numbers. The
depth map gives self-occlusion and decides which keypoints are hidden.
"""

from typing import NamedTuple

import cv2
import numpy as np

from data_prep.rendered.body import turn_x, turn_y
from data_prep.rendered.meshes import cross
from pose_pretrain.skeleton import KEYPOINTS

_SUBPIXEL_BITS = 3
_EYES_AND_NOSE = tuple(KEYPOINTS.index(name) for name in ("nose", "right_eye", "left_eye"))
_NOWHERE = -1e3  # the depth, in metres, where nothing is drawn
# The depth below the surface, in body heights, up to which a keypoint counts as visible.
_FLESH_DEPTHS = {"shoulder": 0.075, "hip": 0.105, "neck": 0.08, "knee": 0.06, "nose": 0.03, "eye": 0.03}
_FLESH = np.array([_FLESH_DEPTHS.get(name.split("_")[-1], 0.05) for name in KEYPOINTS])


class Figure(NamedTuple):
    """The mesh of a person, in metres: on the axes of body.py, or once turned on the viewer's.

    The viewer's axes are x to the right, y up and z towards the viewer.
    """

    corners: np.ndarray  # [faces, 4, 3]
    colours: np.ndarray  # [faces, 3], red, green, blue, 0..255
    limbs: np.ndarray  # uint8 [faces], the limb of each face: edges are drawn where one limb covers another
    keypoints: np.ndarray  # [18, 3]
    facing: np.ndarray  # [3], the direction in which the face looks
    height: float

    def turned(self, yaw: float, elevation: float) -> "Figure":
        """The figure on the axes of a viewer.

        Args:
            yaw: Radians; at 0 the person faces the viewer, at pi / 2 the viewer's right.
            elevation: Radians by which the viewer looks down.
        """
        turn = turn_x(elevation) @ turn_y(yaw)
        corners, keypoints = (points @ turn.T for points in (self.corners, self.keypoints))
        return self._replace(corners=corners, keypoints=keypoints, facing=turn @ self.facing)

    def extent(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top of the figure, in metres on the x and y axes."""
        points = self.corners[..., :2].reshape(-1, 2)
        return (*points.min(axis=0), *points.max(axis=0))


class Light(NamedTuple):
    """The unit vector towards the light, on the viewer's axes, and the share of light that has no direction."""

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
    """Draws a turned figure into an image.

    Args:
        image: uint8 [height, width, 3], RGB.
        owners: uint8 [height, width]; set to `owner` where the figure is drawn.
        figure: Figure on the viewer's axes.
        owner: Number of the figure.
        origin: Pixel (x, y) of the point on the ground below the pelvis.
        scale: Pixels per metre.
        light: Light of the camera.

    Returns:
        The keypoints, [18, 3]: x, y in pixels and the visibility: 2 visible, 1 hidden by the figure itself, 0 for eyes
        and nose of a face that is turned away, which COCO does not label. Points outside the image are kept.
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
        visible = _visibility(figure, points - (left, top), depth)
    visible[list(_EYES_AND_NOSE)] *= figure.facing[2] > -0.3
    return np.column_stack((points, visible))


def _fill(figure: Figure, pixels: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Fills the faces that point to the viewer, far ones first.

    Returns:
        int32 [height, width], the number of the face at each pixel plus 1, 0 where there is none; and the unit normals
        [faces, 3].
    """
    corners = figure.corners
    normals = cross(corners[:, 3] - corners[:, 1], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    order = np.argsort(corners[..., 2].mean(axis=1), kind="stable")
    order = order[normals[order, 2] > 0]
    index = np.zeros(shape, np.int32)
    fixed_point = np.round(pixels * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    for face in order:
        cv2.fillConvexPoly(index, fixed_point[face], int(face) + 1, cv2.LINE_8, _SUBPIXEL_BITS)
    return index, normals


def _creases(depth: np.ndarray, limb: np.ndarray, step: float) -> np.ndarray:
    """float32 factors that darken the rim of the figure and the edges at which one limb covers another."""
    kernel = np.ones((3, 3), np.uint8)
    edge = cv2.dilate(limb, kernel) != cv2.erode(limb, kernel)
    behind = edge & (cv2.dilate(depth, kernel) > depth + step)
    rim = edge & (cv2.erode(limb, kernel) == 0)
    return np.where(behind, 0.6, np.where(rim, 0.8, 1.0)).astype(np.float32)


def _visibility(figure: Figure, points: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """2 for keypoints at the visible surface, 1 for those that the figure hides."""
    columns, rows = np.floor(points).astype(int).T
    inside = (columns >= 0) & (rows >= 0) & (columns < depth.shape[1]) & (rows < depth.shape[0])
    surface = np.full(len(points), np.inf)
    surface[inside] = depth[rows[inside], columns[inside]]
    return np.where(surface - figure.keypoints[:, 2] < _FLESH * figure.height, 2.0, 1.0)
