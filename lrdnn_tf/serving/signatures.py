"""A trained model as a self-contained SavedModel: image bytes in, embedding and attributes out."""

import hashlib
import os

import tensorflow as tf
import tf_keras as keras

from lrdnn_tf.config import ModelConfig
from lrdnn_tf.data.decode import decode_image, require_jpeg_or_png, resize_image
from lrdnn_tf.model.lrdnn import EMBEDDING

_PARALLEL_DECODING = 4  # images; bounds the memory that large ones need


class ServingModel(tf.Module):
    """The signatures that TensorFlow Serving offers.

    serving_default: image_bytes, string [B] (JPEG or PNG) -> embedding, float32 [B, D], unit length;
        attribute_classes, int32 [B, tasks]; attribute_scores, float32 [B, tasks], the softmax of that class.
    embed_pixels: pixels, uint8 [B, H, W, 3], RGB, of any size -> the same outputs.
    describe: request, string [B], ignored -> a description of the model, repeated for each row: attribute_names,
        string [B, tasks]; class_names, string [B, tasks, C], in the order of the classes, where C is the largest
        number of classes of a task and other rows are padded with ""; embedding_size, int32 [B]; model_id, string [B].

    describe has an input because TensorFlow Serving's REST interface and its batching refuse a signature without one.
    """

    def __init__(self, model: keras.Model, config: ModelConfig):
        super().__init__()
        # Only the variables are tracked: a tracked Keras model would be traced and saved layer by layer as well.
        self.weights = model.variables
        self._model = self._no_dependency(model)
        self.config = config
        self.model_id = _model_id(model)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """The signatures by name, traced."""
        image_bytes = tf.TensorSpec([None], tf.string, "image_bytes")
        pixels = tf.TensorSpec([None, None, None, 3], tf.uint8, "pixels")
        request = tf.TensorSpec([None], tf.string, "request")
        return {
            "serving_default": self.embed_bytes.get_concrete_function(image_bytes),
            "embed_pixels": self.embed_pixels.get_concrete_function(pixels),
            "describe": self.describe.get_concrete_function(request),
        }

    @tf.function
    def embed_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        size = self.config.height, self.config.width
        images = tf.map_fn(
            lambda image: decode_image(require_jpeg_or_png(image), *size),
            image_bytes,
            fn_output_signature=tf.TensorSpec([*size, 3], tf.float32),
            parallel_iterations=_PARALLEL_DECODING,
        )
        return self._outputs(images)

    @tf.function
    def embed_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._outputs(resize_image(pixels, self.config.height, self.config.width))

    @tf.function
    def describe(self, request: tf.Tensor) -> dict[str, tf.Tensor]:
        tasks = self.config.attributes
        most = max((len(task.classes) for task in tasks), default=0)
        padded = [[*task.classes, *[""] * (most - len(task.classes))] for task in tasks]
        rows = tf.shape(request)[0]
        return {
            "attribute_names": _repeated(tf.constant([task.name for task in tasks], tf.string), rows),
            "class_names": _repeated(tf.constant(padded, tf.string, [len(tasks), most]), rows),
            "embedding_size": _repeated(tf.constant(self._model.output[EMBEDDING].shape[-1]), rows),
            "model_id": _repeated(tf.constant(self.model_id), rows),
        }

    def _outputs(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = tf.shape(images)[0]
        # Convolutions refuse an empty batch: it gets one image, whose outputs are removed below.
        images = tf.cond(batch > 0, lambda: images, lambda: tf.zeros([1, *images.shape[1:]]))
        outputs = {name: values[:batch] for name, values in self._model(images, training=False).items()}
        scores = [tf.nn.softmax(outputs[task.name]) for task in self.config.attributes]
        return {
            "embedding": tf.math.l2_normalize(outputs[EMBEDDING], axis=-1),
            "attribute_classes": _columns(
                [tf.argmax(s, axis=-1, output_type=tf.int32) for s in scores], batch, tf.int32
            ),
            "attribute_scores": _columns([tf.reduce_max(s, axis=-1) for s in scores], batch, tf.float32),
        }


def save(model: keras.Model, config: ModelConfig, path: str | os.PathLike) -> None:
    """Writes a trained model as a SavedModel to the folder `path`."""
    serving = ServingModel(model, config)
    tf.saved_model.save(serving, os.fspath(path), signatures=serving.signatures())


def _model_id(model: keras.Model) -> str:
    """A short hash of the weights: embeddings of models with the same id can be compared."""
    digest = hashlib.sha256()
    for variable in model.variables:
        digest.update(f"{variable.name} {variable.shape} ".encode() + variable.numpy().tobytes())
    return digest.hexdigest()[:16]


def _repeated(value: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    return tf.broadcast_to(value, tf.concat([rows[tf.newaxis], tf.shape(value)], axis=0))


def _columns(columns: list[tf.Tensor], rows: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """[rows, columns]; a model without attribute heads has zero columns."""
    return tf.stack(columns, axis=1) if columns else tf.zeros([rows, 0], dtype)
