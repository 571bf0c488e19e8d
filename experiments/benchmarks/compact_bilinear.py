"""Compact bilinear pooling, forward and backward: both of our methods beside the textbook formulation.

The textbook formulation multiplies by a sparse sketch matrix, and applies the inverse FFT at every position before it
sums over the positions.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf

from experiments.benchmarks.compare import compare, run_as_command
from lrdnn_tf.model.compact_bilinear import CompactBilinearPooling

_TEXTBOOK = "textbook"
Inputs = tuple[tf.Tensor, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the inputs and of the result: ResNet-50's feature map at 256x128, and all pose maps."""

    batch_size: int = 16
    height: int = 8
    width: int = 4
    first_channels: int = 2048
    second_channels: int = 57
    output_dim: int = 8192


RESNET50 = Sizes()


def make_inputs(sizes: Sizes) -> Inputs:
    """Two random maps on one grid: float32 [B, height, width, C1] and [B, height, width, C2]."""
    rng = np.random.default_rng(0)
    grid = (sizes.batch_size, sizes.height, sizes.width)
    shapes = [(*grid, channels) for channels in (sizes.first_channels, sizes.second_channels)]
    return tuple(tf.constant(rng.normal(size=shape).astype(np.float32)) for shape in shapes)


def textbook(layer: CompactBilinearPooling) -> Callable[[Inputs], tf.Tensor]:
    """The reference: the same function as a built layer, as the papers' public implementations compute it."""
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


def prepare(method: str, sizes: Sizes) -> Callable[[], list[np.ndarray]]:
    """A training step: returns the pooled vectors, and the gradients of half their squared norm for both inputs."""
    inputs = make_inputs(sizes)
    layer = CompactBilinearPooling(sizes.output_dim, normalize=False, method="fft" if method == _TEXTBOOK else method)
    layer.build([maps.shape for maps in inputs])
    pool = textbook(layer) if method == _TEXTBOOK else layer

    @tf.function
    def step() -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            pooled = pool(inputs)
            loss = tf.nn.l2_loss(pooled)
        return pooled, *tape.gradient(loss, list(inputs))

    return lambda: [part.numpy() for part in step()]


def prepare_inputs_only(sizes: Sizes) -> Callable[[], Inputs]:
    return partial(make_inputs, sizes)


def run_benchmark(sizes: Sizes = RESNET50, repeats: int = 7) -> dict:
    """Compares the time, the memory and the numbers; `process_mb` is the memory of TensorFlow and the inputs alone."""
    comparison = compare(
        "compact_bilinear",
        partial(prepare, "fft", sizes),
        partial(prepare, _TEXTBOOK, sizes),
        {"outer_product": partial(prepare, "outer_product", sizes)},
        repeats=repeats,
        warm_up=1,  # traces the graph
        own_processes=True,
    )
    inputs_only = compare("inputs", partial(prepare_inputs_only, sizes), own_processes=True)
    results = comparison.results
    differences = [largest_difference(results[ours], results["reference"]) for ours in ("ours", "outer_product")]
    return comparison.report(
        process_mb=inputs_only.peaks_mb["ours"], largest_difference=max(differences), **dataclasses.asdict(sizes)
    )


def largest_difference(ours: list[np.ndarray], reference: list[np.ndarray]) -> float:
    """Largest difference of the pooled vectors and both gradients, each relative to its largest absolute value."""
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours, reference, strict=True))


if __name__ == "__main__":
    run_as_command(run_benchmark)
