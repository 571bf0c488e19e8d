"""ImageNet weights for the parts of a network that are named as in tf_keras.applications."""

import os
from collections.abc import Callable

import h5py
import tensorflow as tf
import tf_keras as keras

from lrdnn_base.errors import InputError


@keras.utils.register_keras_serializable("lrdnn_base")
class CaffePreprocessing(keras.layers.Layer):
    """RGB 0..255 to the input that Keras' VGG-19 and ResNet-50 weights expect: BGR minus ImageNet's mean."""

    def __init__(self, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return tf.reverse(images, [-1]) - tf.constant([103.939, 116.779, 123.68])


def load_application_weights(model: keras.Model, application: Callable[..., keras.Model], weights: str) -> None:
    """Copies the weights of every layer that model shares, by name, with a network of tf_keras.applications.

    Args:
        model: The network to fill.
        application: For example tf_keras.applications.VGG19.
        weights: "imagenet" (Keras fetches its own file, or takes it from its cache), "none" (does nothing),
            or the path of such a file, with or without top.

    Raises:
        InputError: The file cannot be fetched or read, or does not fit the network.
    """
    if weights == "none":
        return
    source = _fetched(application) if weights == "imagenet" else _from_file(application, weights)
    filled = {layer.name: layer for layer in source.layers if layer.weights}
    shared = [layer for layer in model.layers if layer.name in filled]
    try:
        for layer in shared:
            layer.set_weights(filled[layer.name].get_weights())
    except ValueError:
        raise InputError(
            f"ImageNet weights of {application.__name__} do not fit layer {layer.name}: "
            "use the full-width network or --imagenet_weights=none"
        ) from None
    if not shared:
        raise InputError(
            f"no layer of this network takes ImageNet weights of {application.__name__}: use --imagenet_weights=none"
        )


def _fetched(application: Callable[..., keras.Model]) -> keras.Model:
    try:
        return application(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises a bare Exception when a download fails
        reason = str(error).split("\n")[0]
        raise InputError(
            f"ImageNet weights of {application.__name__} cannot be fetched ({reason}): "
            "give their file with --imagenet_weights=PATH, or train from scratch with --imagenet_weights=none"
        ) from error


def _from_file(application: Callable[..., keras.Model], path: str) -> keras.Model:
    if not os.path.isfile(path):
        raise InputError(
            f"no file {path}: --imagenet_weights takes imagenet, none, or the path of a weights file of Keras"
        )
    network = application(include_top=False, weights=None)
    try:
        with h5py.File(path, "r") as file:
            stored = set(file.get("model_weights", file))
        missing = [layer.name for layer in network.layers if layer.weights and layer.name not in stored]
        if missing:
            raise InputError(f"{path} does not hold weights of {application.__name__}: layer {missing[0]} is missing")
        network.load_weights(path, by_name=True)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} does not hold weights of {application.__name__} as Keras writes them: {error}"
        ) from None
    return network
