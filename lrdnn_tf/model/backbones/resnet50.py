"""ResNet-50 (He et al., CVPR 2016), the paper's backbone."""

import tensorflow as tf
import tf_keras as keras

from lrdnn_base.imagenet import CaffePreprocessing

APPLICATION = keras.applications.ResNet50
_LAST_STRIDE = ("conv5_block1_0_conv", "conv5_block1_1_conv")  # Keras' names of the layers with this stride


def feature_maps(images: tf.Tensor, last_stride: int) -> tf.Tensor:
    """Returns F: [B, H/32, W/32, 2048]; last_stride 1 (Luo et al., "Bag of Tricks", 2019) doubles height and width."""
    pixels = CaffePreprocessing(name="preprocessing")(images)
    network = APPLICATION(include_top=False, weights=None, input_tensor=pixels)
    return (network if last_stride == 2 else _without_last_stride(network, images)).output


def _without_last_stride(resnet50: keras.Model, images: tf.Tensor) -> keras.Model:
    """Rebuilds the network on the same input, with its fifth stage at stride 1."""

    def rebuilt(layer: keras.layers.Layer) -> keras.layers.Layer:
        changed = {"strides": (1, 1)} if layer.name in _LAST_STRIDE else {}
        return layer.__class__.from_config(layer.get_config() | changed)

    return keras.models.clone_model(resnet50, input_tensors=images, clone_function=rebuilt)
