import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from lrdnn_tf.config import CHANNEL_PARSE_SQUEEZES, ModelConfig
from lrdnn_tf.model.channel_parse import CHANNEL_WEIGHTS, Squeeze, channel_parse

CONFIG = ModelConfig(identities=5)
REFERENCES = {
    "mean": lambda maps: maps.mean((1, 2)),
    "max": lambda maps: maps.max((1, 2)),
    "rms": lambda maps: np.sqrt((maps**2).mean((1, 2))),
}


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(16, 4, 3, 57)).astype(np.float32)


def block(**options) -> keras.Model:
    """The block alone, from maps to parsed maps and weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input([4, 3, 57])
    outputs = channel_parse(inputs, dataclasses.replace(CONFIG, **options))
    return keras.Model(inputs, [outputs, keras.Model(inputs, outputs).get_layer(CHANNEL_WEIGHTS).output])


@pytest.mark.parametrize("squeeze", CHANNEL_PARSE_SQUEEZES)
@pytest.mark.parametrize("normalize", [False, True])
def test_each_channel_is_scaled_by_its_weight(maps, squeeze, normalize):
    model = block(channel_parse_squeeze=squeeze, channel_parse_normalize=normalize)
    parsed, weights = model(maps)
    assert weights.shape == (16, 1, 1, 57)
    assert 0 < np.min(weights) <= np.max(weights) < 1
    np.testing.assert_allclose(parsed, maps * weights, rtol=1e-6)
    rearranged = model(maps[:, ::-1, ::-1])[1]
    np.testing.assert_allclose(rearranged, weights, rtol=1e-4, err_msg="the weights depend on positions")


def test_the_reduction_decides_the_width_of_the_bottleneck():
    assert block(channel_parse_reduction=4).get_layer("channel_reduce").filters == 14


@pytest.mark.parametrize("statistic", CHANNEL_PARSE_SQUEEZES)
def test_squeezed_maps_equal_the_statistic(maps, statistic):
    squeezed = Squeeze(statistic)(maps)
    assert squeezed.shape == (16, 1, 1, 57)
    np.testing.assert_allclose(squeezed[:, 0, 0], REFERENCES[statistic](maps), atol=1e-6)


def test_the_gradient_of_the_root_mean_square_is_finite_for_an_empty_map():
    maps = tf.zeros([1, 4, 3, 2])
    with tf.GradientTape() as tape:
        tape.watch(maps)
        squeezed = Squeeze("rms")(maps)
    assert np.isfinite(tape.gradient(squeezed, maps)).all()


def test_an_unknown_statistic_is_refused():
    with pytest.raises(ValueError, match="median"):
        Squeeze("median")


@pytest.mark.parametrize("squeeze", CHANNEL_PARSE_SQUEEZES)
def test_normalized_weights_differ_between_images_whose_maps_hardly_do(squeeze):
    """Maps that a BatchNorm has centred are nearly alike when squeezed: from them, all images get the same weights."""
    maps = np.random.default_rng(0).normal(size=(64, 4, 3, 57)).astype(np.float32)
    maps = maps.mean((0, 1, 2)) + 0.02 * maps
    spreads = {}
    for normalize in (False, True):
        model = block(channel_parse_squeeze=squeeze, channel_parse_normalize=normalize)
        for _ in range(150):  # settles the moving statistics
            model(maps, training=True)
        spreads[normalize] = np.median(model(maps)[1].numpy().std(axis=0))
    assert spreads[True] > 0.05
    assert spreads[False] < 0.01
