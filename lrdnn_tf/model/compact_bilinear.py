"""Compact bilinear pooling of two inputs by Tensor Sketch.

Gao et al., "Compact Bilinear Pooling" (CVPR 2016); two inputs as in Fukui et al., "Multimodal Compact
Bilinear Pooling" (EMNLP 2016). The count sketch of an outer product is the circular convolution of the
count sketches of its factors (Pham and Pagh, 2013), which is a product in the frequency domain.
"""

import numpy as np
import tensorflow as tf
import tf_keras as keras

# Below this a component counts as zero: keeps the slope of the signed square root at 0 finite (1000).
_SQUARE_ROOT_EPSILON = 1e-6


@keras.utils.register_keras_serializable("lrdnn_tf")
class CompactBilinearPooling(keras.layers.Layer):
    """Fuses two sets of maps on one grid into one vector of length output_dim per image.

    It sketches the sum over positions p of the outer product x_p y_p^T, without forming it: inner
    products of two outputs (before normalization) estimate the sum over p, q of <x_p, x'_q><y_p, y'_q>.
    The products are summed over positions in the frequency domain, so that there is one inverse
    transform per image instead of one per position. Computes in float32 under every precision policy.

    Args:
        output_dim: Length of the descriptor; the paper does not say, Gao et al. use 8192.
        seed: Seed of the hash functions, which are stored with the weights.
        normalize: Signed square root, then L2 norm, as Gao et al. do.

    Inputs: [B, h, w, C1] and [B, h, w, C2]. Output: float32 [B, output_dim].
    """

    def __init__(self, output_dim: int = 8192, seed: int = 0, normalize: bool = True, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        self.output_dim = output_dim
        self.seed = seed
        self.normalize = normalize

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
        """Where each channel is added in the sketch (int32), and with which sign (float32): [channels] each."""
        buckets = generator.integers(0, self.output_dim, channels, dtype=np.int32)
        signs = generator.choice(np.float32([-1, 1]), channels)
        return tuple(
            self.add_weight(
                f"{name}_{kind}", [channels], value.dtype, keras.initializers.Constant(value), trainable=False
            )
            for kind, value in (("buckets", buckets), ("signs", signs))
        )

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        first, second = (self._spectrum(maps, *hash_) for maps, hash_ in zip(inputs, self.hashes, strict=True))
        summed = tf.reduce_sum(first * second, axis=1)
        pooled = tf.signal.irfft(summed, fft_length=[self.output_dim])
        return _signed_root_unit(pooled) if self.normalize else pooled

    def _spectrum(self, maps: tf.Tensor, buckets: tf.Tensor, signs: tf.Tensor) -> tf.Tensor:
        """Fourier transform of the count sketch at each position: complex64 [B, h * w, output_dim // 2 + 1]."""
        positions, channels = maps.shape[1] * maps.shape[2], maps.shape[3]
        by_channel = tf.transpose(tf.reshape(maps, [-1, channels]) * signs)
        sketch = tf.transpose(tf.math.unsorted_segment_sum(by_channel, buckets, self.output_dim))
        return tf.signal.rfft(tf.reshape(sketch, [-1, positions, self.output_dim]))

    def get_config(self):
        return super().get_config() | {"output_dim": self.output_dim, "seed": self.seed, "normalize": self.normalize}


def _signed_root_unit(x: tf.Tensor) -> tf.Tensor:
    return tf.math.l2_normalize(x * tf.math.rsqrt(tf.abs(x) + _SQUARE_ROOT_EPSILON), axis=-1)
