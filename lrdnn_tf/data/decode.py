"""Bytes to network input. Training, evaluation, serving and search all come through here: their numbers agree."""

import tensorflow as tf


def decode_image(image_bytes: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Decodes a JPEG, PNG, BMP or GIF (its first frame) and resizes it.

    Args:
        image_bytes: string scalar, the content of an image file.
        height, width: size of the result in pixels.

    Returns:
        float32 [height, width, 3], RGB, 0..255; see `resize_image`.
    """
    return resize_image(decode_pixels(image_bytes), height, width)


def decode_pixels(image_bytes: tf.Tensor) -> tf.Tensor:
    """The pixels of an image file as they are: uint8 [h, w, 3], RGB."""
    return tf.ensure_shape(tf.io.decode_image(image_bytes, channels=3, expand_animations=False), (None, None, 3))


def resize_image(pixels: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resizes bilinearly with antialiasing.

    Args:
        pixels: uint8 [..., h, w, 3]: an image, or a batch of them.
        height, width: Size of the result in pixels.

    Returns:
        float32 [..., height, width, 3], 0..255.
    """
    size = (height, width)
    # Antialiasing changes nothing when both sides grow (the usual crop, 128x64), and TensorFlow's plain
    # bilinear kernel gives the same numbers three times faster.
    pixels = tf.cast(pixels, tf.float32)  # for which that kernel is half again as fast as for uint8
    resized = tf.cond(
        tf.reduce_all(tf.shape(pixels)[-3:-1] <= size),
        lambda: tf.image.resize(pixels, size, method="bilinear"),
        lambda: tf.image.resize(pixels, size, method="bilinear", antialias=True),
    )
    return tf.ensure_shape(resized, (*pixels.shape[:-3], height, width, 3))
