"""A residual network with about 1/50 of ResNet-50's computation, for machines without a GPU."""

import tensorflow as tf
import tf_keras as keras

from lrdnn_base.imagenet import CaffePreprocessing

APPLICATION = None
_STEM_CHANNELS = 24
_STAGES = ((32, 2), (64, 2), (128, 2), (256, 1))  # channels and stride of each stage's single residual block
_LAST_STRIDE_STAGE = 3


def feature_maps(images: tf.Tensor, last_stride: int) -> tf.Tensor:
    """Returns F: [B, H/16, W/16, 256]; last_stride 1 doubles height and width."""
    pixels = CaffePreprocessing(name="preprocessing")(images)
    x = _convolution(pixels, _STEM_CHANNELS, 3, 2, "stem")
    x = keras.layers.ReLU(name="stem_relu")(x)
    for stage, (channels, stride) in enumerate(_STAGES, start=1):
        if stage == _LAST_STRIDE_STAGE:
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
