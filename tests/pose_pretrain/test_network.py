import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from lrdnn_base.errors import InputError
from pose_pretrain.network import (
    build_pose_network,
    load_imagenet_weights,
    load_pose_network,
    save_pose_network,
)

VGG_CONVOLUTIONS = [f"block{b}_conv{c}" for b, count in ((1, 2), (2, 2), (3, 4), (4, 2)) for c in range(1, count + 1)]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (2, 64, 32, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def narrow():
    return build_pose_network(64, 32, 0.125)


@pytest.fixture(scope="module")
def full():
    return build_pose_network(None, None)


def vgg_input(images):
    return keras.applications.vgg19.preprocess_input(images.copy())


def test_six_maps_at_one_eighth_of_the_input_size(narrow, images):
    maps = narrow(images)
    assert [tuple(m.shape) for m in maps] == [(2, 8, 4, 19), (2, 8, 4, 38)] * 3
    assert all(m.dtype == tf.float32 for m in maps)


def test_full_network_is_openpose(full):
    convolutions = [layer for layer in full.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 12 + 2 * 5 + 2 * 2 * 7
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in full.layers)
    kernels = {stage: {c.kernel_size[0] for c in convolutions if f"stage{stage}_" in c.name} for stage in (1, 2, 3)}
    assert kernels == {1: {3, 1}, 2: {7, 1}, 3: {7, 1}}
    assert full.get_layer("pose_stage2_confidence_conv1").input_shape[-1] == 128 + 19 + 38


def test_layer_names_do_not_depend_on_earlier_networks(narrow):
    again = [layer.name for layer in build_pose_network(128, 128, 0.125).layers]
    assert again == [layer.name for layer in narrow.layers]


def test_maps_are_float32_under_mixed_precision(images):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        maps = build_pose_network(64, 32, 0.125)(images)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert all(m.dtype == tf.float32 for m in maps)


def test_preprocessing_equals_that_of_vgg(images):
    layer = build_pose_network(64, 32, 0.125).get_layer("pose_preprocessing")
    np.testing.assert_allclose(layer(images), vgg_input(images), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("whole_model", [False, True])
def test_vgg_weights_are_copied_from_a_file(full, tmp_path, whole_model):
    vgg = keras.applications.VGG19(include_top=False, weights=None)
    path = str(tmp_path / "vgg.h5")
    vgg.save(path) if whole_model else vgg.save_weights(path)
    load_imagenet_weights(full, path)
    for name in VGG_CONVOLUTIONS:
        for copied, original in zip(full.get_layer(name).weights, vgg.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(copied, original, err_msg=name)


def test_features_equal_those_of_vgg(full, tmp_path, images):
    vgg = keras.applications.VGG19(include_top=False, weights=None)
    path = str(tmp_path / "vgg.h5")
    vgg.save_weights(path)
    load_imagenet_weights(full, path)
    features = keras.Model(full.input, full.get_layer("block4_conv2_relu").output)(images)
    expected = keras.Model(vgg.input, vgg.get_layer("block4_conv2").output)(vgg_input(images))
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-3)


def test_unusable_vgg_weights_are_refused_with_the_reason(full, narrow, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="pose_width=1"):
        load_imagenet_weights(narrow, "imagenet")
    with pytest.raises(InputError, match="no file"):
        load_imagenet_weights(full, str(tmp_path / "missing.h5"))
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(InputError, match="does not hold"):
        load_imagenet_weights(full, str(tmp_path / "text.h5"))
    keras.Sequential([keras.layers.Dense(1, input_shape=(1,))]).save_weights(tmp_path / "other.h5")
    with pytest.raises(InputError, match="block1_conv1"):
        load_imagenet_weights(full, str(tmp_path / "other.h5"))

    def offline(**_):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "VGG19", offline)
    with pytest.raises(InputError, match=r"URL fetch failure.*--imagenet_weights=PATH"):
        load_imagenet_weights(full, "imagenet")


def test_none_changes_nothing(narrow):
    before = [w.numpy() for w in narrow.weights]
    load_imagenet_weights(narrow, "none")
    for old, new in zip(before, narrow.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_saved_network_loads_at_another_size(narrow, images, tmp_path):
    for w in narrow.weights:  # different from the initial values, including moving statistics
        w.assign(w + 0.01)
    save_pose_network(narrow, tmp_path / "pose", {"pose_width": 0.125, "note": "kept"})
    assert json.loads((tmp_path / "pose" / "config.json").read_text())["note"] == "kept"
    assert sorted(path.name for path in (tmp_path / "pose").iterdir()) == ["config.json", "model.weights.h5"]
    wide = load_pose_network(tmp_path / "pose", 64, 64)
    same = load_pose_network(tmp_path / "pose", None, None)
    assert wide.input_shape == (None, 64, 64, 3)
    for one, other in zip(same(images), narrow(images), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    for one, other in zip(wide.weights, narrow.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_missing_and_corrupted_networks_are_refused(narrow, tmp_path):
    with pytest.raises(InputError, match="pretrain_pose"):
        load_pose_network(tmp_path, 64, 32)
    save_pose_network(narrow, tmp_path, {"pose_width": 0.125})
    (tmp_path / "model.weights.h5").write_bytes(b"torn")
    with pytest.raises(InputError, match="corrupted, train it again"):
        load_pose_network(tmp_path, 64, 32)
    save_pose_network(narrow, tmp_path, {"note": "no width"})
    with pytest.raises(InputError, match=r"config\.json is corrupted, it has no pose_width"):
        load_pose_network(tmp_path, 64, 32)
    save_pose_network(narrow, tmp_path, {"pose_width": 0.5})
    with pytest.raises(InputError, match="corrupted, train it again"):
        load_pose_network(tmp_path, 64, 32)


@pytest.mark.parametrize("size", [(0, 64), (64, 60), (-8, 8)])
def test_sizes_that_are_no_multiple_of_the_stride_are_refused(size):
    with pytest.raises(InputError, match="multiple of 8"):
        build_pose_network(*size, 0.125)


def test_pose_width_must_be_above_zero():
    with pytest.raises(InputError, match="pose_width"):
        build_pose_network(64, 64, 0)
