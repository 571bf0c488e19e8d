"""Clients of TensorFlow Serving, over gRPC and over REST, with the interface of a local model.

with connect("localhost:8500") as model:                # "http://localhost:8501" for REST
    answers, refused = embed(model, [open("person.jpg", "rb").read()])
"""

import base64
import http.client
import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lrdnn_base.errors import InputError
from lrdnn_tf.serving import answers
from lrdnn_tf.serving.answers import Answers, Description

MODEL_NAME = "lrdnn"  # as in deploy/models.config
_FIRST_PAUSE_S = 0.1  # before the first retry; doubled before each further one
_LONGEST_PAUSE_S = 2.0
_HTTP_UNAVAILABLE = (502, 503)
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # the default, 4 MB, is less than the outputs for 32 images may need
    ("grpc.initial_reconnect_backoff_ms", 100),  # the default is longer than the pauses between retries
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class ServerError(InputError):
    """The server cannot be reached, is too slow, or does not serve this model."""


class _Unavailable(Exception):
    """A call failed that may succeed when it is repeated: the server cannot be reached, or its queue is full."""


def connect(server: str, **options: Any) -> "GrpcClient | RestClient":
    """A client for "HOST:PORT" (gRPC) or "http://HOST:PORT" (REST); the options are arguments of the clients."""
    protocol = RestClient if server.startswith(("http://", "https://")) else GrpcClient
    return protocol(server, **options)


class _Client:
    """What the clients of both protocols share; `_encoded` and `_send` differ. `_send` returns the outputs by name.

    Args:
        address: "HOST:PORT" for gRPC, "http://HOST:PORT" for REST.
        timeout_s: Seconds that a call may take, including retries.
        retries: How often a call is repeated when the server cannot be reached or its queue is full.
        model_name: The name of the model on the server.

    Raises:
        InputError: The address is malformed.
    """

    def __init__(self, address: str, timeout_s: float = 30, retries: int = 4, model_name: str = MODEL_NAME):
        host, _, port = address.rpartition("://")[2].rstrip("/").rpartition(":")
        if not (host and port.isdigit()):
            raise InputError(f"server {address!r}: expected HOST:PORT, like localhost:8500, or http://localhost:8501")
        self.address, self.model_name = address.rstrip("/"), model_name
        self._timeout_s, self._retries = timeout_s, retries

    def __enter__(self) -> "_Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection, if there is one between calls."""

    def describe(self) -> Description:
        """See `answers.Model`."""
        return answers.description_from(self._call("describe", "request", [answers.DESCRIBE_REQUEST]))

    def predict(self, images: Sequence[bytes]) -> Answers:
        """See `answers.Model`."""
        if not images:
            return answers.no_answers(self.describe())
        return answers.answers_from(self._call("serving_default", "image_bytes", images), len(images))

    def _call(self, signature: str, name: str, values: Sequence[bytes]) -> Mapping[str, Any]:
        """Runs a signature; repeats the call after failures that may pass, all within timeout_s."""
        request = self._encoded(signature, name, values)
        end = time.monotonic() + self._timeout_s
        for attempt in itertools.count():
            try:
                return self._send(request, max(end - time.monotonic(), 0.001))
            except TimeoutError:
                problem = f"did not answer within {self._timeout_s:g} s: is it overloaded?"
            except _Unavailable as error:
                pause = min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S)
                if attempt < self._retries and time.monotonic() + pause <= end:
                    time.sleep(pause)
                    continue
                problem = f"does not answer, {attempt + 1} tries ({error}): is TensorFlow Serving running there?"
            raise ServerError(f"{self.address} {problem}")


class GrpcClient(_Client):
    """Client of TensorFlow Serving over gRPC (port 8500 by default). It can be shared by several threads.

    It takes the arguments of `_Client`, and raises an InputError also when tensorflow-serving-api is not installed.
    """

    def __init__(self, address: str, **options: Any):
        try:
            import grpc
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError:
            raise InputError(
                "gRPC needs tensorflow-serving-api: pip install -c constraints.txt -e '.[serving]'"
            ) from None
        super().__init__(address, **options)
        self._grpc, self._predict_pb2 = grpc, predict_pb2
        self._channel = grpc.insecure_channel(self.address, _CHANNEL_OPTIONS)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def _encoded(self, signature: str, name: str, values: Sequence[bytes]) -> Any:
        request = self._predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self.model_name, signature
        request.inputs[name].CopyFrom(tf.make_tensor_proto(list(values), tf.string))
        return request

    def _send(self, request: Any, timeout_s: float) -> dict[str, np.ndarray]:
        code = self._grpc.StatusCode
        try:
            response = self._stub.Predict(request, timeout=timeout_s)
        except self._grpc.RpcError as error:
            if error.code() is code.UNAVAILABLE:
                raise _Unavailable(error.details()) from None
            if error.code() is code.DEADLINE_EXCEEDED:
                raise TimeoutError from None
            if error.code() is code.INVALID_ARGUMENT:
                raise answers.RefusedImage(answers.reason(error.details())) from None
            raise ServerError(f"{self.address}: {error.code().name.lower()}: {error.details()}") from None
        return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


class RestClient(_Client):
    """Client of TensorFlow Serving over REST (port 8501 by default), a new connection for every call.

    It takes the arguments of `_Client`. It needs no further package, but sends more bytes than gRPC.
    """

    def _encoded(self, signature: str, name: str, values: Sequence[bytes]) -> bytes:
        encoded = [{"b64": base64.b64encode(value).decode()} for value in values]
        return json.dumps({"signature_name": signature, "inputs": {name: encoded}}).encode()

    def _send(self, request: bytes, timeout_s: float) -> Mapping[str, Any]:
        url = f"{self.address}/v1/models/{self.model_name}:predict"
        post = urllib.request.Request(url, request, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(post, timeout=timeout_s) as response:
                return json.load(response)["outputs"]
        except urllib.error.HTTPError as error:
            message = _error_of(error.read())
            if error.code == 400:
                raise answers.RefusedImage(answers.reason(message)) from None
            if error.code in _HTTP_UNAVAILABLE:
                raise _Unavailable(message) from None
            if error.code == 504:
                raise TimeoutError from None
            raise ServerError(f"{self.address}: HTTP {error.code}: {message}") from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise TimeoutError from None
            raise _Unavailable(str(error.reason)) from None
        except (ConnectionError, http.client.HTTPException, ValueError, KeyError) as error:  # not a TensorFlow Serving
            raise _Unavailable(repr(error)) from None


def _error_of(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
