"""The channel parse block (paper, section 3.4 and Fig. 5)."""

import tensorflow as tf
import tf_keras as keras


@keras.utils.register_keras_serializable("lrdnn_tf")
class ChannelParse(keras.layers.Layer):
    """Weights each channel of the pose maps by squeeze-and-excitation (Hu et al., CVPR 2018) with 1x1 convolutions.

    The paper gives no reduction ratio; 4 keeps 14 units for 57 channels, where SENet's 16 would keep 3.

    Args:
        reduction: Ratio of the number of channels to the number of units in the bottleneck.

    Input and output: float [B, h, w, C].
    """

    def __init__(self, reduction: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.reduction = reduction

    def build(self, input_shape):
        channels = input_shape[-1]
        units, policy = max(1, channels // self.reduction), self.dtype_policy
        self.squeeze = keras.layers.Conv2D(
            units, 1, activation="relu", kernel_initializer="he_normal", dtype=policy, name="squeeze"
        )
        self.excite = keras.layers.Conv2D(channels, 1, activation="sigmoid", dtype=policy, name="excite")
        self.squeeze.build([input_shape[0], 1, 1, channels])
        self.excite.build([input_shape[0], 1, 1, self.squeeze.filters])
        super().build(input_shape)

    def channel_weights(self, maps: tf.Tensor) -> tf.Tensor:
        """Computes the weight of each channel, 0..1: [B, 1, 1, C] for maps [B, h, w, C]."""
        return self.excite(self.squeeze(tf.reduce_mean(maps, axis=[1, 2], keepdims=True)))

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        return maps * self.channel_weights(maps)

    def get_config(self):
        return super().get_config() | {"reduction": self.reduction}
