"""ResNet-50 (He et al., CVPR 2016), the paper's backbone."""

import tensorflow as tf
import tf_keras as keras

from lrdnn_base.imagenet import CaffePreprocessing
from lrdnn_tf.model.backbones import with_changed_layers

APPLICATION = keras.applications.ResNet50
_LAST_STRIDE = ("conv5_block1_0_conv", "conv5_block1_1_conv")  # Keras' names of the layers with this stride


def feature_maps(images: tf.Tensor, last_stride: int) -> tf.Tensor:
    """Returns F: [B, H/32, W/32, 2048]; last_stride 1 (Luo et al., "Bag of Tricks", 2019) doubles height and width."""
    pixels = CaffePreprocessing(name="preprocessing")(images)
    network = APPLICATION(include_top=False, weights=None, input_tensor=pixels)
    if last_stride == 1:
        network = with_changed_layers(network, images, {name: {"strides": (1, 1)} for name in _LAST_STRIDE})
    return network.output
