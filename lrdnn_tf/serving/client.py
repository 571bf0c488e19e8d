"""Clients of TensorFlow Serving, over gRPC and over REST, that give what a local model gives.

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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from lrdnn_base.errors import InputError
from lrdnn_tf.serving import answers
from lrdnn_tf.serving.answers import Answers, Description

MODEL_NAME = "lrdnn"  # as deploy/models.config says
_FIRST_PAUSE_S = 0.1  # before the first retry; doubled before each further one
_LONGEST_PAUSE_S = 2.0
_HTTP_UNAVAILABLE = (502, 503)
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # 4 MB else, less than 32 answers may take
    ("grpc.initial_reconnect_backoff_ms", 100),  # else longer than the pauses between our own tries
    ("grpc.max_reconnect_backoff_ms", 1000),
)
Result = TypeVar("Result")


class ServerError(InputError):
    """The server cannot be reached, is too slow, or does not serve this model."""


class _Unavailable(Exception):
    """A call that may succeed when it is made again: nobody listens there, or the queue is full."""


def connect(server: str, **options: Any) -> "GrpcClient | RestClient":
    """A client for "HOST:PORT" (gRPC) or "http://HOST:PORT" (REST); options as the clients take them."""
    if server.startswith(("http://", "https://")):
        return RestClient(server, **options)
    return GrpcClient(server, **options)


class GrpcClient:
    """TensorFlow Serving over gRPC (port 8500 by default). May be used by several threads at once.

    Args:
        address: "HOST:PORT".
        timeout_s: Seconds that a call may take, retries included.
        retries: How often a call is made again when the server is not there or its queue is full.
        model_name: Under which name the server has the model.

    Raises:
        InputError: The package tensorflow-serving-api is not installed, or the address is none.
    """

    def __init__(self, address: str, timeout_s: float = 30, retries: int = 4, model_name: str = MODEL_NAME):
        try:
            import grpc
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError:
            raise InputError(
                "gRPC needs tensorflow-serving-api: pip install -c constraints.txt -e '.[serving]'"
            ) from None
        _require_host_and_port(address)
        self.address, self.model_name = address, model_name
        self._timeout_s, self._retries = timeout_s, retries
        self._grpc, self._predict_pb2 = grpc, predict_pb2
        self._channel = grpc.insecure_channel(address, _CHANNEL_OPTIONS)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def __enter__(self) -> "GrpcClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def describe(self) -> Description:
        """What the served model is; see `lrdnn_tf.serving.answers.Description`. Raises ServerError."""
        return answers.description_from(self._call("describe", "request", [answers.DESCRIBE_REQUEST]))

    def predict(self, images: Sequence[bytes]) -> Answers:
        """Answers for one batch of image files.

        Raises:
            RefusedImage: One of them cannot be decoded, or is too large.
            ServerError: The server is down or slow, or has no such model.
        """
        if not images:
            return answers.no_answers(self.describe())
        return answers.answers_from(self._call("serving_default", "image_bytes", images), len(images))

    def _call(self, signature: str, name: str, values: Sequence[bytes]) -> dict[str, np.ndarray]:
        request = self._predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self.model_name, signature
        request.inputs[name].CopyFrom(tf.make_tensor_proto(list(values), tf.string))
        response = _with_retries(
            lambda timeout_s: self._predict(request, timeout_s), self.address, self._timeout_s, self._retries
        )
        return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}

    def _predict(self, request: Any, timeout_s: float) -> Any:
        code = self._grpc.StatusCode
        try:
            return self._stub.Predict(request, timeout=timeout_s)
        except self._grpc.RpcError as error:
            if error.code() is code.UNAVAILABLE:
                raise _Unavailable(error.details()) from None
            if error.code() is code.DEADLINE_EXCEEDED:
                raise TimeoutError from None
            if error.code() is code.INVALID_ARGUMENT:
                raise answers.RefusedImage(answers.reason(error.details())) from None
            raise ServerError(f"{self.address}: {error.code().name.lower()}: {error.details()}") from None


class RestClient:
    """TensorFlow Serving over REST (port 8501 by default): no package but this one, and more bytes on the wire.

    Args:
        address: "http://HOST:PORT".
        timeout_s, retries, model_name: See `GrpcClient`.

    Raises:
        InputError: The address is none.
    """

    def __init__(self, address: str, timeout_s: float = 30, retries: int = 4, model_name: str = MODEL_NAME):
        _require_host_and_port(address.partition("://")[2].rstrip("/"))
        self.address = address.rstrip("/")
        self._url = f"{self.address}/v1/models/{model_name}:predict"
        self._timeout_s, self._retries = timeout_s, retries

    def __enter__(self) -> "RestClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing to do: every call has a connection of its own."""

    def describe(self) -> Description:
        """As `GrpcClient.describe`."""
        return answers.description_from(self._call("describe", "request", [answers.DESCRIBE_REQUEST]))

    def predict(self, images: Sequence[bytes]) -> Answers:
        """As `GrpcClient.predict`."""
        if not images:
            return answers.no_answers(self.describe())
        return answers.answers_from(self._call("serving_default", "image_bytes", images), len(images))

    def _call(self, signature: str, name: str, values: Sequence[bytes]) -> Mapping[str, Any]:
        encoded = [{"b64": base64.b64encode(value).decode()} for value in values]
        body = json.dumps({"signature_name": signature, "inputs": {name: encoded}}).encode()
        return _with_retries(
            lambda timeout_s: self._post(body, timeout_s), self.address, self._timeout_s, self._retries
        )

    def _post(self, body: bytes, timeout_s: float) -> Mapping[str, Any]:
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                return json.load(response)["outputs"]
        except urllib.error.HTTPError as error:
            said = _error_of(error.read())
            if error.code == 400:
                raise answers.RefusedImage(answers.reason(said)) from None
            if error.code in _HTTP_UNAVAILABLE:
                raise _Unavailable(said) from None
            if error.code == 504:
                raise TimeoutError from None
            raise ServerError(f"{self.address}: HTTP {error.code}: {said}") from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise TimeoutError from None
            raise _Unavailable(str(error.reason)) from None
        except (ConnectionError, http.client.HTTPException, ValueError, KeyError) as error:  # not what a server says
            raise _Unavailable(repr(error)) from None


def _with_retries(call: Callable[[float], Result], address: str, timeout_s: float, retries: int) -> Result:
    """Makes a call, again where that may help, all of it within timeout_s."""
    end = time.monotonic() + timeout_s
    for attempt in itertools.count():
        try:
            return call(max(end - time.monotonic(), 0.001))
        except TimeoutError:
            raise ServerError(f"{address} did not answer within {timeout_s:g} s: is it overloaded?") from None
        except _Unavailable as error:
            pause = min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S)
            if attempt == retries or time.monotonic() + pause > end:
                raise ServerError(
                    f"{address} does not answer, {attempt + 1} tries ({error}): is TensorFlow Serving running there?"
                ) from None
            time.sleep(pause)


def _require_host_and_port(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise InputError(f"server {address!r}: expected HOST:PORT, such as localhost:8500, or http://localhost:8501")


def _error_of(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
