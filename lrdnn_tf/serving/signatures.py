"""A trained model as a SavedModel that needs no code of ours: image bytes in, embedding and attributes out."""

import os

import tensorflow as tf
import tf_keras as keras

from lrdnn_tf.config import ModelConfig
from lrdnn_tf.data.decode import decode_image, resize_image
from lrdnn_tf.model.lrdnn import EMBEDDING


class ServingModel(tf.Module):
    """The signatures that TF Serving offers.

    serving_default: image_bytes, string [B] (JPEG or PNG) -> embedding, float32 [B, D], unit length;
        attribute_classes, int32 [B, tasks]; attribute_scores, float32 [B, tasks], the softmax of that class.
    embed_pixels: pixels, uint8 [B, H, W, 3] of any size -> the same.
    describe: nothing -> attribute_names, string [tasks]; class_names, string [tasks], comma-separated in
        the order of the classes, so that a client needs no other file.
    """

    def __init__(self, model: keras.Model, config: ModelConfig):
        super().__init__()
        # The variables alone: a tracked Keras model would be traced and saved layer by layer once more.
        self.weights = model.variables
        self._model = self._no_dependency(model)
        self.config = config

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """The signatures by name, traced."""
        image_bytes = tf.TensorSpec([None], tf.string, "image_bytes")
        pixels = tf.TensorSpec([None, None, None, 3], tf.uint8, "pixels")
        return {
            "serving_default": self.embed_bytes.get_concrete_function(image_bytes),
            "embed_pixels": self.embed_pixels.get_concrete_function(pixels),
            "describe": self.describe.get_concrete_function(),
        }

    @tf.function
    def embed_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        size = self.config.height, self.config.width
        images = tf.map_fn(
            lambda image: decode_image(image, *size),
            image_bytes,
            fn_output_signature=tf.TensorSpec([*size, 3], tf.float32),
        )
        return self._outputs(images)

    @tf.function
    def embed_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._outputs(resize_image(pixels, self.config.height, self.config.width))

    @tf.function
    def describe(self) -> dict[str, tf.Tensor]:
        tasks = self.config.attributes
        return {
            "attribute_names": tf.constant([task.name for task in tasks], tf.string),
            "class_names": tf.constant([",".join(task.classes) for task in tasks], tf.string),
        }

    def _outputs(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = self._model(images, training=False)
        scores = [tf.nn.softmax(outputs[task.name]) for task in self.config.attributes]
        batch = tf.shape(images)[0]
        return {
            "embedding": tf.math.l2_normalize(outputs[EMBEDDING], axis=-1),
            "attribute_classes": _columns(
                [tf.argmax(s, axis=-1, output_type=tf.int32) for s in scores], batch, tf.int32
            ),
            "attribute_scores": _columns([tf.reduce_max(s, axis=-1) for s in scores], batch, tf.float32),
        }


def save(model: keras.Model, config: ModelConfig, path: str | os.PathLike) -> None:
    """Writes the SavedModel of a trained model into the folder path."""
    serving = ServingModel(model, config)
    tf.saved_model.save(serving, os.fspath(path), signatures=serving.signatures())


def _columns(columns: list[tf.Tensor], rows: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """[rows, columns]; a model without attribute heads has no columns."""
    return tf.stack(columns, axis=1) if columns else tf.zeros([rows, 0], dtype)
