import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from lrdnn_tf.model.compact_bilinear import CompactBilinearPooling


def maps(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def reference_sketch(x: np.ndarray, buckets: np.ndarray, signs: np.ndarray, size: int) -> np.ndarray:
    sketch = np.zeros(size)
    for value, bucket, sign in zip(x, buckets, signs, strict=True):
        sketch[bucket] += sign * value
    return sketch


def reference_pooling(layer: CompactBilinearPooling, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sum over positions of the circular convolution of both count sketches, term by term."""
    (first, second), size = layer.hashes, layer.output_dim
    pooled = np.zeros(size)
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            a = reference_sketch(x[row, column], *(v.numpy() for v in first), size)
            b = reference_sketch(y[row, column], *(v.numpy() for v in second), size)
            for k in range(size):
                pooled[k] += sum(a[j] * b[(k - j) % size] for j in range(size))
    return pooled


@pytest.mark.parametrize("size", [16, 17])
def test_is_the_circular_convolution_of_the_count_sketches(size):
    layer = CompactBilinearPooling(size, seed=3, normalize=False)
    x, y = maps(2, 2, 3, 7), maps(2, 2, 3, 5)
    pooled = layer([x, y]).numpy()
    for image in range(2):
        np.testing.assert_allclose(pooled[image], reference_pooling(layer, x[image], y[image]), atol=1e-4)


def test_inner_products_estimate_the_bilinear_kernel_without_bias():
    x, y = maps(1, 1, 1, 12), maps(1, 1, 1, 6)
    x2, y2 = x + 0.3 * maps(1, 1, 1, 12, seed=1), y + 0.3 * maps(1, 1, 1, 6, seed=1)
    kernel = float(np.sum(x * x2) * np.sum(y * y2))
    spread = {}
    for size in (64, 1024):
        estimates = []
        for seed in range(60):
            layer = CompactBilinearPooling(size, seed, normalize=False)
            estimates.append(float(tf.reduce_sum(layer([x, y]) * layer([x2, y2]))))
        standard_error = np.std(estimates) / np.sqrt(len(estimates))
        assert abs(np.mean(estimates) - kernel) < 4 * standard_error
        spread[size] = np.std(estimates)
    assert spread[1024] < spread[64] / 2  # theory: a quarter


@pytest.mark.parametrize("normalize", [False, True])
def test_gradients_agree_with_finite_differences(normalize):
    layer = CompactBilinearPooling(8, normalize=normalize)
    x, y, direction = maps(1, 3, 2, 5), maps(1, 3, 2, 4), maps(8)

    def value(x, y):
        return tf.reduce_sum(layer([x, y]) * direction)

    # The square root bends sharply near 0: at this seed no component of the pooled vector is there.
    assert np.abs(CompactBilinearPooling(8, normalize=False)([x, y])).min() > 0.1
    theoretical, numerical = tf.test.compute_gradient(value, [x, y], delta=1e-3)
    for exact, estimate in zip(theoretical, numerical, strict=True):
        np.testing.assert_allclose(exact, estimate, atol=1e-2)


def test_normalized_descriptor_has_unit_length_and_finite_slope_at_zero():
    layer = CompactBilinearPooling(64)
    assert np.linalg.norm(layer([maps(3, 2, 2, 8), maps(3, 2, 2, 4)]), axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    x = tf.zeros([1, 2, 2, 8])
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer([x, maps(1, 2, 2, 4)]))
    assert np.isfinite(tape.gradient(loss, x)).all()


def test_hashes_follow_the_seed_and_travel_with_the_weights(tmp_path):
    def model(seed: int) -> keras.Model:
        inputs = keras.Input([2, 2, 8]), keras.Input([2, 2, 4])
        return keras.Model(inputs, CompactBilinearPooling(64, seed)(inputs))

    inputs = [maps(1, 2, 2, 8), maps(1, 2, 2, 4)]
    first, same, other = model(1), model(1), model(2)
    np.testing.assert_array_equal(first(inputs), same(inputs))
    assert not np.allclose(first(inputs), other(inputs))
    first.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(first(inputs), other(inputs))


def test_computes_in_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        layer = CompactBilinearPooling(64)
        assert layer([tf.cast(maps(1, 2, 2, 8), tf.float16), maps(1, 2, 2, 4)]).dtype == tf.float32
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_two_grids_are_refused():
    with pytest.raises(ValueError, match="one grid"):
        CompactBilinearPooling(64)([maps(1, 2, 2, 8), maps(1, 4, 2, 4)])
