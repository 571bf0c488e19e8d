"""A local server with TensorFlow Serving's gRPC and REST protocols, for tests and benchmarks.

It is not TensorFlow Serving. Both have in common the protocol (gRPC with the stubs of tensorflow-serving-api,
TensorFlow's status codes, the JSON of the REST interface), the SavedModel, TensorFlow's kernels, and the C++ scheduler
that merges requests into batches (the op BatchFunction). They differ in the server itself: this one handles requests
in Python, which takes time that TensorFlow Serving does not need.
"""

import base64
import http.server
import json
import os
import pathlib
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from lrdnn_tf.serving.client import MODEL_NAME
from lrdnn_tf.serving.saved_model import newest_version

_STATUS = {code.value[0]: code for code in grpc.StatusCode}  # gRPC and TensorFlow share the numbers
_HTTP_STATUS = {
    tf.errors.INVALID_ARGUMENT: 400,
    tf.errors.NOT_FOUND: 404,
    tf.errors.UNAVAILABLE: 503,
    tf.errors.DEADLINE_EXCEEDED: 504,
}
_GRPC_THREADS = 32
Tensors = Mapping[str, np.ndarray]
Predict = Callable[[str, str, Tensors], dict[str, np.ndarray]]


def read_batching(path: str | os.PathLike) -> dict[str, int | list[int]]:
    """The parameters in a file for --batching_parameters_file, as `tf.nondifferentiable_batch_function` takes them."""
    text = pathlib.Path(path).read_text()
    parameters = {name: int(value) for name, value in re.findall(r"(\w+) \{ value: (\d+) \}", text)}
    return parameters | {"allowed_batch_sizes": [int(size) for size in re.findall(r"allowed_batch_sizes: (\d+)", text)]}


class LoopbackServer:
    """A context manager that serves the newest version of an exported model on two local ports.

        with LoopbackServer("runs/lrdnn/export") as server:
            client = GrpcClient(server.grpc_address)      # or RestClient(server.rest_address)

    Args:
        export_dir: Folder that `lrdnn_tf.export` wrote, with one subfolder per version.
        batching: Parameters from `read_batching` by which requests are merged. None runs each request on its own.
        grpc_port, rest_port: Port numbers; 0 for any free port.
    """

    def __init__(
        self,
        export_dir: str | os.PathLike,
        batching: Mapping[str, Any] | None = None,
        grpc_port: int = 0,
        rest_port: int = 0,
    ):
        predict = _predict_function(export_dir, batching)
        self._grpc_server = grpc.server(
            futures.ThreadPoolExecutor(_GRPC_THREADS),
            options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Servicer(predict), self._grpc_server)
        self.grpc_address = f"127.0.0.1:{self._grpc_server.add_insecure_port(f'127.0.0.1:{grpc_port}')}"
        self._rest_server = http.server.ThreadingHTTPServer(("127.0.0.1", rest_port), _rest_handler(predict))
        self.rest_address = f"http://127.0.0.1:{self._rest_server.server_address[1]}"

    def __enter__(self) -> "LoopbackServer":
        self._grpc_server.start()
        threading.Thread(target=self._rest_server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._grpc_server.stop(grace=None).wait()
        self._rest_server.shutdown()
        self._rest_server.server_close()


class _Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, predict: Predict):
        self._predict = predict

    def Predict(self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext):
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        try:
            outputs = self._predict(request.model_spec.name, request.model_spec.signature_name, inputs)
        except tf.errors.OpError as error:
            context.abort(_STATUS[error.error_code], error.message)
        response = predict_pb2.PredictResponse(model_spec=request.model_spec)
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


def _rest_handler(predict: Predict) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            inputs = {
                name: np.array([base64.b64decode(value["b64"]) for value in values], object)
                for name, values in request["inputs"].items()
            }
            model = self.path.removeprefix("/v1/models/").removesuffix(":predict")
            try:
                outputs = predict(model, request["signature_name"], inputs)
                self._answer(200, {"outputs": {name: _plain(value) for name, value in outputs.items()}})
            except tf.errors.OpError as error:
                self._answer(_HTTP_STATUS.get(error.error_code, 500), {"error": error.message})

        def _answer(self, status: int, content: dict) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Writes no log, which would be mixed with the output of a test or benchmark."""

    return Handler


def _predict_function(export_dir: str | os.PathLike, batching: Mapping[str, Any] | None) -> Predict:
    model = tf.saved_model.load(os.fspath(newest_version(export_dir)))
    functions = {name: _merging(function, batching) for name, function in model.signatures.items()}

    def predict(model_name: str, signature: str, inputs: Tensors) -> dict[str, np.ndarray]:
        if model_name != MODEL_NAME:
            raise tf.errors.NotFoundError(None, None, f"Servable not found for request: Latest({model_name})")
        function, dtypes = functions[signature]
        outputs = function(**{name: tf.constant(value, dtypes[name]) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    predict.model = model  # must live as long as its functions are called
    return predict


def _merging(function: Callable, batching: Mapping[str, Any] | None) -> tuple[Callable, dict[str, tf.DType]]:
    """A signature of the SavedModel that merges the requests of several threads, and the dtypes of its inputs."""
    _, specs = function.structured_input_signature
    dtypes = {name: spec.dtype for name, spec in specs.items()}
    if batching is None:
        return function, dtypes
    ((name, spec),) = specs.items()
    merge = tf.nondifferentiable_batch_function(**batching, enable_large_batch_splitting=False)
    merged = merge(lambda values: function(**{name: values}))
    queue = str(uuid.uuid4())  # otherwise two servers in one process would share a queue

    @tf.function(input_signature=[spec])
    def one(values: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.name_scope(queue):
            return merged(values)

    return (lambda **inputs: one(inputs[name])), dtypes


def _plain(value: np.ndarray) -> list:
    """A tensor as JSON; a float32 is written with the fewest digits that identify it."""
    if value.dtype == object:
        return np.vectorize(bytes.decode, otypes=[object])(value).tolist() if value.size else value.tolist()
    return value.astype(str).astype(float).tolist() if value.dtype == np.float32 else value.tolist()
