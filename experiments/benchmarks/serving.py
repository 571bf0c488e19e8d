"""Latency and throughput of an exported model: in this process, over gRPC, and over gRPC with merged requests.

The server is `loopback_server.py` in this folder. Its protocol, SavedModel, kernels and batching scheduler are those of
TensorFlow Serving, but it handles requests in Python. Client and server share the machine.
"""

import concurrent.futures
import itertools
import pathlib
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from data_prep.market1501 import TASKS as MARKET1501
from experiments.benchmarks.compare import compare, run_as_command
from experiments.benchmarks.conversion import make_crops
from experiments.benchmarks.loopback_server import LoopbackServer, read_batching
from experiments.measure import peak_mb, timed
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.model.lrdnn import build_model
from lrdnn_tf.serving import signatures
from lrdnn_tf.serving.answers import Model
from lrdnn_tf.serving.client import GrpcClient
from lrdnn_tf.serving.saved_model import LocalModel

BATCH_SIZES = (1, 8, 32)
BATCHING = pathlib.Path(__file__).parents[2] / "deploy" / "batching.config"
SMALL = {"backbone": "small", "height": 128, "width": 64, "pose_width": 0.25, "bilinear_dim": 2048}  # as in the demo


def latency_percentiles(key: str, model: Model, crops: list[bytes], requests: int) -> dict[str, float]:
    """Milliseconds of a request at the median and the 99th percentile, for each batch size, one after the other."""
    result = {}
    for size in BATCH_SIZES:
        images = itertools.cycle(crops)
        batches = [list(itertools.islice(images, size)) for _ in range(requests)]
        model.predict(batches[0])
        seconds = [timed(partial(model.predict, batch))[0] for batch in batches]
        p50, p99 = np.percentile(seconds, [50, 99]).tolist()
        result |= {f"{key}_{size}_p50_ms": 1000 * p50, f"{key}_{size}_p99_ms": 1000 * p99}
    return result


def images_per_s(model: Model, crops: list[bytes], requests: int, clients: int) -> float:
    """Throughput of concurrent clients; each sends one image and waits for the answer before it sends the next."""
    images = [[image] for image in itertools.islice(itertools.cycle(crops), requests)]
    with concurrent.futures.ThreadPoolExecutor(clients) as threads:
        list(threads.map(model.predict, images[: 4 * clients]))
        seconds, _ = timed(lambda: list(threads.map(model.predict, images)))
    return requests / seconds


def one_image_at_a_time(saved_model: pathlib.Path, images: list[bytes]) -> Callable[[], None]:
    """The reference: a script that loads the SavedModel and requests one image after the other."""
    model = tf.saved_model.load(str(saved_model))  # must live as long as its signatures are used

    def request_each() -> None:
        for image in images:
            model.signatures["serving_default"](image_bytes=tf.constant([image]))

    return request_each


def measure_server(export_dir: pathlib.Path, crops: list[bytes], requests: int, clients: int) -> dict[str, float]:
    """Latency and throughput over gRPC, without and with merged requests."""
    result = {}
    for key, batching in (("grpc", None), ("grpc_batching", read_batching(BATCHING))):
        with LoopbackServer(export_dir, batching) as server, GrpcClient(server.grpc_address) as client:
            result |= latency_percentiles(key, client, crops, requests)
            result[f"{key}_images_per_s"] = images_per_s(client, crops, 4 * requests, clients)
    return result


def run_benchmark(requests: int = 100, clients: int = 16, model_options: Mapping[str, Any] = SMALL) -> dict:
    """Compares a batch of 32 images with 32 single images, and measures latency and throughput.

    Args:
        requests: Requests of each kind.
        clients: Concurrent clients in the measurement of throughput.
        model_options: Fields of ModelConfig.
    """
    config = ModelConfig(60, MARKET1501, pose_maps="both", **model_options)
    crops = make_crops(64)
    with tempfile.TemporaryDirectory() as scratch:
        export_dir = pathlib.Path(scratch)
        signatures.save(build_model(config), config, export_dir / "1")
        local, batch = LocalModel(export_dir), crops[:32]
        comparison = compare(
            "serving",
            lambda: partial(local.predict, batch),
            partial(one_image_at_a_time, export_dir / "1", batch),
            repeats=max(requests // 10, 1),
            warm_up=1,
        )
        details = latency_percentiles("savedmodel", local, crops, requests)
        details |= measure_server(export_dir, crops, requests, clients)
    return comparison.report(
        requests=requests, clients=clients, **details, peak_mb=peak_mb()
    )  # of clients and server together


if __name__ == "__main__":
    run_as_command(run_benchmark)
