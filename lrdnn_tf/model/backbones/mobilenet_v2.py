"""MobileNetV2 (Sandler et al., CVPR 2018): a light network with ImageNet weights, 2.2 million parameters."""

import tensorflow as tf
import tf_keras as keras

from lrdnn_tf.model.backbones import with_changed_layers

APPLICATION = keras.applications.MobileNetV2
# Keras pads a strided layer on one side, in a layer of its own; at stride 1 the padding is on both sides.
_STRIDE_1 = {"block_13_depthwise": {"strides": (1, 1)}, "block_13_pad": {"padding": ((1, 1), (1, 1))}}

# Of BatchNorm's averages. Keras has 0.999: after 2,000 steps an average would still be that of half the training.
_MOMENTUM = 0.9


def feature_maps(images: tf.Tensor, last_stride: int) -> tf.Tensor:
    """Returns F: [B, H/32, W/32, 1280]; last_stride 1 doubles height and width."""
    pixels = keras.layers.Rescaling(1 / 127.5, offset=-1, name="preprocessing", dtype="float32")(images)
    network = APPLICATION(include_top=False, weights=None, input_tensor=pixels)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    return (network if last_stride == 2 else with_changed_layers(network, images, _STRIDE_1)).output
