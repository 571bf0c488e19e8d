"""The main branch M (paper, equation 1), which maps an image to its feature maps F."""

import importlib
from types import ModuleType

import tensorflow as tf
import tf_keras as keras

from lrdnn_base.imagenet import load_application_weights


def main_branch(images: tf.Tensor, backbone: str, last_stride: int = 2) -> tf.Tensor:
    """Computes feature maps F = M(I).

    Args:
        images: Keras tensor [B, H, W, 3], RGB 0..255.
        backbone: One of `lrdnn_tf.config.BACKBONES`.
        last_stride: Stride of the last downsampling stage; 1 doubles the height and width of F.

    Returns:
        Keras tensor [B, h, w, C]; the module of the backbone documents its size.
    """
    return _backbone(backbone).feature_maps(images, last_stride)


def takes_imagenet_weights(backbone: str) -> bool:
    """Returns whether ImageNet weights exist for a backbone."""
    return _backbone(backbone).APPLICATION is not None


def load_imagenet_weights(model: keras.Model, backbone: str, weights: str) -> None:
    """Initializes a model's backbone with its ImageNet weights, if they exist.

    Args:
        model: Model returned by `lrdnn_tf.model.lrdnn.build_model`.
        backbone: The backbone of the model.
        weights: "imagenet" (Keras downloads and caches them), "none", or the path of a Keras weights file.

    Raises:
        InputError: The weights cannot be downloaded or read, or do not fit.
    """
    if takes_imagenet_weights(backbone):
        load_application_weights(model, _backbone(backbone).APPLICATION, weights)


def _backbone(name: str) -> ModuleType:
    return importlib.import_module(f"lrdnn_tf.model.backbones.{name}")
