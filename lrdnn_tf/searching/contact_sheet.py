"""The result of a search as one picture."""

import pathlib
from collections.abc import Sequence

import cv2
import numpy as np

from lrdnn_tf.data.decode import read_image

_TILE_HEIGHT, _TILE_WIDTH, _CAPTION, _GAP = 192, 96, 34, 6  # pixels
_GREY, _WHITE = (40, 40, 40), 255


def contact_sheet(rows: Sequence[Sequence[tuple[pathlib.Path, str]]]) -> np.ndarray:
    """Rows of images with a caption below each; shorter rows are padded with white.

    Args:
        rows: Pairs of an image file, JPEG or PNG, and its caption; at least one pair in all.

    Returns:
        uint8 [H, W, 3], BGR as in OpenCV.

    Raises:
        InputError: A file cannot be decoded.
    """
    longest = max(map(len, rows))
    padded = [[_tile(*entry) for entry in row] + [_empty_tile()] * (longest - len(row)) for row in rows]
    return np.concatenate([np.concatenate(tiles, axis=1) for tiles in padded])


def _tile(path: pathlib.Path, caption: str) -> np.ndarray:
    tile = _empty_tile()
    image = read_image(path, _TILE_HEIGHT, _TILE_WIDTH)
    tile[:_TILE_HEIGHT, :_TILE_WIDTH] = image.round().astype(np.uint8)[:, :, ::-1]
    position = (2, _TILE_HEIGHT + 18)
    cv2.putText(tile, caption, position, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _GREY, 1, cv2.LINE_AA)
    return tile


def _empty_tile() -> np.ndarray:
    return np.full([_TILE_HEIGHT + _CAPTION, _TILE_WIDTH + _GAP, 3], _WHITE, np.uint8)
