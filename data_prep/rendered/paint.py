"""Shapes and colours of which backdrops and occluders are painted."""

import cv2
import numpy as np

from data_prep.rendered.looks import PALETTE


def ellipse(image: np.ndarray, centre: tuple, axes: tuple, colour: float | tuple) -> None:
    """Fills an ellipse; axes are the half axes in pixels."""
    centre = tuple(int(value) for value in np.clip(centre, -9999, 9999))
    axes = tuple(int(max(1, axis)) for axis in axes)
    line = cv2.LINE_AA if image.dtype == np.uint8 else cv2.LINE_8
    cv2.ellipse(image, centre, axes, 0, 0, 360, colour, cv2.FILLED, line)


def rectangle(image: np.ndarray, x: int, y: int, width: int, height: int, colour: tuple) -> None:
    """Fills a rectangle; x, y is its upper left corner."""
    cv2.rectangle(image, (int(x), int(y)), (int(x + width), int(y + height)), tuple(int(c) for c in colour), -1)


def clutter_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """A colour that clothes have, too, so that colour alone does not show where a person is."""
    colour = np.array(list(PALETTE.values())[rng.integers(len(PALETTE))])
    return tuple(int(value) for value in np.clip(colour * rng.uniform(0.75, 1.15), 0, 255))
