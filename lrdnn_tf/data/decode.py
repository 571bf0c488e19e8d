"""From the bytes of an image file to network input, for training, evaluation, serving and search alike."""

import os
import pathlib

import numpy as np
import tensorflow as tf

from lrdnn_base.errors import InputError

# Largest image that a server accepts: 48 MB decoded, 200 MB while it is resized. A crop has far fewer pixels.
MAX_PIXELS = 1 << 24
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"


def decode_image(image_bytes: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Decodes a JPEG, PNG, BMP or GIF (its first frame) and resizes it.

    Args:
        image_bytes: string scalar, the content of an image file.
        height, width: size of the result in pixels.

    Returns:
        float32 [height, width, 3], RGB, 0..255; see `resize_image`.
    """
    return resize_image(decode_pixels(image_bytes), height, width)


def read_image(path: str | os.PathLike, height: int, width: int) -> np.ndarray:
    """An image file as a model sees it: float32 [height, width, 3], RGB, 0..255.

    Raises:
        InputError: TensorFlow cannot decode the file.
    """
    try:
        return decode_image(pathlib.Path(path).read_bytes(), height, width).numpy()
    except tf.errors.InvalidArgumentError:
        raise InputError(f"{path} is not an image that can be read: remove or repair it") from None


def decode_pixels(image_bytes: tf.Tensor) -> tf.Tensor:
    """Decodes an image file without resizing it: uint8 [h, w, 3], RGB."""
    return tf.ensure_shape(tf.io.decode_image(image_bytes, channels=3, expand_animations=False), (None, None, 3))


def require_jpeg_or_png(image_bytes: tf.Tensor) -> tf.Tensor:
    """Refuses a file that is not a JPEG or PNG, or is too large to decode safely, by its header alone.

    A file of a few kilobytes can decode to gigabytes. TensorFlow decodes other formats too; they are refused because
    their headers are not checked here.

    Args:
        image_bytes: string scalar, the content of an image file.

    Returns:
        image_bytes, unchanged.

    Raises:
        tf.errors.InvalidArgumentError: The file is neither, or has more than MAX_PIXELS pixels. Raised in a graph too.
    """
    height, width = tf.unstack(_header_size(image_bytes))
    known = tf.debugging.Assert(height * width > 0, ["not a JPEG or PNG image"])
    size = tf.strings.join([tf.strings.as_string(height), "x", tf.strings.as_string(width)])
    small = tf.debugging.Assert(height * width <= MAX_PIXELS, [size, f"pixels, more than the {MAX_PIXELS} accepted"])
    with tf.control_dependencies([known, small] if not tf.executing_eagerly() else []):
        return tf.identity(image_bytes)


def _header_size(image_bytes: tf.Tensor) -> tf.Tensor:
    """Height and width that the header of a JPEG or PNG states, int64 [2]; zeros when it is neither."""
    is_jpeg = tf.strings.substr(image_bytes, 0, len(_JPEG)) == _JPEG
    is_png = tf.strings.substr(image_bytes, 0, len(_PNG)) == _PNG
    has_header = tf.strings.length(image_bytes) >= 24  # a PNG's width and height are bytes 16 to 24
    return tf.case(
        [
            (is_jpeg, lambda: tf.cast(tf.image.extract_jpeg_shape(image_bytes)[:2], tf.int64)),
            (is_png & has_header, lambda: tf.cast(_png_size(image_bytes), tf.int64)),
        ],
        default=lambda: tf.zeros([2], tf.int64),
    )


def _png_size(image_bytes: tf.Tensor) -> tf.Tensor:
    width_height = tf.io.decode_raw(tf.strings.substr(image_bytes, 16, 8), tf.int32, little_endian=False)
    return tf.ensure_shape(width_height, [2])[::-1]


def resize_image(pixels: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resizes bilinearly with antialiasing.

    Args:
        pixels: uint8 [..., h, w, 3]: an image, or a batch of images.
        height, width: Size of the result in pixels.

    Returns:
        float32 [..., height, width, 3], 0..255.
    """
    size = (height, width)
    # Antialiasing has no effect when both sides grow (from the usual crop, 128x64), and TensorFlow's kernel without it
    # gives the same numbers three times faster.
    pixels = tf.cast(pixels, tf.float32)  # that kernel is 1.5 times as fast as for uint8
    resized = tf.cond(
        tf.reduce_all(tf.shape(pixels)[-3:-1] <= size),
        lambda: tf.image.resize(pixels, size, method="bilinear"),
        lambda: tf.image.resize(pixels, size, method="bilinear", antialias=True),
    )
    return tf.ensure_shape(resized, (*pixels.shape[:-3], height, width, 3))
