"""Affine warps: one per example, applied to its image, its ignore mask and its keypoints.

A warp is a float32 [3, 3] matrix that maps pixel coordinates of the original image to those of the crop. In both, the
centre of the first pixel is at (0, 0).
"""

import tensorflow as tf

from pose_pretrain.skeleton import FLIP

# The share of the crop's height or width (whichever it fills first) that the person's box takes.
TRAINING_SHARES = (0.5, 1.1)
EVALUATION_SHARE = 0.9  # among the best of 0.7 to 1.0 on people of training images: experiments/notes/pose.md
MAX_SHIFT = 40 / 368  # as a share of the crop's size, as in OpenPose

_BORDER = 128.0  # gray value of pixels outside the image


def random_warp(
    seed: tf.Tensor, boxes: tf.Tensor, image_size: tf.Tensor, height: int, width: int, rotation: float = 40.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws a random scale, rotation, shift and mirroring around one person of the image, chosen at random.

    Args:
        seed: int [2]; the same seed gives the same warp.
        boxes: float32 [people, 4], x, y, width, height in pixels. Without people, the box is the whole image.
        image_size: int [2], height and width of the image in pixels.
        height, width: Size of the crop in pixels.
        rotation: Largest rotation in either direction, in degrees; OpenPose uses 40.

    Returns:
        The warp, float32 [3, 3], and whether it mirrors, bool scalar.
    """
    share, angle, shift_x, shift_y, coin, pick = tf.unstack(tf.random.stateless_uniform([6], seed))
    people = tf.maximum(tf.shape(boxes)[0], 1)
    person = tf.minimum(tf.cast(pick * tf.cast(people, tf.float32), tf.int32), people - 1)
    boxes = tf.concat([boxes, [[0.0, 0.0, 0.0, 0.0]]], axis=0)  # for an image without people
    low, high = TRAINING_SHARES
    mirrored = coin < 0.5
    warp = person_warp(
        boxes[person],
        image_size,
        height,
        width,
        share=low + (high - low) * share,
        angle=rotation * (2 * angle - 1),
        shift=MAX_SHIFT * (2 * tf.stack([shift_x, shift_y]) - 1),
        mirrored=mirrored,
    )
    return warp, mirrored


def person_warp(
    box: tf.Tensor,
    image_size: tf.Tensor,
    height: int,
    width: int,
    share: float | tf.Tensor = EVALUATION_SHARE,
    angle: float | tf.Tensor = 0.0,
    shift: tf.Tensor | tuple[float, float] = (0.0, 0.0),
    mirrored: bool | tf.Tensor = False,
) -> tf.Tensor:
    """Computes the warp, float32 [3, 3], that centres a box in the crop.

    Args:
        box: float32 [4], x, y, width, height in pixels; `usable_box` replaces one that cannot be used.
        image_size: int [2], height and width of the image in pixels.
        height, width: Size of the crop in pixels.
        share: Share of the crop's height or width, whichever the box fills first, that the box takes.
        angle: Clockwise rotation in degrees.
        shift: Shift in x and y as shares of the crop's width and height.
        mirrored: Whether left and right are swapped.
    """
    box = usable_box(box, image_size)
    size = tf.constant([width, height], tf.float32)
    scale = share * tf.reduce_min(size / box[2:])
    radians = angle * 3.141592653589793 / 180
    cos, sin = scale * tf.cos(radians), scale * tf.sin(radians)
    side = tf.where(mirrored, -1.0, 1.0)
    linear = tf.stack([tf.stack([side * cos, -sin]), tf.stack([side * sin, cos])])
    target = (size - 1) / 2 + tf.convert_to_tensor(shift) * size
    offset = target - tf.linalg.matvec(linear, box[:2] + (box[2:] - 1) / 2)
    return tf.concat([tf.concat([linear, offset[:, tf.newaxis]], axis=1), [[0.0, 0.0, 1.0]]], axis=0)


def usable_box(box: tf.Tensor, image_size: tf.Tensor) -> tf.Tensor:
    """Returns the box, float32 [4], or that of the whole image if it has no area or is not finite."""
    height, width = tf.unstack(tf.cast(image_size, tf.float32))
    usable = tf.reduce_all(tf.math.is_finite(box)) & (box[2] > 0) & (box[3] > 0)
    return tf.where(usable, box, tf.stack([0.0, 0.0, width, height]))


def warp_image(image: tf.Tensor, ignored: tf.Tensor, warp: tf.Tensor, height: int, width: int):
    """Crops an image and its ignore mask by a warp. Pixels outside the image are gray and not ignored.

    Args:
        image: float32 [h, w, 3], 0..255.
        ignored: float32 [h, w, 1], 0 or 1.
        warp: float32 [3, 3].
        height, width: Size of the crop in pixels.

    Returns:
        The crop, float32 [height, width, 3], and its mask, float32 [height, width, 1].
    """
    # One tensor, so that image and mask are resampled alike, with an offset that makes the border 0 for both.
    pixels = tf.concat([image - _BORDER, ignored], axis=-1)
    pixels, shrink = _shrink(pixels, tf.sqrt(tf.abs(tf.linalg.det(warp[:2, :2]))))
    to_source = shrink @ tf.linalg.inv(warp)  # the op maps output pixels to input pixels
    crop = tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels[tf.newaxis],
        transforms=tf.reshape(to_source, [1, 9])[:, :8],
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )[0]
    crop.set_shape([height, width, 4])
    return crop[..., :3] + _BORDER, crop[..., 3:]


def warp_keypoints(keypoints: tf.Tensor, warp: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
    """Maps keypoints [people, 18, 3] by a warp; a mirrored right elbow becomes a left elbow."""
    x, y, v = tf.unstack(keypoints, axis=-1)
    moved = tf.stack(
        [
            warp[0, 0] * x + warp[0, 1] * y + warp[0, 2],
            warp[1, 0] * x + warp[1, 1] * y + warp[1, 2],
            v,
        ],
        axis=-1,
    )
    return tf.where(mirrored, tf.gather(moved, FLIP, axis=1), moved)


def _shrink(pixels: tf.Tensor, scale: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Downscales an image with antialiasing if the warp reduces it: bilinear sampling alone skips pixels.

    Returns:
        The image, and the float32 [3, 3] matrix from its previous pixel coordinates to its new ones.
    """
    size = tf.shape(pixels)[:2]
    target = tf.cast(tf.math.ceil(tf.cast(size, tf.float32) * scale), tf.int32)
    smaller = tf.clip_by_value(target, 1, size)
    shrunk = tf.cond(
        scale < 1,
        lambda: tf.image.resize(pixels, smaller, antialias=True),
        lambda: pixels,
    )
    ratio_y, ratio_x = tf.unstack(tf.cast(tf.shape(shrunk)[:2], tf.float32) / tf.cast(size, tf.float32))
    # Resizing maps the image's corners onto each other, not the centres of the corner pixels: hence the offsets.
    matrix = [[ratio_x, 0.0, (ratio_x - 1) / 2], [0.0, ratio_y, (ratio_y - 1) / 2], [0.0, 0.0, 1.0]]
    return shrunk, tf.convert_to_tensor(matrix)
