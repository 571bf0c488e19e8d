import pathlib

import numpy as np
import pytest
import tf_keras as keras

import lrdnn_tf.model.backbones
from lrdnn_base.errors import InputError
from lrdnn_tf.config import BACKBONES, ModelConfig
from lrdnn_tf.model.lrdnn import build_model
from lrdnn_tf.model.main_branch import load_imagenet_weights, main_branch


def test_each_backbone_is_a_module_and_a_name_in_the_table():
    files = pathlib.Path(lrdnn_tf.model.backbones.__file__).parent.glob("*.py")
    assert {file.stem for file in files} - {"__init__"} == set(BACKBONES)


@pytest.mark.parametrize(
    ("backbone", "application", "layers"),
    [
        pytest.param(
            "resnet50",
            keras.applications.ResNet50,
            ("conv1_conv", "conv3_block2_2_conv", "conv5_block3_3_bn"),
            marks=pytest.mark.slow,
        ),
        ("mobilenet_v2", keras.applications.MobileNetV2, ("Conv1", "block_13_depthwise", "Conv_1_bn")),
    ],
)
def test_imagenet_weights_are_read_from_a_weights_file_of_keras(backbone, application, layers, tmp_path):
    source = application(include_top=False, weights=None)
    source.save_weights(tmp_path / "notop.h5")
    model = build_model(ModelConfig(identities=3, height=64, width=32, backbone=backbone))
    load_imagenet_weights(model, backbone, str(tmp_path / "notop.h5"))
    for name in layers:
        for copied, original in zip(model.get_layer(name).weights, source.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(copied, original)


def test_a_missing_weights_file_is_named(tmp_path):
    model = build_model(ModelConfig(identities=3, height=64, width=32, backbone="small"))
    with pytest.raises(InputError, match=r"no file .*weights\.h5"):
        load_imagenet_weights(model, "resnet50", str(tmp_path / "weights.h5"))


@pytest.mark.parametrize(
    ("backbone", "stride"), [("small", 16), ("mobilenet_v2", 32), pytest.param("resnet50", 32, marks=pytest.mark.slow)]
)
def test_last_stride_1_doubles_the_size_of_maps_and_keeps_the_weights(backbone, stride):
    images = keras.Input([64, 32, 3])
    usual, denser = (keras.Model(images, main_branch(images, backbone, last_stride)) for last_stride in (2, 1))
    assert usual.output_shape[1:3] == (64 // stride, 32 // stride)
    assert denser.output_shape[1:3] == (2 * 64 // stride, 2 * 32 // stride)
    assert [weight.name for weight in denser.weights] == [weight.name for weight in usual.weights]
    assert [weight.shape for weight in denser.weights] == [weight.shape for weight in usual.weights]
    # Keras' MobileNetV2 has 0.999: a third of an average would be older than 1,000 steps.
    assert max(layer.momentum for network in (usual, denser) for layer in norms(network)) <= 0.99


def norms(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]


def test_at_last_stride_1_mobilenet_v2_computes_what_stride_2_computes_and_the_positions_between():
    keras.utils.set_random_seed(0)
    images = keras.Input([64, 32, 3])
    usual, denser = (keras.Model(images, main_branch(images, "mobilenet_v2", last_stride)) for last_stride in (2, 1))
    denser.set_weights(usual.get_weights())
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 64, 32, 3))
    coarse, fine = (
        keras.Model(images, network.get_layer("block_13_depthwise").output)(pixels, training=True).numpy()
        for network in (usual, denser)  # in training mode, since untrained averages of BatchNorms leave nearly 0
    )
    assert coarse.std() > 0.01
    np.testing.assert_allclose(fine[:, 1::2, 1::2], coarse, atol=1e-5)
