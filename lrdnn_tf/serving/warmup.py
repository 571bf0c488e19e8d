"""Requests that TensorFlow Serving runs before it accepts clients: the first request of each shape takes seconds."""

import os
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from lrdnn_tf.serving.answers import DESCRIBE_REQUEST
from lrdnn_tf.serving.client import MODEL_NAME

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"  # the name that TensorFlow Serving expects
_BATCH_SIZES = (1, 2, 4, 8, 16, 32)  # the allowed_batch_sizes of deploy/batching.config


def write_warmup_requests(version_dir: str | os.PathLike, height: int, width: int) -> bool:
    """Writes the requests into the folder of a SavedModel, as TFRecords of PredictionLog.

    Args:
        version_dir: Folder of the SavedModel.
        height, width: Size of the images in the requests, in pixels.

    Returns:
        Whether they were written; False without the package tensorflow-serving-api, which defines PredictionLog.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        return False
    path = pathlib.Path(version_dir) / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, name, tensor in _requests(height, width):
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = MODEL_NAME, signature
            request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor))
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
    return True


def _requests(height: int, width: int) -> Iterator[tuple[str, str, list[bytes] | np.ndarray]]:
    """Triples of a signature, the name of its input, and the value of its input."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    jpeg, png = tf.io.encode_jpeg(pixels).numpy(), tf.io.encode_png(pixels).numpy()
    for size in _BATCH_SIZES:
        yield "serving_default", "image_bytes", [jpeg] * size
        yield "embed_pixels", "pixels", np.stack([pixels] * size)
    yield "serving_default", "image_bytes", [png]
    yield "describe", "request", [DESCRIBE_REQUEST]
