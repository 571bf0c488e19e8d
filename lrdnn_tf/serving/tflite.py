"""The embedding as a TensorFlow Lite model, for phones and small boards."""

import os
import pathlib

import numpy as np
import tensorflow as tf
import tf_keras as keras

from lrdnn_base.errors import InputError
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.model.compact_bilinear import CompactBilinearPooling
from lrdnn_tf.model.lrdnn import EMBEDDING

PRECISIONS = ("float16", "int8")


def to_tflite(model: keras.Model, config: ModelConfig, precision: str) -> bytes:
    """Converts the embedding of a trained model.

    The result takes `images`, float32 [1, height, width, 3], RGB 0..255, resized as `lrdnn_tf.data.decode` does, and
    gives `embedding`, float32 [1, D], of unit length.

    Args:
        model: Of `lrdnn_tf.runs.load_model`. Its compact bilinear pooling computes by outer products from now on:
            TensorFlow Lite has no Fourier transform back from complex numbers.
        config: Of the same.
        precision: How weights are stored. "float16": half the size. "int8": a quarter; activations stay float32,
            since with 8 bits for them, too, the embeddings of the demo's model point elsewhere.

    Raises:
        InputError: No such precision.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    for layer in model.layers:
        if isinstance(layer, CompactBilinearPooling):
            layer.method = "outer_product"

    @tf.function(input_signature=[tf.TensorSpec([1, config.height, config.width, 3], tf.float32, "images")])
    def embed(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": tf.math.l2_normalize(model(images, training=False)[EMBEDDING], axis=-1)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([embed.get_concrete_function()], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]  # int8 weights, unless another type is named
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def embed_by_tflite(path: str | os.PathLike, images: np.ndarray) -> np.ndarray:
    """Runs a converted model, image by image.

    Args:
        path: The .tflite file.
        images: float32 [n, height, width, 3], RGB 0..255.

    Returns:
        float32 [n, D].
    """
    interpreter = tf.lite.Interpreter(model_content=pathlib.Path(path).read_bytes(), num_threads=os.cpu_count())
    run = interpreter.get_signature_runner()
    return np.concatenate([run(images=image[np.newaxis])["embedding"] for image in images])
