"""The loss of one stream at one stage (LRDNN, equations 3 and 4)."""

import tensorflow as tf


def weighted_targets(maps: tf.Tensor, position_weights: tf.Tensor) -> tf.Tensor:
    """Appends W(p) [B, h, w, 1] to target maps [B, h, w, maps] as their last map, which is what map_loss takes."""
    return tf.concat([maps, position_weights], axis=-1)


def map_loss(targets: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    """Computes the squared error weighted by W(p), summed over maps and positions (equations 3 and 4).

    Keras averages it over the batch and sums it over both streams of all three stages.

    Args:
        targets: float32 [B, h, w, maps + 1], returned by weighted_targets.
        maps: float32 [B, h, w, maps], predicted by the network.

    Returns:
        float32 [B].
    """
    target_maps, position_weights = targets[..., :-1], targets[..., -1:]
    return tf.reduce_sum(position_weights * tf.square(maps - target_maps), axis=[1, 2, 3])
