"""Writing image files."""

import os

import cv2
import numpy as np

from lrdnn_base.errors import InputError
from lrdnn_base.files import replacing


def write_image(path: str | os.PathLike, pixels: np.ndarray) -> None:
    """Writes uint8 [H, W, 3], BGR as in OpenCV, completely or not at all; the suffix of the path is the format.

    Raises:
        InputError: The file cannot be written; a previous file stays as it was.
    """
    with replacing(path) as temporary:
        if not cv2.imwrite(os.fspath(temporary), pixels):
            raise InputError(f"cannot write {path}: is the disk full?")
