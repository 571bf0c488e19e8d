"""Equations 3 and 4: what the maps of one stream at one stage cost."""

import tensorflow as tf


def weighted_targets(maps: tf.Tensor, position_weights: tf.Tensor) -> tf.Tensor:
    """Target maps with W(p) as one more map at the end: the form in which map_loss takes them."""
    return tf.concat([maps, position_weights], axis=-1)


def map_loss(targets: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    """Squared error weighted by W(p), summed over maps and positions (equations 3 and 4).

    Keras averages it over the batch, and adds it up over both streams of all three stages.

    Args:
        targets: float32 [B, h, w, maps + 1], of weighted_targets.
        maps: float32 [B, h, w, maps], what the network says.

    Returns:
        float32 [B].
    """
    wanted, position_weights = targets[..., :-1], targets[..., -1:]
    return tf.reduce_sum(position_weights * tf.square(maps - wanted), axis=[1, 2, 3])
