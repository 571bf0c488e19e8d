"""Training targets from keypoints: confidence maps, affinity maps and W(p) (Cao et al., CVPR 2017, section 2).

Coordinates are pixels, with the centre of the first pixel at 0. Cell (i, j) of a map covers 8x8 pixels, and its centre
is at x = 8j + 3.5, y = 8i + 3.5. Only labelled keypoints (v > 0) contribute.
"""

import tensorflow as tf

from pose_pretrain.network import STRIDE
from pose_pretrain.skeleton import LIMBS

_STARTS, _ENDS = zip(*LIMBS, strict=True)


def confidence_maps(keypoints: tf.Tensor, height: int, width: int, sigma: float) -> tf.Tensor:
    """Draws Gaussians at keypoints and takes their maximum over people. The background is 1 - maximum over parts.

    Args:
        keypoints: float32 [B, people, 18, 3], columns x, y, v; rows of zeros pad images with fewer people.
        height, width: Size of the maps in cells.
        sigma: Sigma of the Gaussians exp(-distance^2 / (2 sigma^2)), in pixels.

    Returns:
        float32 [B, height, width, 19].
    """
    x, y, labelled = _split(keypoints)
    near_x = tf.exp(-(((_centres(width) - x[..., tf.newaxis]) / sigma) ** 2) / 2)  # [B, people, 18, width]
    near_y = tf.exp(-(((_centres(height) - y[..., tf.newaxis]) / sigma) ** 2) / 2)
    near_y *= tf.cast(labelled, tf.float32)[..., tf.newaxis]
    near_x, near_y = (tf.transpose(near, [0, 1, 3, 2]) for near in (near_x, near_y))
    each = near_y[:, :, :, tf.newaxis] * near_x[:, :, tf.newaxis]  # [B, people, height, width, 18]
    parts = tf.maximum(tf.reduce_max(each, axis=1), 0.0)  # without people, the maximum is minus infinity
    return tf.concat([parts, 1.0 - tf.reduce_max(parts, axis=-1, keepdims=True)], axis=-1)


def affinity_maps(keypoints: tf.Tensor, height: int, width: int, limb_width: float) -> tf.Tensor:
    """Draws the unit vector along each limb on the limb, averaged over the people whose limbs overlap there.

    A cell is on a limb if its centre is between the limb's ends and at most limb_width away from its line.

    Args:
        keypoints, height, width: As in confidence_maps.
        limb_width: Half the width of a limb, in cells.

    Returns:
        float32 [B, height, width, 38]: limb i has x in map 2i, y in map 2i + 1.
    """
    x, y, labelled = _split(keypoints)
    start_x, start_y = (tf.gather(c, _STARTS, axis=2)[:, :, tf.newaxis, tf.newaxis] for c in (x, y))
    end_x, end_y = (tf.gather(c, _ENDS, axis=2)[:, :, tf.newaxis, tf.newaxis] for c in (x, y))
    exists = tf.gather(labelled, _STARTS, axis=2) & tf.gather(labelled, _ENDS, axis=2)
    length = tf.sqrt((end_x - start_x) ** 2 + (end_y - start_y) ** 2)
    unit_x = tf.math.divide_no_nan(end_x - start_x, length)  # (0, 0) for a limb of length 0
    unit_y = tf.math.divide_no_nan(end_y - start_y, length)

    from_start_x = _centres(width)[:, tf.newaxis] - start_x  # [B, people, 1, width, 19]
    from_start_y = _centres(height)[:, tf.newaxis, tf.newaxis] - start_y  # [B, people, height, 1, 19]
    along = from_start_x * unit_x + from_start_y * unit_y
    across = tf.abs(from_start_x * unit_y - from_start_y * unit_x)
    on_limb = (along >= 0) & (along <= length) & (across <= limb_width * STRIDE)
    on_limb = tf.cast(on_limb & exists[:, :, tf.newaxis, tf.newaxis] & (length > 0), tf.float32)

    people = tf.reduce_sum(on_limb, axis=1)
    mean_x, mean_y = (tf.math.divide_no_nan(tf.reduce_sum(on_limb * unit, axis=1), people) for unit in (unit_x, unit_y))
    vectors = tf.stack([mean_x, mean_y], axis=-1)
    return tf.reshape(vectors, [-1, height, width, 2 * len(LIMBS)])


def position_weights(ignored: tf.Tensor) -> tf.Tensor:
    """Computes W(p) of equations 3 and 4: 0 where people without keypoint labels cover at least half a cell, else 1.

    Args:
        ignored: float32 [B, 8 height, 8 width, 1], 1 on pixels of such people.

    Returns:
        float32 [B, height, width, 1].
    """
    return tf.cast(tf.nn.avg_pool2d(ignored, STRIDE, STRIDE, "VALID") < 0.5, tf.float32)


def _split(keypoints: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns x, y (0 where unlabelled, even if NaN is stored) and whether labelled, each [B, people, 18]."""
    labelled = keypoints[..., 2] > 0
    x, y = (tf.where(labelled, keypoints[..., axis], 0.0) for axis in (0, 1))
    return x, y, labelled


def _centres(cells: int) -> tf.Tensor:
    return STRIDE * tf.range(cells, dtype=tf.float32) + (STRIDE - 1) / 2
