"""LRDNN (paper, Fig. 3): main branch, pose branch, their fusion, and one classifier per task."""

import math

import numpy as np
import tensorflow as tf
import tf_keras as keras

from lrdnn_tf.attributes import AttributeTask
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.model.channel_parse import channel_parse
from lrdnn_tf.model.compact_bilinear import CompactBilinearPooling
from lrdnn_tf.model.main_branch import main_branch
from pose_pretrain.network import STRIDE, build_pose_network

EMBEDDING = "embedding"
IDENTITY = "identity"
CLASSIFIER_SUFFIX = "_classifier"
# Below the variance of nearly every pose map. TensorFlow's fused BatchNorm replaces anything below 1.001e-5 by that.
ALIGNMENT_EPSILON = 1e-5
POSE_BRANCH = "pose_network"  # a nested model, which takes all weights of pose pretraining


def build_model(config: ModelConfig) -> keras.Model:
    """Builds the model of a config, with initial weights.

    Returns:
        Functional model from float32 RGB images [B, height, width, 3], 0..255, to a dict:
        "embedding": float32 [B, D], the descriptor, which is the classifiers' input and is compared in retrieval;
        "identity": float32 logits [B, identities]; and float32 logits [B, classes] per attribute task.
    """
    images = keras.Input([config.height, config.width, 3], name="images")
    features = main_branch(images, config.backbone, config.last_stride)
    if config.pose_maps == "none":
        embedding = keras.layers.GlobalAveragePooling2D(name="pool5", dtype="float32")(features)
        classified = embedding
    else:
        embedding = _fuse(features, images, config)
        # The bilinear vector has unit length, so its components are near 1 / sqrt(D), at which scale an untrained
        # classifier learns very slowly. Its input is scaled to components near 1, like the outputs of a BatchNorm.
        classified = keras.layers.Rescaling(math.sqrt(embedding.shape[-1]), name="unit_components", dtype="float32")(
            embedding
        )
    tasks = (AttributeTask(IDENTITY, ("",) * config.identities), *config.attributes)
    logits = {task.name: _classifier(classified, task) for task in tasks}
    named = keras.layers.Identity(name=EMBEDDING, dtype="float32")(embedding)  # Keras assigns losses by layer name
    return keras.Model(images, {EMBEDDING: named} | logits, name="lrdnn")


def _fuse(features: tf.Tensor, images: tf.Tensor, config: ModelConfig) -> tf.Tensor:
    """Applies compact bilinear pooling to F and the pose maps, which BatchNorms bring to one scale (equations 5 to 7).

    Maps are aligned before they are pooled to the grid of F. Pooled vectors are aligned after pooling (section 4.3:
    "after the pool5 layer"), since pooling shrinks the variance of each map by a factor of its own.
    """
    maps = _pose_maps(images, features, config)
    if config.channel_parse and config.channel_parse_order == "before":
        maps = channel_parse(maps, config)
    if config.fuse == "pool5":
        features, maps = (
            keras.layers.GlobalAveragePooling2D(keepdims=True, name=name, dtype="float32")(x)
            for x, name in ((features, "pool5"), (maps, "pose_pool"))
        )
    features, maps = _aligned(features, "align_features"), _aligned(maps, "align_pose_maps")
    if config.channel_parse and config.channel_parse_order == "after":
        maps = channel_parse(maps, config)
    if config.fuse == "maps":
        maps = PoolToGrid(features.shape[1], features.shape[2], name="pose_pool", dtype="float32")(maps)
    pooling = CompactBilinearPooling(
        config.bilinear_dim, config.bilinear_seed, method=config.bilinear_method, name="compact_bilinear"
    )
    return pooling([features, maps])


def _pose_maps(images: tf.Tensor, features: tf.Tensor, config: ModelConfig) -> tf.Tensor:
    """Returns H3, C3 or both, concatenated (equation 2), or the maps that stand in for them."""
    if config.pose_maps == "positions":
        return PositionMaps(name="position_maps", dtype="float32")(features)
    height, width = (STRIDE * math.ceil(size / STRIDE) for size in (config.height, config.width))
    if (height, width) != (config.height, config.width):  # the pose network needs multiples of its stride
        images = keras.layers.Resizing(height, width, name="pose_size", dtype="float32")(images)
    *_, confidence, affinity = build_pose_network(height, width, config.pose_width)(images)
    if config.pose_maps == "both":
        return keras.layers.Concatenate(name="pose_maps", dtype="float32")([confidence, affinity])
    return confidence if config.pose_maps == "confidence" else affinity


def _aligned(maps: tf.Tensor, name: str) -> tf.Tensor:
    """Applies the BatchNorm of equation 5, or those of equations 6 and 7 at once: it treats each channel by itself.

    The variance of pose maps is far below 1: many affinity maps are below 1e-3, Keras' epsilon, which would leave them
    several times smaller than F. It is far below the initial moving variance, too: with Keras' momentum of 0.99, maps
    would be several times smaller at inference than in training after a short fusion phase.
    """
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=ALIGNMENT_EPSILON, dtype="float32", name=name)(maps)


def _classifier(embedding: tf.Tensor, task: AttributeTask) -> tf.Tensor:
    """Computes the logits of one task by a 1x1 convolution (paper, section 4.3)."""
    x = keras.layers.Reshape([1, 1, -1], name=f"{task.name}_input", dtype="float32")(embedding)
    # With weights of 0, the first gradients that reach layers trained in an earlier phase come from what the classifier
    # has learned, and not from random initial weights.
    x = keras.layers.Conv2D(
        len(task.classes), 1, kernel_initializer="zeros", name=task.name + CLASSIFIER_SUFFIX, dtype="float32"
    )(x)
    return keras.layers.Flatten(name=task.name, dtype="float32")(x)


@keras.utils.register_keras_serializable("lrdnn_tf")
class PositionMaps(keras.layers.Layer):
    """One map per position of a grid, 1 there and 0 elsewhere: the control that has positions and no pose.

    Input: float [B, h, w, C], of which only the size counts. Output: float [B, h, w, h * w], the same for each image.
    """

    def call(self, features: tf.Tensor) -> tf.Tensor:
        _, rows, columns, _ = features.shape
        maps = tf.reshape(tf.eye(rows * columns, dtype=self.compute_dtype), [1, rows, columns, rows * columns])
        return tf.tile(maps, [tf.shape(features)[0], 1, 1, 1])


@keras.utils.register_keras_serializable("lrdnn_tf")
class PoolToGrid(keras.layers.Layer):
    """Averages maps over the cells of a coarser grid; cells on a boundary are weighted by their overlap.

    Args:
        height, width: Size of the grid in cells, at most that of the input.

    Input: float [B, h, w, C]. Output: float [B, height, width, C].

    Raises:
        ValueError: The grid is finer than the input.
    """

    def __init__(self, height: int, width: int, **kwargs):
        super().__init__(**kwargs)
        self.height = height
        self.width = width

    def build(self, input_shape):
        _, rows, columns, _ = input_shape
        if rows < self.height or columns < self.width:
            raise ValueError(f"maps of {rows}x{columns} cannot be pooled to a finer grid of {self.height}x{self.width}")
        self.over_rows = tf.constant(_overlaps(rows, self.height), self.compute_dtype)
        self.over_columns = tf.constant(_overlaps(columns, self.width), self.compute_dtype)
        super().build(input_shape)

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        return tf.einsum("yh,xw,bhwc->byxc", self.over_rows, self.over_columns, maps)

    def get_config(self):
        return super().get_config() | {"height": self.height, "width": self.width}


def _overlaps(cells: int, coarse: int) -> np.ndarray:
    """Returns the share of each coarse cell that each fine cell covers: [coarse, cells]; rows sum to 1."""
    edges = np.arange(coarse + 1)[:, None] * cells / coarse
    covered = np.clip(
        np.minimum(edges[1:], np.arange(1, cells + 1)) - np.maximum(edges[:-1], np.arange(cells)), 0, None
    )
    return covered / covered.sum(axis=1, keepdims=True)
