"""Objects in front of people: a pole, a bush, a bicycle."""

import cv2
import numpy as np

from data_prep.rendered.paint import clutter_colour, ellipse

OCCLUDER = 255  # their value in the map of owners


def _pole(canvas: np.ndarray, owners: np.ndarray, origin: tuple, scale: float, rng: np.random.Generator) -> None:
    x, y = (int(value) for value in origin)
    half, top = int(rng.uniform(0.035, 0.075) * scale) + 1, int(y - rng.uniform(1.0, 3.2) * scale)
    colour = np.array(clutter_colour(rng))
    for offset in range(-half, half + 1):
        shade = 1.05 - 0.5 * abs(offset + 0.4 * half) / half
        cv2.line(canvas, (x + offset, top), (x + offset, y), (colour * shade).clip(0, 255).tolist(), 1)
    cv2.rectangle(owners, (x - half, top), (x + half, y), OCCLUDER, -1)


def _bush(canvas: np.ndarray, owners: np.ndarray, origin: tuple, scale: float, rng: np.random.Generator) -> None:
    for _ in range(45):
        height = rng.uniform(0, 0.6)
        centre = (origin[0] + rng.normal(0, 0.22) * scale, origin[1] - height * scale)
        axes = (rng.uniform(0.05, 0.12) * scale, rng.uniform(0.04, 0.1) * scale)
        green = np.array((52, 96, 44)) * rng.uniform(0.5, 1.1) * (0.7 + 0.5 * height)
        ellipse(canvas, centre, axes, green.tolist())
        ellipse(owners, centre, axes, OCCLUDER)


def bicycle(canvas: np.ndarray, owners: np.ndarray, origin: tuple, scale: float, rng: np.random.Generator) -> None:
    colour, thick = clutter_colour(rng), max(2, int(0.035 * scale))
    side = rng.choice((-1, 1))

    def at(x: float, y: float) -> tuple[int, int]:
        return int(origin[0] + side * x * scale), int(origin[1] - y * scale)

    frame = ((-0.5, 0.33), (-0.05, 0.3), (0.35, 0.75), (-0.2, 0.75), (-0.05, 0.3), (-0.2, 0.75), (-0.5, 0.33))
    strokes = [
        (frame, colour),
        (((0.5, 0.33), (0.33, 0.95), (0.2, 1.0)), colour),
        (((-0.3, 0.88), (-0.1, 0.88)), (30, 28, 28)),
    ]
    for image, paint in ((canvas, None), (owners, OCCLUDER)):
        for x in (-0.5, 0.5):
            cv2.circle(image, at(x, 0.33), int(0.32 * scale), paint or (34, 34, 36), thick)
        for points, stroke in strokes:
            cv2.polylines(image, [np.array([at(*point) for point in points])], False, paint or stroke, thick)


# Each is painted as occluder(canvas, owners, origin, scale, rng); see scenes.render.
OCCLUDERS = {"pole": _pole, "bush": _bush, "bicycle": bicycle}
