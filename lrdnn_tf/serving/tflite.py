"""The embedding as a TensorFlow Lite model, for phones and small boards."""

import dataclasses
import os
import pathlib

import numpy as np
import tensorflow as tf
import tf_keras as keras

from lrdnn_base.errors import InputError
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.model.lrdnn import EMBEDDING, build_model

PRECISIONS = ("float16", "int8")


def to_tflite(model: keras.Model, config: ModelConfig, precision: str) -> bytes:
    """Converts the part of a trained model that computes the embedding.

    The input of the result is `images`, float32 [1, height, width, 3], RGB, 0..255, resized as in
    `lrdnn_tf.data.decode`; its output is `embedding`, float32 [1, D], of unit length.

    Args:
        model: Model returned by `lrdnn_tf.runs.load_model`; it is not changed.
        config: The config that it was built from.
        precision: Type of the stored weights. "float16": half the size. "int8": a quarter; activations stay float32,
            because 8-bit activations changed the embeddings of the demo's model too much.

    Returns:
        The content of a .tflite file.

    Raises:
        InputError: There is no such precision.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    # A copy computes the fusion by outer products: TensorFlow Lite has no inverse Fourier transform of complex numbers.
    copy = build_model(dataclasses.replace(config, bilinear_method="outer_product"))
    copy.set_weights(model.get_weights())

    @tf.function(input_signature=[tf.TensorSpec([1, config.height, config.width, 3], tf.float32, "images")])
    def embed(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": tf.math.l2_normalize(copy(images, training=False)[EMBEDDING], axis=-1)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([embed.get_concrete_function()], copy)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]  # int8 weights unless another type is set
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def embed_by_tflite(path: str | os.PathLike, images: np.ndarray) -> np.ndarray:
    """Embeddings, float32 [n, D], of images, float32 [n, height, width, 3], RGB, 0..255, by a .tflite file."""
    interpreter = tf.lite.Interpreter(model_content=pathlib.Path(path).read_bytes(), num_threads=os.cpu_count())
    run = interpreter.get_signature_runner()
    return np.concatenate([run(images=image[np.newaxis])["embedding"] for image in images])
