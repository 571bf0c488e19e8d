"""Shapes and colours that backdrops and occluders are painted with."""

import cv2
import numpy as np

from data_prep.rendered.looks import PALETTE


def ellipse(image: np.ndarray, centre: tuple, axes: tuple, colour: float | tuple) -> None:
    cv2.ellipse(
        image,
        tuple(int(value) for value in np.clip(centre, -9999, 9999)),
        tuple(int(max(1, axis)) for axis in axes),
        0,
        0,
        360,
        colour,
        -1,
        cv2.LINE_AA if image.dtype == np.uint8 else cv2.LINE_8,
    )


def rectangle(image: np.ndarray, x: int, y: int, width: int, height: int, colour: tuple) -> None:
    cv2.rectangle(image, (int(x), int(y)), (int(x + width), int(y + height)), tuple(int(c) for c in colour), -1)


def clutter_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """A colour that clothes have too."""
    colour = np.array(list(PALETTE.values())[rng.integers(len(PALETTE))])
    return tuple(int(value) for value in np.clip(colour * rng.uniform(0.75, 1.15), 0, 255))
