"""Compact bilinear pooling of two inputs by Tensor Sketch.

Gao et al., "Compact Bilinear Pooling" (CVPR 2016); two inputs as in Fukui et al., "Multimodal Compact Bilinear
Pooling" (EMNLP 2016). The count sketch of an outer product is the circular convolution of the count sketches of its
factors (Pham and Pagh, KDD 2013), which is a product in the frequency domain.
"""

import numpy as np
import tensorflow as tf
import tf_keras as keras

from lrdnn_tf.config import BILINEAR_METHODS

# Bounds the gradient of the signed square root at 0 (by 100), and with it the amplification of the FFT's rounding
# errors, which are all that an empty bucket contains. Components of aligned maps are 1 and more.
_SQUARE_ROOT_EPSILON = 1e-4
# Lower bound of the squared norm, which bounds the gradient of the normalization (by 1000).
_SQUARED_NORM_EPSILON = 1e-6
# If a sketch is longer than its input by this factor, adding single elements is faster than transposing the input.
_FEW_CHANNELS = 16


@keras.utils.register_keras_serializable("lrdnn_tf")
class CompactBilinearPooling(keras.layers.Layer):
    """Fuses two sets of maps on one grid into one vector of length output_dim per image.

    The vector is a sketch of the sum over positions p of the outer product x_p y_p^T: inner products of two outputs
    (before normalization) estimate the sum over p, q of <x_p, x'_q><y_p, y'_q>. The layer computes in float32 under
    every precision policy.

    Args:
        output_dim: Length of the descriptor. The paper does not give it; Gao et al. use 8192.
        seed: Seed of the hash functions, which are stored with the weights.
        normalize: Whether to apply the signed square root and L2 normalization, as Gao et al. do.
        method: Algorithm. Results differ by rounding only, and weights fit both.
            "fft": products of the spectra of count sketches, summed over positions before one inverse transform per
            image. Its cost is proportional to h * w * output_dim.
            "outer_product": the sum of the outer products, as one matrix product, which is then scattered into the
            sketch. Its cost is proportional to C1 * C2.
            Measured on a CPU for 8192: outer products are faster for 2048 and 57 channels (2 times on a grid of 8x4,
            20 times on 16x8) and for 512 and 256; the FFT is faster for 512 and 512 (2 times) and for 2048 and 512
            (30 times). They are equally fast where C1 * C2 is about h * w * output_dim.
            `experiments/benchmarks/compact_bilinear.py` measures any size.

    Inputs: float [B, h, w, C1] and [B, h, w, C2]. Output: float32 [B, output_dim].

    Raises:
        ValueError: The method does not exist, or the inputs have different grids.
    """

    def __init__(self, output_dim: int = 8192, seed: int = 0, normalize: bool = True, method: str = "fft", **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        if method not in BILINEAR_METHODS:
            raise ValueError(f"method={method!r} is not one of {', '.join(BILINEAR_METHODS)}")
        self.output_dim = output_dim
        self.seed = seed
        self.normalize = normalize
        self.method = method

    def build(self, input_shapes):
        first, second = input_shapes
        if first[1:3] != second[1:3]:
            raise ValueError(f"the two inputs must share one grid, got {first[1:3]} and {second[1:3]}")
        generator = np.random.default_rng(self.seed)
        self.hashes = [
            self._add_hash(shape[-1], name, generator) for shape, name in ((first, "first"), (second, "second"))
        ]
        super().build(input_shapes)

    def _add_hash(self, channels: int, name: str, generator: np.random.Generator) -> tuple[tf.Variable, tf.Variable]:
        """Adds the weights of a hash: the bucket (int32) and the sign (float32) of each channel, [channels] each."""
        buckets = generator.integers(0, self.output_dim, channels, dtype=np.int32)
        signs = generator.choice(np.float32([-1, 1]), channels)
        return tuple(
            self.add_weight(
                f"{name}_{kind}", [channels], value.dtype, keras.initializers.Constant(value), trainable=False
            )
            for kind, value in (("buckets", buckets), ("signs", signs))
        )

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        positions = inputs[0].shape[1] * inputs[0].shape[2]
        signed = [
            tf.reshape(maps, [-1, positions, maps.shape[3]]) * signs
            for maps, (_, signs) in zip(inputs, self.hashes, strict=True)
        ]
        buckets = [buckets for buckets, _ in self.hashes]
        pool = _pool_spectra if self.method == "fft" else _pool_outer_products
        pooled = pool(signed, buckets, self.output_dim)
        return _signed_root_unit(pooled) if self.normalize else pooled

    def get_config(self):
        return super().get_config() | {
            "output_dim": self.output_dim,
            "seed": self.seed,
            "normalize": self.normalize,
            "method": self.method,
        }


def _pool_spectra(signed: list[tf.Tensor], buckets: list[tf.Tensor], size: int) -> tf.Tensor:
    """Sums the circular convolutions of two count sketches over positions.

    Args:
        signed: Two inputs times their signs, float32 [B, positions, channels] each.
        buckets: The bucket of each of their channels, int32 [channels] each.
        size: Length of a sketch.

    Returns:
        float32 [B, size].
    """
    buckets = [tf.convert_to_tensor(indices) for indices in buckets]

    def inverse(spectrum: tf.Tensor) -> tf.Tensor:
        return tf.signal.irfft(spectrum, fft_length=[size])

    # The gradient of a convolution is a correlation, that is, a convolution with the reversed upstream gradient: the
    # spectrum of the latter is conjugated once, and the result is read in reversed order. TensorFlow's own gradient of
    # rfft makes several more passes over all positions.
    @tf.custom_gradient
    def pool(first: tf.Tensor, second: tf.Tensor):
        spectra = [tf.signal.rfft(_scatter(*each, size)) for each in zip((first, second), buckets, strict=True)]

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            spectrum = tf.math.conj(tf.signal.rfft(upstream))[:, None]
            others = zip(buckets, reversed(spectra), strict=True)
            return [_gather(inverse(spectrum * other), -indices % size) for indices, other in others]

        return inverse(tf.reduce_sum(spectra[0] * spectra[1], axis=1)), gradient

    return pool(*signed)


def _pool_outer_products(signed: list[tf.Tensor], buckets: list[tf.Tensor], size: int) -> tf.Tensor:
    """Like `_pool_spectra`, by adding entry (i, j) of the summed outer products to the sum of both buckets."""
    summed = tf.matmul(*signed, transpose_a=True)
    indices = (buckets[0][:, None] + buckets[1]) % size
    entries = indices.shape[0] * indices.shape[1]
    return _scatter(tf.reshape(summed, [-1, entries]), tf.reshape(indices, [entries]), size)


def _scatter(values: tf.Tensor, buckets: tf.Tensor, size: int) -> tf.Tensor:
    """Sums values by bucket over their last axis: [..., channels] to [..., size]."""
    channels, leading = values.shape[-1], values.shape[1:-1]
    if channels < size // _FEW_CHANNELS:
        rows = tf.size(values) // channels
        indices = tf.range(rows)[:, None] * size + buckets
        sums = tf.math.unsorted_segment_sum(tf.reshape(values, [-1]), tf.reshape(indices, [-1]), rows * size)
    else:
        by_channel = tf.transpose(tf.reshape(values, [-1, channels]))
        sums = tf.transpose(tf.math.unsorted_segment_sum(by_channel, buckets, size))
    return tf.reshape(sums, [-1, *leading, size])


def _gather(sketches: tf.Tensor, buckets: tf.Tensor) -> tf.Tensor:
    """Reads each channel's bucket, the transpose of `_scatter`: [..., size] to [..., channels]."""
    size, channels = sketches.shape[-1], buckets.shape[0]
    if channels < size // _FEW_CHANNELS:
        return tf.gather(sketches, buckets, axis=-1)
    by_bucket = tf.transpose(tf.reshape(sketches, [-1, size]))
    return tf.reshape(tf.transpose(tf.gather(by_bucket, buckets)), [-1, *sketches.shape[1:-1], channels])


def _signed_root_unit(x: tf.Tensor) -> tf.Tensor:
    root = x * tf.math.rsqrt(tf.abs(x) + _SQUARE_ROOT_EPSILON)
    return tf.math.l2_normalize(root, axis=-1, epsilon=_SQUARED_NORM_EPSILON)
