"""Training-time augmentation as plain functions of an image and of uniform random numbers drawn elsewhere.

Because nothing here draws, a batch depends on (seed, epoch, index) alone, and a resumed run sees the same pixels.
"""

import tensorflow as tf

DRAWS = 3  # uniform numbers that flip_and_crop uses up: flip, crop row, crop column


def flip_and_crop(image: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Mirrors the image half of the time, pads it with black and crops it back to its size at a random place.

    The padding is 10 pixels for an image 256 high and in proportion for others. The paper does not
    say how it augments; this is common practice for re-identification.

    Args:
        image: [height, width, channels], of static shape.
        draws: float32 [DRAWS], uniform in [0, 1).

    Returns:
        An image of the same shape and dtype.
    """
    height, width, channels = image.shape
    padding = round(10 * height / 256)
    image = tf.cond(draws[0] < 0.5, lambda: tf.reverse(image, [1]), lambda: image)
    image = tf.pad(image, [[padding, padding], [padding, padding], [0, 0]])
    corner = tf.cast(draws[1:3] * (2 * padding + 1), tf.int32)
    return tf.slice(image, tf.concat([corner, [0]], axis=0), [height, width, channels])
