"""The six cameras: each has its own backdrop, viewing angle, light, colour cast, blur, noise and JPEG quality."""

from typing import NamedTuple

import numpy as np

from data_prep.rendered.figures import Light

SCENE_WIDTH, SCENE_HEIGHT = 800, 600  # pixels


class Camera(NamedTuple):
    """A fixed camera. At ground row y, one metre is (y - horizon) / height pixels."""

    backdrop: str  # names its painter in backdrops.py
    horizon: float  # row of the horizon in the scene
    height: float  # metres above the ground
    elevation: float  # angle in radians by which it looks down
    flow: float  # the yaw in which most people walk
    light: Light
    gain: float
    cast: tuple[float, float, float]  # factors of red, green and blue
    gradient: tuple[float, float]  # increase of brightness from left to right and from top to bottom
    blur: float  # pixels
    noise: float  # grey levels
    quality: int  # of the JPEG


def _camera(*row) -> Camera:
    camera = Camera(*row)
    *direction, ambient = camera.light
    return camera._replace(light=Light(tuple(np.array(direction) / np.linalg.norm(direction)), ambient))


# The light is given as x, y, z (towards it, of any length) and the ambient share.
CAMERAS = tuple(_camera(*row) for row in (
    # backdrop, horizon, height, elevation, flow, light, gain, cast, gradient, blur, noise, quality
    ("shops",  110, 3.2, 0.16, 0.3, ( 0.5, 0.8, 0.6, 0.60), 1.05, (1.04, 1.00, 0.94), ( 0.12,  0.00), 0.35, 3.0, 88),
    ("lawn",    60, 3.6, 0.24, 1.4, (-0.7, 0.7, 0.5, 0.50), 1.08, (0.98, 1.03, 0.95), (-0.15,  0.05), 0.45, 4.0, 82),
    ("brick",  140, 2.4, 0.08, 2.6, ( 0.1, 0.5, 0.9, 0.65), 0.88, (1.06, 0.98, 0.93), ( 0.00,  0.15), 0.60, 6.0, 76),
    ("hall",    90, 2.9, 0.20, 3.6, ( 0.0, 1.0, 0.4, 0.65), 0.98, (0.94, 1.00, 1.06), ( 0.05, -0.20), 0.40, 3.5, 90),
    ("street",  30, 4.6, 0.32, 4.7, (-0.4, 0.9, 0.2, 0.50), 1.00, (0.96, 0.99, 1.05), ( 0.18,  0.10), 0.65, 5.0, 72),
    ("racks",  120, 2.7, 0.13, 5.6, ( 0.9, 0.3, 0.4, 0.45), 0.84, (1.08, 0.99, 0.86), (-0.20,  0.00), 0.50, 7.0, 80),
))  # fmt: skip


def pixels_per_metre(camera: Camera, y: float) -> float:
    """The scale of a thing whose ground point lies at scene row y."""
    return (y - camera.horizon) / camera.height
