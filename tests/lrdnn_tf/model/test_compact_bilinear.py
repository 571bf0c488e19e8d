import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from lrdnn_tf.config import BILINEAR_METHODS
from lrdnn_tf.model.compact_bilinear import CompactBilinearPooling


def maps(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def reference_sketch(x: np.ndarray, buckets: np.ndarray, signs: np.ndarray, size: int) -> np.ndarray:
    sketch = np.zeros(size)
    for value, bucket, sign in zip(x, buckets, signs, strict=True):
        sketch[bucket] += sign * value
    return sketch


def reference_pooling(layer: CompactBilinearPooling, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Computes the sum over positions of the circular convolution of both count sketches, term by term."""
    (first, second), size = layer.hashes, layer.output_dim
    pooled = np.zeros(size)
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            a = reference_sketch(x[row, column], *(v.numpy() for v in first), size)
            b = reference_sketch(y[row, column], *(v.numpy() for v in second), size)
            for k in range(size):
                pooled[k] += sum(a[j] * b[(k - j) % size] for j in range(size))
    return pooled


@pytest.mark.parametrize("method", BILINEAR_METHODS)
@pytest.mark.parametrize("size", [16, 17, 120])  # 120: much longer than the inputs
def test_is_the_circular_convolution_of_the_count_sketches(size, method):
    layer = CompactBilinearPooling(size, seed=3, normalize=False, method=method)
    x, y = maps(2, 2, 3, 7), maps(2, 2, 3, 5)
    pooled = layer([x, y]).numpy()
    for image in range(2):
        np.testing.assert_allclose(pooled[image], reference_pooling(layer, x[image], y[image]), atol=1e-4)


def test_inner_products_estimate_the_bilinear_kernel_without_bias():
    """The mean over hash seeds is the sum over p, q of <x_p, x'_q><y_p, y'_q>."""
    x, y = maps(1, 2, 1, 12), maps(1, 2, 1, 6)
    x2, y2 = x + 0.3 * maps(1, 2, 1, 12, seed=1), y + 0.3 * maps(1, 2, 1, 6, seed=1)
    kernel = float(np.sum(np.einsum("pc,qc->pq", x[0, :, 0], x2[0, :, 0]) * (y[0, :, 0] @ y2[0, :, 0].T)))
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


@pytest.mark.parametrize("method", BILINEAR_METHODS)
@pytest.mark.parametrize("normalize", [False, True])
def test_gradients_agree_with_finite_differences(normalize, method):
    layer = CompactBilinearPooling(8, normalize=normalize, method=method)
    x, y, direction = maps(1, 3, 2, 5), maps(1, 3, 2, 4), maps(8)

    def value(x, y):
        return tf.reduce_sum(layer([x, y]) * direction)

    # The square root is strongly curved near 0; with this seed, no component of the pooled vector is near 0.
    assert np.abs(CompactBilinearPooling(8, normalize=False)([x, y])).min() > 0.1
    theoretical, numerical = tf.test.compute_gradient(value, [x, y], delta=1e-3)
    for exact, estimate in zip(theoretical, numerical, strict=True):
        np.testing.assert_allclose(exact, estimate, atol=1e-2)


def value_and_gradients(
    layer: CompactBilinearPooling, x: np.ndarray, y: np.ndarray, jit_compile: bool
) -> list[np.ndarray]:
    direction = maps(len(x), layer.output_dim)

    @tf.function(jit_compile=jit_compile)
    def run(x, y):
        with tf.GradientTape() as tape:
            tape.watch([x, y])
            pooled = layer([x, y])
            loss = tf.reduce_sum(pooled * direction)
        return pooled, *tape.gradient(loss, [x, y])

    return [part.numpy() for part in run(tf.constant(x), tf.constant(y))]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(("normalize", "tolerance"), [(False, 1e-5), (True, 1e-3)])  # the square root is steep near 0
def test_both_methods_give_the_same_values_and_gradients_also_compiled(jit_compile, normalize, tolerance):
    x, y = maps(3, 4, 2, 40), maps(3, 4, 2, 5)
    pooled, *gradients = value_and_gradients(CompactBilinearPooling(256, 5, normalize), x, y, jit_compile=False)
    for method in BILINEAR_METHODS:
        layer = CompactBilinearPooling(256, 5, normalize, method)
        other_pooled, *other_gradients = value_and_gradients(layer, x, y, jit_compile)
        np.testing.assert_allclose(other_pooled, pooled, atol=1e-5 * max(1, np.abs(pooled).max()))
        for one, other in zip(other_gradients, gradients, strict=True):
            np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("method", BILINEAR_METHODS)
def test_an_exported_model_gives_the_same_values_and_gradients_at_any_batch_size(method, tmp_path):
    inputs = keras.Input([2, 2, 8]), keras.Input([2, 2, 4])
    model = keras.Model(inputs, CompactBilinearPooling(64, seed=2, method=method)(inputs))
    model.save(tmp_path / "model")
    exported = tf.saved_model.load(tmp_path / "model")
    for batch in (1, 5):
        x, y = tf.constant(maps(batch, 2, 2, 8)), tf.constant(maps(batch, 2, 2, 4))
        results = []
        for function in (model, exported):
            with tf.GradientTape() as tape:
                tape.watch(x)
                pooled = function((x, y), training=False)
                loss = tf.reduce_sum(pooled[:, :32])
            results.append((pooled.numpy(), tape.gradient(loss, x).numpy()))
        for one, other in zip(*results, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_layer_built_from_its_config_is_equal():
    layer = CompactBilinearPooling(64, seed=4, normalize=False, method="outer_product")
    again = CompactBilinearPooling.from_config(layer.get_config())
    inputs = [maps(2, 2, 2, 8), maps(2, 2, 2, 4)]
    np.testing.assert_array_equal(again(inputs), layer(inputs))
    assert again.get_config() == layer.get_config()


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="'ftt' is not one of fft, outer_product"):
        CompactBilinearPooling(64, method="ftt")


def test_normalized_descriptor_has_unit_length_and_finite_gradient_at_zero():
    layer = CompactBilinearPooling(64)
    assert np.linalg.norm(layer([maps(3, 2, 2, 8), maps(3, 2, 2, 4)]), axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    x = tf.zeros([1, 2, 2, 8])
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer([x, maps(1, 2, 2, 4)]))
    gradient = tape.gradient(loss, x)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() < 1e7  # factors of 100 and 1000, times the sum of 4 maps over 4 positions


def test_hashes_depend_on_the_seed_and_are_saved_with_the_weights(tmp_path):
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


def test_inputs_of_different_grids_are_refused():
    with pytest.raises(ValueError, match="one grid"):
        CompactBilinearPooling(64)([maps(1, 2, 2, 8), maps(1, 4, 2, 4)])
