"""The main branch M (paper, equation 1): an image to its feature maps F."""

import tensorflow as tf
import tf_keras as keras

from lrdnn_base.imagenet import CaffePreprocessing, load_application_weights

# Channels and stride of the small backbone's stages, one residual block each; 16 pixels to a cell in all.
_SMALL_STEM = 24
_SMALL_STAGES = ((32, 2), (64, 2), (128, 2), (256, 1))
_SMALL_LAST_STRIDE = 3  # the stage that has it
_RESNET50_LAST_STRIDE = ("conv5_block1_0_conv", "conv5_block1_1_conv")  # as Keras names them


def main_branch(images: tf.Tensor, backbone: str, last_stride: int = 2) -> tf.Tensor:
    """Feature maps F = M(I).

    Args:
        images: Keras tensor [B, H, W, 3], RGB 0..255.
        backbone: "resnet50": F is [B, H/32, W/32, 2048]. "small": [B, H/16, W/16, 256], about
            a fiftieth of the work, for machines without a GPU.
        last_stride: Of the last stage that makes maps smaller; 1 doubles both sides of F.
    """
    pixels = CaffePreprocessing(name="preprocessing")(images)
    if backbone == "small":
        return _small_backbone(pixels, last_stride)
    network = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=pixels)
    return (network if last_stride == 2 else _without_last_stride(network, images)).output


def load_imagenet_weights(model: keras.Model, weights: str) -> None:
    """Gives a model with the resnet50 backbone its ImageNet weights.

    Args:
        model: A model from `lrdnn_tf.model.lrdnn.build_model`.
        weights: "imagenet" (Keras fetches and caches them), "none", or the path of Keras' ResNet-50 weights.

    Raises:
        InputError: The weights cannot be fetched or read, or do not fit.
    """
    load_application_weights(model, keras.applications.ResNet50, weights)


def _without_last_stride(resnet50: keras.Model, images: tf.Tensor) -> keras.Model:
    """The same network over the same input, its fifth stage at stride 1 (as in Luo et al., "Bag of Tricks", 2019)."""

    def rebuilt(layer: keras.layers.Layer) -> keras.layers.Layer:
        changed = {"strides": (1, 1)} if layer.name in _RESNET50_LAST_STRIDE else {}
        return layer.__class__.from_config(layer.get_config() | changed)

    return keras.models.clone_model(resnet50, input_tensors=images, clone_function=rebuilt)


def _small_backbone(pixels: tf.Tensor, last_stride: int) -> tf.Tensor:
    x = _convolution(pixels, _SMALL_STEM, 3, 2, "stem")
    x = keras.layers.ReLU(name="stem_relu")(x)
    for stage, (channels, stride) in enumerate(_SMALL_STAGES, start=1):
        if stage == _SMALL_LAST_STRIDE:
            stride = last_stride
        x = _residual_block(x, channels, stride, f"stage{stage}")
    return x


def _residual_block(x: tf.Tensor, channels: int, stride: int, name: str) -> tf.Tensor:
    shortcut = _convolution(x, channels, 1, stride, f"{name}_shortcut")
    x = _convolution(x, channels, 3, stride, f"{name}_a")
    x = keras.layers.ReLU(name=f"{name}_a_relu")(x)
    x = _convolution(x, channels, 3, 1, f"{name}_b")
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _convolution(x: tf.Tensor, channels: int, kernel: int, stride: int, name: str) -> tf.Tensor:
    x = keras.layers.Conv2D(
        channels, kernel, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    return keras.layers.BatchNormalization(name=f"{name}_bn")(x)
