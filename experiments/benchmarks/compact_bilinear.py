"""Compact bilinear pooling, forward and backward: both of our methods beside the textbook formulation.

The textbook one multiplies by a sparse sketch matrix, and transforms back at every position before it sums over them.
"""

import json
import multiprocessing
import os
import statistics
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import flags

from experiments.measure import peak_mb, timed
from lrdnn_tf.model.compact_bilinear import CompactBilinearPooling

FLAGS = flags.FLAGS
REFERENCE = "textbook"
METHODS = ("fft", "outer_product", REFERENCE)

Inputs = tuple[tf.Tensor, tf.Tensor]


def make_inputs(batch_size: int, height: int, width: int, channels: tuple[int, int], seed: int) -> Inputs:
    """Two random maps on one grid: float32 [B, height, width, C1] and [..., C2]."""
    generator = np.random.default_rng(seed)
    shapes = [(batch_size, height, width, count) for count in channels]
    return tuple(tf.constant(generator.normal(size=shape).astype(np.float32)) for shape in shapes)


def textbook(layer: CompactBilinearPooling) -> Callable[[Inputs], tf.Tensor]:
    """The same function as a built layer, the way it stands in the papers' public versions: the reference."""
    matrices = [_sketch_matrix(*(values.numpy() for values in hash_), layer.output_dim) for hash_ in layer.hashes]

    def sketch(maps: tf.Tensor, matrix: tf.SparseTensor) -> tf.Tensor:
        flat = tf.reshape(maps, [-1, maps.shape[3]])
        return tf.transpose(tf.sparse.sparse_dense_matmul(matrix, flat, adjoint_a=True, adjoint_b=True))

    def pool(inputs: Inputs) -> tf.Tensor:
        first, second = (
            tf.signal.fft(tf.cast(sketch(maps, matrix), tf.complex64))
            for maps, matrix in zip(inputs, matrices, strict=True)
        )
        at_positions = tf.math.real(tf.signal.ifft(first * second))
        batch, height, width, _ = inputs[0].shape
        return tf.reduce_sum(tf.reshape(at_positions, [batch, height, width, layer.output_dim]), axis=[1, 2])

    return pool


def _sketch_matrix(buckets: np.ndarray, signs: np.ndarray, output_dim: int) -> tf.SparseTensor:
    indices = np.stack([np.arange(len(buckets)), buckets], axis=1).astype(np.int64)
    return tf.SparseTensor(indices, signs, [len(buckets), output_dim])


def training_step(method: str, output_dim: int, inputs: Inputs) -> Callable[[], tuple[tf.Tensor, list[tf.Tensor]]]:
    """A function that gives the pooled vectors and the slopes of half their squared length by both inputs."""
    layer = CompactBilinearPooling(output_dim, normalize=False, method="fft" if method == REFERENCE else method)
    layer.build([maps.shape for maps in inputs])
    pool = textbook(layer) if method == REFERENCE else layer

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            pooled = pool(inputs)
            loss = tf.nn.l2_loss(pooled)
        return pooled, tape.gradient(loss, list(inputs))

    return step


def measure_peak(method: str | None, output_dim: int, sizes: tuple, steps: int = 3) -> float:
    """Most memory in MB of a process that takes a few steps; without a method, of one that only makes the inputs."""
    inputs = make_inputs(*sizes)
    if method:
        step = training_step(method, output_dim, inputs)
        for _ in range(steps):
            step()
    return peak_mb()


def run_benchmark(
    batch_size: int = 16,
    height: int = 8,
    width: int = 4,
    first_channels: int = 2048,
    second_channels: int = 57,
    output_dim: int = 8192,
    repeats: int = 7,
    seed: int = 0,
) -> dict:
    """Times all in turn, compares their numbers, prints a table and one JSON line, and returns what it printed."""
    sizes = (batch_size, height, width, (first_channels, second_channels), seed)
    inputs = make_inputs(*sizes)
    steps = {method: training_step(method, output_dim, inputs) for method in METHODS}
    results = {method: step() for method, step in steps.items()}  # also traces
    seconds = {method: [] for method in METHODS}
    for _ in range(repeats):
        for method, step in steps.items():
            seconds[method].append(timed(lambda: [part.numpy() for part in tf.nest.flatten(step())])[0])  # noqa: B023
    medians = {method: statistics.median(times) for method, times in seconds.items()}
    differences = {method: largest_difference(results[method], results[REFERENCE]) for method in METHODS[:-1]}
    peaks = {}
    for method in (None, *METHODS):
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # a process each, so that the peak is its own
            peaks[method] = pool.apply(measure_peak, (method, output_dim, sizes))
    result = {
        "benchmark": "compact_bilinear",
        "ours_s": medians["fft"],
        "reference_s": medians[REFERENCE],
        "speedup": medians[REFERENCE] / medians["fft"],
        "peak_mb": peaks["fft"],
        "outer_product_s": medians["outer_product"],
        "outer_product_speedup": medians[REFERENCE] / medians["outer_product"],
        "outer_product_peak_mb": peaks["outer_product"],
        "reference_peak_mb": peaks[REFERENCE],
        "process_mb": peaks[None],
        "largest_difference": max(differences.values()),
        "batch_size": batch_size,
        "grid": f"{height}x{width}",
        "channels": f"{first_channels} and {second_channels}",
        "output_dim": output_dim,
        "cores": os.cpu_count(),
    }
    shape = f"{height}x{width}x{first_channels} with {height}x{width}x{second_channels} to {output_dim}"
    print(f"batch {batch_size}, {shape}, forward and backward, {os.cpu_count()} cores, median of {repeats}")
    print(f"{'':15}{'seconds':>10}{'speedup':>10}{'peak MB':>10}{'above TensorFlow and inputs':>30}")
    for method in METHODS:
        speedup, above = medians[REFERENCE] / medians[method], peaks[method] - peaks[None]
        print(f"{method:15}{medians[method]:10.4f}{speedup:10.1f}{peaks[method]:10.0f}{above:30.0f}")
    print(f"largest difference to the textbook, relative to the largest number: {max(differences.values()):.1e}")
    print(json.dumps(result))
    return result


def largest_difference(ours: list, reference: list) -> float:
    """Over the pooled vectors and both slopes, each relative to its largest number."""
    pairs = zip(tf.nest.flatten(ours), tf.nest.flatten(reference), strict=True)
    return max(float(tf.reduce_max(tf.abs(a - b)) / tf.reduce_max(tf.abs(b))) for a, b in pairs)


def main() -> None:
    run_benchmark(
        FLAGS.batch_size,
        FLAGS.height,
        FLAGS.width,
        FLAGS.first_channels,
        FLAGS.second_channels,
        FLAGS.output_dim,
        FLAGS.repeats,
        FLAGS.seed,
    )


if __name__ == "__main__":
    from lrdnn_base import command

    flags.DEFINE_integer("batch_size", 16, "Images.", lower_bound=1)
    flags.DEFINE_integer("height", 8, "Rows of the grid; the default is ResNet-50's at 256x128.", lower_bound=1)
    flags.DEFINE_integer("width", 4, "Columns of the grid.", lower_bound=1)
    flags.DEFINE_integer("first_channels", 2048, "Channels of F.", lower_bound=1)
    flags.DEFINE_integer("second_channels", 57, "Pose maps.", lower_bound=1)
    flags.DEFINE_integer("output_dim", 8192, "Length of the descriptor.", lower_bound=1)
    flags.DEFINE_integer("repeats", 7, "Steps of each, of which the median counts.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the inputs.")
    command.run(main)
