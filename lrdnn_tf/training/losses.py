"""Losses for identity and attributes (paper, equation 8), and accuracy; both ignore unknown labels."""

import tensorflow as tf
import tf_keras as keras

from lrdnn_base.addons import addons
from lrdnn_tf.attributes import UNKNOWN


def known_cross_entropy(labels: tf.Tensor, logits: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """Computes the softmax cross-entropy of each example, 0 where the label is unknown (-1).

    The mean over the batch includes examples of unknown label, so that it does not depend on how a batch is split over
    devices.

    Args:
        labels: int [B] or [B, 1].
        logits: float [B, classes].
        smoothing: Share of the label that is distributed evenly over all classes (label smoothing, Szegedy et al.,
            CVPR 2016, section 7).

    Returns:
        float32 [B].
    """
    labels = tf.reshape(labels, [-1])
    known = tf.not_equal(labels, UNKNOWN)
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.where(known, labels, 0), logits)
    if smoothing:
        even = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
        losses = (1 - smoothing) * losses + smoothing * even
    return tf.where(known, losses, 0.0)


def triplet_loss(identities: tf.Tensor, embeddings: tf.Tensor, margin: float) -> tf.Tensor:
    """Computes the batch-hard triplet loss (Hermans et al., 2017) of L2-normalized descriptors with TensorFlow Addons.

    Each of several devices selects triplets from its own part of the batch.

    Args:
        identities: int [B] or [B, 1], labels.
        embeddings: float [B, D].
        margin: The required difference of the distances to the nearest negative and to the farthest positive.

    Returns:
        float32 scalar, the mean over the batch.

    Raises:
        InputError: TensorFlow Addons is not installed.
    """
    unit = tf.math.l2_normalize(tf.cast(embeddings, tf.float32), axis=-1)
    return addons("--triplet_weight").losses.triplet_hard_loss(tf.reshape(identities, [-1]), unit, margin)


@keras.utils.register_keras_serializable("lrdnn_tf")
class KnownAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Accuracy over the examples whose label is known."""

    def update_state(self, labels, logits, sample_weight=None):
        labels = tf.reshape(labels, [-1])
        known = tf.cast(tf.not_equal(labels, UNKNOWN), tf.float32)
        return super().update_state(tf.maximum(labels, 0), logits, known)


def loss_weights(tasks: list[str], attribute_weight: float, identity: str) -> dict[str, float]:
    """Returns the weight of each task's loss: 1 for identity, and equal shares of attribute_weight for the others."""
    attributes = [task for task in tasks if task != identity]
    return {identity: 1.0} | {task: attribute_weight / len(attributes) for task in attributes}
