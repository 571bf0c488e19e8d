"""What a search found, as one picture."""

import pathlib
from collections.abc import Sequence

import cv2
import numpy as np

from lrdnn_tf.data.decode import decode_image

_TILE_HEIGHT, _TILE_WIDTH, _CAPTION, _GAP = 192, 96, 34, 6
_GREY, _WHITE = (40, 40, 40), 255


def contact_sheet(rows: Sequence[Sequence[tuple[pathlib.Path, str]]]) -> np.ndarray:
    """A row of images with a caption below each; short rows end in white.

    Args:
        rows: Image files, JPEG or PNG, and their captions, at least one in all.

    Returns:
        uint8 [H, W, 3], BGR as OpenCV writes it.
    """
    longest = max(map(len, rows))
    return np.concatenate(
        [
            np.concatenate([*(_tile(*entry) for entry in row), *[_empty_tile()] * (longest - len(row))], axis=1)
            for row in rows
        ]
    )


def _tile(path: pathlib.Path, caption: str) -> np.ndarray:
    tile = _empty_tile()
    image = decode_image(path.read_bytes(), _TILE_HEIGHT, _TILE_WIDTH).numpy()
    tile[:_TILE_HEIGHT, :_TILE_WIDTH] = image.round().astype(np.uint8)[:, :, ::-1]
    position = (2, _TILE_HEIGHT + 18)
    cv2.putText(tile, caption, position, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _GREY, 1, cv2.LINE_AA)
    return tile


def _empty_tile() -> np.ndarray:
    return np.full([_TILE_HEIGHT + _CAPTION, _TILE_WIDTH + _GAP, 3], _WHITE, np.uint8)
