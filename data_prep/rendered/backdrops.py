"""The empty scenes of the cameras, painted with random details."""

import functools

import cv2
import numpy as np

from data_prep.rendered.cameras import CAMERAS, SCENE_HEIGHT, SCENE_WIDTH, Camera
from data_prep.rendered.occluders import bicycle
from data_prep.rendered.paint import clutter_colour, ellipse, rectangle


@functools.cache
def backdrop(camera: Camera, seed: int) -> np.ndarray:
    """The empty scene of a camera: uint8 [SCENE_HEIGHT, SCENE_WIDTH, 3], RGB. It is cached: do not modify it."""
    rng = np.random.default_rng([seed, CAMERAS.index(camera)])
    image = np.zeros((SCENE_HEIGHT, SCENE_WIDTH, 3), np.uint8)
    _PAINTERS[camera.backdrop](image, int(camera.horizon), rng)
    return _weather(image, rng)


def _weather(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fades the colours and adds texture at three scales."""
    grey = image.mean(axis=2, keepdims=True)
    texture = np.zeros(image.shape[:2], np.float32)
    for cell, strength in ((1, 5), (6, 6), (60, 9)):
        small = rng.normal(0, strength, (SCENE_HEIGHT // cell + 1, SCENE_WIDTH // cell + 1)).astype(np.float32)
        texture += cv2.resize(small, (SCENE_WIDTH, SCENE_HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(grey + 0.6 * (image - grey) + texture[..., None], 0, 255).astype(np.uint8)


def _ground(image: np.ndarray, top: int, colour: tuple, lines: tuple, horizon: int, rows: int = 14) -> None:
    """Paints the ground below a row, with lines of tiles that converge at the horizon."""
    image[top:] = colour
    for step in range(1, rows):
        row = int(horizon + (SCENE_HEIGHT - horizon) * 1.6 / (0.6 + 0.55 * step))
        if row > top:
            cv2.line(image, (0, row), (SCENE_WIDTH, row), lines, 2)
    for x in range(-1600, 2500, 130):
        start = np.array((SCENE_WIDTH / 2, horizon))
        end = np.array((x, SCENE_HEIGHT))
        meet = start + (end - start) * (top - horizon) / (SCENE_HEIGHT - horizon)
        cv2.line(image, tuple(meet.astype(int).tolist()), (x, SCENE_HEIGHT), lines, 2, cv2.LINE_AA)


def _shops(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    foot = 250
    rectangle(image, 0, 0, SCENE_WIDTH, foot, (186, 172, 150))
    for x in range(-20, SCENE_WIDTH, 165):
        rectangle(image, x + 10, 70, 145, foot - 70, (58, 66, 74))
        for _ in range(9):
            shelf = rng.integers(10, 120), rng.integers(100, foot - 40)
            size = rng.integers(10, 30), rng.integers(15, 38)
            rectangle(image, x + 14 + shelf[0], shelf[1], *size, clutter_colour(rng))
        awning, other = clutter_colour(rng), (235, 232, 225)
        for stripe in range(10):
            rectangle(image, x + 5 + stripe * 15.5, 55, 15, 34, awning if stripe % 2 else other)
        rectangle(image, x + 5, 12, 155, 38, clutter_colour(rng))
    _ground(image, foot, (168, 164, 160), (140, 136, 132), horizon)
    for _ in range(9):
        x, y = rng.integers(0, SCENE_WIDTH), rng.integers(foot + 5, foot + 60)
        rectangle(image, x, y - 40, 36, 40, clutter_colour(rng))
        rectangle(image, x, y - 40, 36, 6, (90, 76, 60))


def _lawn(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    rectangle(image, 0, 0, SCENE_WIDTH, 140, (150, 176, 196))
    for _ in range(500):
        centre = rng.integers(-20, SCENE_WIDTH + 20), rng.integers(-10, 165)
        axes = rng.integers(8, 30), rng.integers(8, 22)
        ellipse(image, centre, axes, (np.array((58, 100, 48)) * rng.uniform(0.5, 1.2)).tolist())
    for x in rng.integers(0, SCENE_WIDTH, 9):
        rectangle(image, x, 60, rng.integers(8, 20), 110, (84, 66, 50))
    image[165:] = (98, 134, 66)
    for _ in range(2600):
        x, y = rng.integers(0, SCENE_WIDTH), rng.integers(165, SCENE_HEIGHT)
        shade = (np.array((92, 130, 60)) * rng.uniform(0.7, 1.25)).tolist()
        cv2.line(image, (int(x), int(y)), (int(x + rng.integers(-4, 5)), int(y - 3 - (y - 160) // 40)), shade, 1)
    path = np.array(((330, 165), (400, 165), (760, 600), (60, 600)))
    cv2.fillPoly(image, [path], (188, 176, 152))
    for _ in range(26):
        x, y = int(rng.integers(0, SCENE_WIDTH)), int(rng.integers(180, SCENE_HEIGHT))
        for _ in range(7):
            ellipse(image, (x + rng.integers(-22, 22), y + rng.integers(-9, 9)), (4, 4), clutter_colour(rng))
    for x in (90, 640):
        rectangle(image, x, 200, 120, 10, clutter_colour(rng))
        rectangle(image, x, 172, 120, 14, clutter_colour(rng))
        rectangle(image, x + 8, 210, 6, 30, (50, 48, 46))
        rectangle(image, x + 106, 210, 6, 30, (50, 48, 46))


def _brick(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    foot = 310
    rectangle(image, 0, 0, SCENE_WIDTH, foot, (150, 142, 132))
    for row in range(0, foot, 13):
        for x in range(-30, SCENE_WIDTH, 33):
            shade = np.array((148, 78, 60)) * rng.uniform(0.75, 1.15)
            rectangle(image, x + (row // 13 % 2) * 16, row, 30, 10, shade)
    for x in (70, 330, 600):
        rectangle(image, x, 40, 120, 120, (226, 222, 214))
        rectangle(image, x + 8, 48, 104, 104, (52, 62, 78))
        rectangle(image, x + 58, 48, 5, 104, (226, 222, 214))
    for x in rng.integers(0, SCENE_WIDTH, 8):
        rectangle(image, x, rng.integers(170, 230), rng.integers(30, 60), rng.integers(40, 70), clutter_colour(rng))
    _ground(image, foot, (118, 114, 112), (98, 94, 92), horizon, rows=20)
    rectangle(image, 0, foot, SCENE_WIDTH, 12, (88, 84, 82))


def _hall(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    foot = 230
    rectangle(image, 0, 0, SCENE_WIDTH, foot, (214, 218, 218))
    rectangle(image, 0, foot - 70, SCENE_WIDTH, 70, (134, 152, 168))
    for x in range(30, SCENE_WIDTH, 200):
        rectangle(image, x, 30, 84, foot - 30, (112, 84, 60))
        ellipse(image, (x + 72, 150), (4, 4), (220, 210, 120))
    for x in rng.integers(0, SCENE_WIDTH, 9):
        rectangle(image, x, rng.integers(25, 110), rng.integers(30, 60), rng.integers(35, 60), clutter_colour(rng))
    _ground(image, foot, (196, 192, 182), (172, 168, 160), horizon)
    for x in range(40, SCENE_WIDTH, 160):  # lamps mirrored on the floor
        ellipse(image, (x, 360), (24, 70), (222, 222, 216))
    for x in (150, 470, 700):
        rectangle(image, x, foot + 10, 90, 26, clutter_colour(rng))
        rectangle(image, x, foot - 30, 90, 36, clutter_colour(rng))


def _street(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    image[:] = (92, 94, 98)
    rectangle(image, 0, 0, SCENE_WIDTH, 110, (150, 148, 144))
    for x in range(-30, SCENE_WIDTH, 190):  # parked cars
        colour = clutter_colour(rng)
        rectangle(image, x + 30, 40, 110, 50, colour)
        rectangle(image, x + 40, 48, 90, 24, (70, 84, 96))
        rectangle(image, x, 78, 170, 50, colour)
        for wheel in (36, 134):
            ellipse(image, (x + wheel, 128), (18, 18), (26, 26, 28))
    for x in range(-100, SCENE_WIDTH, 90):  # the crossing
        stripe = np.array(((x, 600), (x + 48, 600), (x + 92, 330), (x + 60, 330)))
        cv2.fillPoly(image, [stripe], (214, 214, 208), cv2.LINE_AA)
    cv2.line(image, (0, 215), (SCENE_WIDTH, 190), (206, 178, 60), 7, cv2.LINE_AA)
    for x in rng.integers(0, SCENE_WIDTH, 6):  # cones and boxes
        y = int(rng.integers(150, 320))
        rectangle(image, x, y, rng.integers(18, 40), rng.integers(20, 40), clutter_colour(rng))


def _racks(image: np.ndarray, horizon: int, rng: np.random.Generator) -> None:
    foot = 280
    rectangle(image, 0, 0, SCENE_WIDTH, foot, (106, 110, 112))
    for x in range(0, SCENE_WIDTH, 26):
        rectangle(image, x, 0, 12, 150, (124, 128, 130))
    for _ in range(420):
        centre = rng.integers(-20, SCENE_WIDTH + 20), rng.integers(150, foot)
        axes = rng.integers(6, 22), rng.integers(5, 16)
        ellipse(image, centre, axes, (np.array((56, 88, 44)) * rng.uniform(0.5, 1.15)).tolist())
    _ground(image, foot, (142, 128, 112), (124, 110, 96), horizon, rows=18)
    owners = np.zeros(image.shape[:2], np.uint8)
    for x in range(30, SCENE_WIDTH, 62):
        bicycle(image, owners, (x, foot + 45 + rng.integers(-6, 6)), 68.0, rng)


_PAINTERS = {"shops": _shops, "lawn": _lawn, "brick": _brick, "hall": _hall, "street": _street, "racks": _racks}
