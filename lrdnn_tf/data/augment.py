"""Training-time augmentation as plain functions of an image and of uniform random numbers drawn elsewhere.

Because nothing here draws, a batch depends on (seed, epoch, index) alone, and a resumed run sees the same pixels.
"""

import tensorflow as tf

from lrdnn_base.addons import addons

FLIP_AND_CROP_DRAWS = 3  # uniform numbers that each function uses up
ERASE_DRAWS = 5
DRAWS = FLIP_AND_CROP_DRAWS + ERASE_DRAWS

# Share of the image that is erased, and height / width of the patch: Zhong et al., "Random Erasing" (AAAI 2020).
_ERASED_AREA = (0.02, 0.4)
_ERASED_ASPECT = (0.3, 1 / 0.3)
_ERASED_VALUE = 114.0  # the mean of ImageNet's channels: what an erased pixel holds, 0..255


def flip_and_crop(pixels: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Mirrors the image half of the time, pads it with black and crops it back to its size at a random place.

    The padding is 10 pixels for an image 256 high and in proportion for others. The paper does not
    say how it augments; this is common practice for re-identification.

    Args:
        pixels: [height, width, channels], as decoded: before resizing there are fewer of them to move.
        draws: float32 [FLIP_AND_CROP_DRAWS], uniform in [0, 1).

    Returns:
        An image of the same shape and dtype.
    """
    size = tf.shape(pixels)
    padding = tf.cast(tf.round(10 / 256 * tf.cast(size[0], tf.float32)), tf.int32)
    pixels = tf.cond(draws[0] < 0.5, lambda: tf.reverse(pixels, [1]), lambda: pixels)
    shift = tf.cast(draws[1:3] * tf.cast(2 * padding + 1, tf.float32), tf.int32) - padding
    # Only what stays in sight is cut out, and then padded: the larger padded image is never made.
    before, after = (tf.concat([tf.maximum(side, 0), [0]], axis=0) for side in (-shift, shift))
    seen = tf.slice(pixels, after, size - before - after)
    return tf.ensure_shape(tf.pad(seen, tf.stack([before, after], axis=1)), pixels.shape)


def random_erase(images: tf.Tensor, draws: tf.Tensor, probability: float) -> tf.Tensor:
    """Paints a random rectangle of each image in one colour, through TensorFlow Addons.

    A rectangle that reaches over the edge is cut off there, so somewhat less than the drawn area may go.

    Args:
        images: float32 [batch_size, height, width, 3], 0..255, height and width static.
        draws: float32 [batch_size, ERASE_DRAWS], uniform in [0, 1).
        probability: Of erasing at all.
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
