"""The channel parse block (paper, section 3.4 and Fig. 5)."""

import tensorflow as tf
import tf_keras as keras

from lrdnn_tf.config import CHANNEL_PARSE_SQUEEZES, ModelConfig

CHANNEL_WEIGHTS = "channel_weights"  # name of the layer that computes the weights
# Keeps the gradient of the root mean square finite where a map is 0 everywhere.
_SMALL = 1e-12


def channel_parse(maps: tf.Tensor, config: ModelConfig) -> tf.Tensor:
    """Weights each channel of the pose maps by squeeze-and-excitation (Hu et al., CVPR 2018) with 1x1 convolutions.

    Each map is squeezed to one number. A BatchNorm without parameters brings these numbers to one scale
    (`channel_parse_normalize`): without it, they differ too little between images to give them different weights.

    Args:
        maps: Keras tensor, float32 [B, h, w, C].
        config: Its fields channel_parse_squeeze, channel_parse_normalize and channel_parse_reduction.

    Returns:
        Keras tensor, float32 [B, h, w, C]. The layer `CHANNEL_WEIGHTS` computes the weights, [B, 1, 1, C], 0..1.
    """
    channels = maps.shape[-1]
    squeezed = Squeeze(config.channel_parse_squeeze, name="channel_squeeze", dtype="float32")(maps)
    if config.channel_parse_normalize:
        squeezed = keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, center=False, scale=False, dtype="float32", name="channel_norm"
        )(squeezed)
    units = max(1, channels // config.channel_parse_reduction)
    hidden = keras.layers.Conv2D(
        units, 1, activation="relu", kernel_initializer="he_normal", dtype="float32", name="channel_reduce"
    )(squeezed)
    weights = keras.layers.Conv2D(channels, 1, activation="sigmoid", dtype="float32", name=CHANNEL_WEIGHTS)(hidden)
    return keras.layers.Multiply(name="channel_parse", dtype="float32")([maps, weights])


@keras.utils.register_keras_serializable("lrdnn_tf")
class Squeeze(keras.layers.Layer):
    """Reduces each map to one number: its mean, maximum or root mean square over all positions.

    Args:
        statistic: One of `lrdnn_tf.config.CHANNEL_PARSE_SQUEEZES`.

    Input: float [B, h, w, C]. Output: float [B, 1, 1, C].

    Raises:
        ValueError: The statistic does not exist.
    """

    def __init__(self, statistic: str, **kwargs):
        super().__init__(**kwargs)
        if statistic not in CHANNEL_PARSE_SQUEEZES:
            raise ValueError(f"statistic={statistic!r} is not one of {', '.join(CHANNEL_PARSE_SQUEEZES)}")
        self.statistic = statistic

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        if self.statistic == "max":
            return tf.reduce_max(maps, axis=[1, 2], keepdims=True)
        if self.statistic == "rms":
            return tf.sqrt(tf.reduce_mean(tf.square(maps), axis=[1, 2], keepdims=True) + _SMALL)
        return tf.reduce_mean(maps, axis=[1, 2], keepdims=True)

    def get_config(self):
        return super().get_config() | {"statistic": self.statistic}
