"""Training-time augmentation as plain functions of an image and of uniform random numbers, which are arguments.

No function draws random numbers itself, so that a batch depends on (seed, epoch, index) alone and a resumed run sees
the same pixels.
"""

import tensorflow as tf

from lrdnn_base.addons import addons

FLIP_AND_CROP_DRAWS = 3  # uniform numbers per image that flip_and_crop takes
ERASE_DRAWS = 5  # that random_erase takes
DRAWS = FLIP_AND_CROP_DRAWS + ERASE_DRAWS

# Share of the image that is erased, and height / width of the rectangle: Zhong et al., "Random Erasing" (AAAI 2020).
_ERASED_AREA = (0.02, 0.4)
_ERASED_ASPECT = (0.3, 1 / 0.3)
_ERASED_VALUE = 114.0  # value of an erased pixel, 0..255: the mean over ImageNet's channels


def flip_and_crop(pixels: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Mirrors the image half of the time, pads it with black and crops it back to its size at a random position.

    The padding is 10 pixels for an image that is 256 pixels high, and proportional to the height. The paper does not
    describe its augmentation; this is common practice in re-identification.

    Args:
        pixels: [height, width, channels], as decoded: there are fewer pixels to move than after resizing.
        draws: float32 [FLIP_AND_CROP_DRAWS], uniform in [0, 1).

    Returns:
        An image of the same shape and dtype.
    """
    size = tf.shape(pixels)
    padding = tf.cast(tf.round(10 / 256 * tf.cast(size[0], tf.float32)), tf.int32)
    pixels = tf.cond(draws[0] < 0.5, lambda: tf.reverse(pixels, [1]), lambda: pixels)
    shift = tf.cast(draws[1:3] * tf.cast(2 * padding + 1, tf.float32), tf.int32) - padding
    # Only the visible part is cut out and then padded, so that the larger padded image is never created.
    before, after = (tf.concat([tf.maximum(side, 0), [0]], axis=0) for side in (-shift, shift))
    visible = tf.slice(pixels, after, size - before - after)
    return tf.ensure_shape(tf.pad(visible, tf.stack([before, after], axis=1)), pixels.shape)


def random_erase(images: tf.Tensor, draws: tf.Tensor, probability: float) -> tf.Tensor:
    """Random erasing (Zhong et al., AAAI 2020): fills a random rectangle of each image with one colour.

    Uses TensorFlow Addons. A rectangle that crosses the border is cut off there, so less than the drawn area may be
    erased.

    Args:
        images: float32 [batch_size, height, width, 3], 0..255, height and width static.
        draws: float32 [batch_size, ERASE_DRAWS], uniform in [0, 1).
        probability: Probability that a rectangle of an image is erased.
    """
    return tf.map_fn(
        lambda each: _random_erase_one(*each, probability), (images, draws), fn_output_signature=images.dtype
    )


def _random_erase_one(image: tf.Tensor, draws: tf.Tensor, probability: float) -> tf.Tensor:
    height, width, _ = image.shape
    area = height * width * (_ERASED_AREA[0] + draws[1] * (_ERASED_AREA[1] - _ERASED_AREA[0]))
    low, high = (tf.math.log(ratio) for ratio in _ERASED_ASPECT)
    aspect = tf.exp(low + draws[2] * (high - low))
    sides = tf.sqrt(tf.stack([area * aspect, area / aspect]))
    even_sides = 2 * tf.cast(tf.round(sides / 2), tf.int32)
    centre = tf.cast(draws[3:5] * tf.constant([height, width], tf.float32), tf.int32)

    def erased() -> tf.Tensor:
        return addons("--random_erasing").image.cutout(
            image[tf.newaxis], even_sides, centre[tf.newaxis], _ERASED_VALUE
        )[0]

    return tf.cond(draws[0] < probability, erased, lambda: image)
