"""Takes a picture of a scene: backdrop, people and occluders from far to near, then the camera's sensor."""

from typing import NamedTuple

import cv2
import numpy as np

from data_prep.rendered.backdrops import backdrop
from data_prep.rendered.cameras import Camera, pixels_per_metre
from data_prep.rendered.figures import Figure, Light, draw_figure
from data_prep.rendered.occluders import OCCLUDERS
from data_prep.rendered.paint import ellipse

_BACKGROUND = 0
_SUPERSAMPLING = 3


class Thing(NamedTuple):
    """A figure on the viewer's axes, or the name of an occluder, and the scene pixel on the ground where it stands."""

    what: Figure | str
    x: float
    y: float


class View(NamedTuple):
    """A picture and its annotations.

    Attributes:
        image: uint8 [height, width, 3], RGB.
        masks: bool [things, height, width], the visible pixels of each thing; all False for occluders.
        keypoints: [things, 18, 3]: x, y in image pixels and the visibility: 2 visible, 1 hidden, 0 outside the image
            or on a face that is turned away.
    """

    image: np.ndarray
    masks: np.ndarray
    keypoints: np.ndarray


def render(
    camera: Camera,
    seed: int,
    things: list[Thing],
    window: tuple[float, float, float, float],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> View:
    """Takes a picture.

    Args:
        camera: One of CAMERAS.
        seed: Seed of the backdrop, the same for all pictures of a dataset.
        things: People and occluders in any order; nearer ones cover farther ones.
        window: Left, top, width and height of the picture in the scene; may extend beyond its borders.
        size: Width and height of the picture in pixels.
        rng: Random numbers for occluders and for the sensor.
    """
    left, top, width, height = window
    canvas_size = (size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING)
    zoom = np.array((canvas_size[0] / width, canvas_size[1] / height))
    to_canvas = np.array(((zoom[0], 0, -left * zoom[0]), (0, zoom[1], -top * zoom[1])))
    canvas = cv2.warpAffine(
        backdrop(camera, seed), to_canvas, canvas_size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    owners = np.full(canvas.shape[:2], _BACKGROUND, np.uint8)
    keypoints = np.zeros((len(things), 18, 3))
    for number in sorted(range(len(things)), key=lambda number: things[number].y):
        thing = things[number]
        origin = tuple(to_canvas @ (thing.x, thing.y, 1))
        scale = pixels_per_metre(camera, thing.y) * zoom[1]
        _shadow(canvas, origin, scale, camera.light)
        if isinstance(thing.what, str):
            OCCLUDERS[thing.what](canvas, owners, origin, scale, rng)
        else:
            keypoints[number] = draw_figure(canvas, owners, thing.what, number + 1, origin, scale, camera.light)
    masks = []
    for number in range(len(things)):
        owned = (owners == number + 1).astype(np.uint8) * 255
        masks.append(cv2.resize(owned, size, interpolation=cv2.INTER_AREA) > 127)
        keypoints[number] = _in_image(keypoints[number], owners, number + 1)
    image = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return View(_sensor(image, camera, rng), np.stack(masks), keypoints)


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """Encodes uint8 [height, width, 3], RGB, as JPEG."""
    done, encoded = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    assert done
    return encoded.tobytes()


def _in_image(keypoints: np.ndarray, owners: np.ndarray, owner: int) -> np.ndarray:
    """From canvas to image pixels; visibility becomes 1 where another thing covers a point, and 0 outside the image."""
    x, y, v = keypoints.T
    inside = (x >= 0) & (y >= 0) & (x < owners.shape[1]) & (y < owners.shape[0])
    covered = np.zeros(len(v), bool)
    covered[inside] = owners[y[inside].astype(int), x[inside].astype(int)] != owner
    v = np.where(covered, np.minimum(v, 1), v) * inside
    return np.column_stack((x / _SUPERSAMPLING, y / _SUPERSAMPLING, v)) * (v > 0)[:, None]


def _sensor(image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Applies exposure, colour cast, blur and noise of a camera, each varied a little at random."""
    height, width = image.shape[:2]
    across, down = np.linspace(-0.5, 0.5, width), np.linspace(-0.5, 0.5, height)[:, None]
    exposure = camera.gain * rng.uniform(0.9, 1.1) * (1 + camera.gradient[0] * across + camera.gradient[1] * down)
    cast = np.array(camera.cast) * rng.uniform(0.96, 1.04, 3)
    pixels = image.astype(np.float32) * (exposure[..., None] * cast).astype(np.float32)
    pixels = cv2.GaussianBlur(pixels, (0, 0), camera.blur * rng.uniform(0.8, 1.4) * min(height, 160) / 160 + 0.2)
    pixels += rng.normal(0, camera.noise, pixels.shape).astype(np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _shadow(canvas: np.ndarray, origin: tuple[float, float], scale: float, light: Light) -> None:
    """Darkens a soft ellipse under the feet and a longer one away from the light."""
    away = -light.direction[0] * 0.7 * scale
    corner = np.array((origin[0] - 1.3 * scale, origin[1] - 0.4 * scale)).astype(int).clip(0)
    region = canvas[corner[1] : max(0, int(origin[1] + 0.4 * scale)), corner[0] : max(0, int(origin[0] + 1.3 * scale))]
    if region.size == 0:
        return
    x, y = np.array(origin) - corner
    mask = np.zeros(region.shape[:2], np.float32)
    ellipse(mask, (x, y), (0.34 * scale, 0.12 * scale), 0.42)
    ellipse(mask, (x + away / 2, y - 0.05 * scale), (abs(away) / 2 + 0.3 * scale, 0.16 * scale), 0.22)
    mask = cv2.blur(mask, (max(1, int(0.12 * scale)),) * 2)
    region[:] = (region * (1 - mask[..., None])).astype(np.uint8)
