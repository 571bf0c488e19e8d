"""Latency and throughput of an exported model: in this process, over gRPC, and over gRPC with requests merged.

The server is `loopback_server.py` beside this file: TensorFlow Serving's protocol, SavedModel, kernels and batching
scheduler, with Python in between, which TensorFlow Serving itself has not. Client and server share the machine.
"""

import concurrent.futures
import itertools
import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import flags

from data_prep.market1501 import TASKS as MARKET1501
from experiments.benchmarks.conversion import make_crops
from experiments.benchmarks.loopback_server import LoopbackServer
from experiments.benchmarks.server_config import read_batching
from experiments.measure import peak_mb, timed
from lrdnn_base import command
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.model.lrdnn import build_model
from lrdnn_tf.serving import signatures
from lrdnn_tf.serving.answers import Model
from lrdnn_tf.serving.client import GrpcClient
from lrdnn_tf.serving.saved_model import LocalModel

FLAGS = flags.FLAGS
BATCH_SIZES = (1, 8, 32)
BATCHING = pathlib.Path(__file__).parents[2] / "deploy" / "batching.config"
SMALL = {"backbone": "small", "height": 128, "width": 64, "pose_width": 0.25, "bilinear_dim": 2048}  # the demo's


def latencies(model: Model, crops: list[bytes], batch_size: int, requests: int) -> list[float]:
    """Seconds of each of some requests, one after the other."""
    images = itertools.cycle(crops)
    batches = [list(itertools.islice(images, batch_size)) for _ in range(requests)]
    model.predict(batches[0])
    return [timed(lambda batch=batch: model.predict(batch))[0] for batch in batches]


def images_per_s(model: Model, crops: list[bytes], requests: int, clients: int) -> float:
    """Of many clients that ask about one image at a time, each as soon as it has its answer."""
    images = list(itertools.islice(itertools.cycle(crops), requests))
    with concurrent.futures.ThreadPoolExecutor(clients) as threads:
        list(threads.map(lambda image: model.predict([image]), images[: 4 * clients]))
        start = time.perf_counter()
        list(threads.map(lambda image: model.predict([image]), images))
        return requests / (time.perf_counter() - start)


def one_image_at_a_time(saved_model: pathlib.Path) -> Callable[[list[bytes]], None]:
    """The reference: what a script does that opens the SavedModel and asks about file after file."""
    model = tf.saved_model.load(str(saved_model))
    serve = model.signatures["serving_default"]

    def ask(images: list[bytes]) -> None:
        for image in images:
            serve(image_bytes=tf.constant([image]))

    ask.model = model  # whose signatures live no longer than it does
    return ask


def run_benchmark(requests: int = 100, clients: int = 16, seed: int = 0, model_options: dict | None = None) -> dict:
    """Measures a model of the demo's size, prints a table and one JSON line, and returns what it printed."""
    config = ModelConfig(60, MARKET1501, pose_maps="both", **(model_options or SMALL))
    crops = make_crops(64, seed)
    measured: dict[str, dict[int, list[float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        export_dir = pathlib.Path(scratch)
        signatures.save(build_model(config), config, export_dir / "1")
        local, ask = LocalModel(export_dir), one_image_at_a_time(export_dir / "1")
        measured["SavedModel"] = {size: latencies(local, crops, size, requests) for size in BATCH_SIZES}
        ask(crops[:4])
        pairs = [
            (timed(lambda: local.predict(crops[:32]))[0], timed(lambda: ask(crops[:32]))[0])
            for _ in range(max(requests // 10, 1))
        ]
        ours_s, reference_s = map(statistics.median, zip(*pairs, strict=True))
        throughput = {}
        for name, batching in (("gRPC", None), ("gRPC, batching", read_batching(BATCHING))):
            with LoopbackServer(export_dir, batching) as server, GrpcClient(server.grpc_address) as client:
                measured[name] = {size: latencies(client, crops, size, requests) for size in BATCH_SIZES}
                throughput[name] = images_per_s(client, crops, 4 * requests, clients)
    result = {
        "benchmark": "serving",
        "ours_s": ours_s,
        "reference_s": reference_s,
        "speedup": reference_s / ours_s,
        "peak_mb": peak_mb(),
    }
    print(f"{requests} requests, crops of 128x64, model of the demo's size; ms at the median and the 99th percentile")
    for name, by_size in measured.items():
        for size, seconds in by_size.items():
            p50, p99 = 1000 * np.percentile(seconds, [50, 99])
            key = f"{name.replace(', ', '_').lower()}_{size}"
            result |= {f"{key}_p50_ms": p50, f"{key}_p99_ms": p99}
            print(f"  {name:15} batch {size:2}  p50 {p50:7.1f}  p99 {p99:7.1f}  {1000 * size / p50:6.0f} images/s")
    for name, rate in throughput.items():
        result[f"{name.replace(', ', '_').lower()}_images_per_s"] = rate
        print(f"  {name:15} {clients} clients, an image a request: {rate:6.0f} images/s")
    print(f"  32 images as a batch {1000 * ours_s:.0f} ms, one by one {1000 * reference_s:.0f} ms")
    print("  the server is not TensorFlow Serving but speaks as it does, with Python in between, on the same cores")
    print(json.dumps(result))
    return result


def main() -> None:
    run_benchmark(FLAGS.requests, FLAGS.clients, FLAGS.seed)


if __name__ == "__main__":
    flags.DEFINE_integer("requests", 100, "Requests of each kind.", lower_bound=1)
    flags.DEFINE_integer("clients", 16, "Clients at once where throughput is measured.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the images.")
    command.run(main)
