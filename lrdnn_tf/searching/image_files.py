"""Reading and writing image files, with an error of one line when one cannot be used."""

import os
import pathlib

import cv2
import numpy as np
import tensorflow as tf

from lrdnn_base.errors import InputError
from lrdnn_base.files import replacing
from lrdnn_tf.data.decode import decode_image


def read_image(path: str | os.PathLike, height: int, width: int) -> np.ndarray:
    """An image file as a model sees it: float32 [height, width, 3], RGB, 0..255.

    Raises:
        InputError: TensorFlow cannot decode the file.
    """
    try:
        return decode_image(pathlib.Path(path).read_bytes(), height, width).numpy()
    except tf.errors.InvalidArgumentError:
        raise InputError(f"{path} is not an image that can be read: remove or repair it") from None


def write_image(path: str | os.PathLike, pixels: np.ndarray) -> None:
    """Writes uint8 [H, W, 3], BGR as in OpenCV, completely or not at all; the suffix of the path is the format.

    Raises:
        InputError: The file cannot be written; a previous file stays as it was.
    """
    with replacing(path) as temporary:
        if not cv2.imwrite(os.fspath(temporary), pixels):
            raise InputError(f"cannot write {path}: is the disk full?")
