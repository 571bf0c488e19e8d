"""One module per backbone, named as in `lrdnn_tf.config.BACKBONES`. Each defines:

feature_maps(images, last_stride)   function from a Keras tensor of RGB images [B, H, W, 3], 0..255, to the maps F
APPLICATION                         function of tf_keras.applications with ImageNet weights for its layers, or None
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras


def with_changed_layers(
    network: keras.Model, images: tf.Tensor, changes: Mapping[str, Mapping[str, Any]]
) -> keras.Model:
    """Rebuilds a network on its input, with other arguments for some layers: {layer name: {argument: value}}."""

    def rebuilt(layer: keras.layers.Layer) -> keras.layers.Layer:
        return layer.__class__.from_config(layer.get_config() | changes.get(layer.name, {}))

    return keras.models.clone_model(network, input_tensors=images, clone_function=rebuilt)
