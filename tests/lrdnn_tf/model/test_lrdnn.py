import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from data_prep.market1501 import TASKS as MARKET1501
from lrdnn_base.errors import InputError
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.model.channel_parse import ChannelParse
from lrdnn_tf.model.lrdnn import POSE_BRANCH, PoolToGrid, build_model

SMALL = ModelConfig(
    identities=5, attributes=MARKET1501, height=64, width=32, backbone="small", pose_width=0.1, bilinear_dim=128
)
ABLATION = {
    "B": {"attributes": ()},
    "B+A": {},
    "B+A+H": {"pose_maps": "confidence"},
    "B+A+C": {"pose_maps": "affinity"},
    "B+A+H+C without CPB": {"pose_maps": "both", "channel_parse": False},
    "LRDNN": {"pose_maps": "both"},
    "LRDNN on pool5": {"pose_maps": "both", "fuse": "pool5"},
}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, 64, 32, 3)).astype(np.float32)


@pytest.mark.parametrize("row", ABLATION)
def test_every_row_of_the_ablation_has_a_head_per_task(row, images):
    config = dataclasses.replace(SMALL, **ABLATION[row])
    model = build_model(config)
    outputs = model(images)
    heads = {"identity": 5} | {task.name: len(task.classes) for task in config.attributes}
    assert {name: outputs[name].shape[1] for name in heads} == heads
    assert set(outputs) == {"embedding", *heads}
    assert outputs["embedding"].shape[1] == (256 if config.pose_maps == "none" else 128)
    fused = {layer.name for layer in model.layers} & {"align_confidence", "align_affinity", "channel_parse"}
    assert (
        fused
        == {
            "B": set(),
            "B+A": set(),
            "B+A+H": {"align_confidence", "channel_parse"},
            "B+A+C": {"align_affinity", "channel_parse"},
            "B+A+H+C without CPB": {"align_confidence", "align_affinity"},
            "LRDNN": {"align_confidence", "align_affinity", "channel_parse"},
            "LRDNN on pool5": {"align_confidence", "align_affinity", "channel_parse"},
        }[row]
    )


def test_all_parts_of_lrdnn_receive_gradients(images):
    model = build_model(dataclasses.replace(SMALL, pose_maps="both"))
    with tf.GradientTape() as tape:
        # The embedding is part of the loss, since classifiers with initial weights of 0 pass no gradient back.
        outputs = model(images, training=True)
        loss = tf.reduce_sum(outputs["embedding"] ** 3) + tf.reduce_sum(outputs["identity"])
    gradients = dict(
        zip((v.name for v in model.trainable_variables), tape.gradient(loss, model.trainable_variables), strict=True)
    )
    for part in ("stem_conv/kernel:0", "block1_conv1/kernel:0", "identity_classifier/kernel:0"):
        assert np.abs(gradients[part]).max() > 0, part
    learned = {name.split("/")[0] for name, gradient in gradients.items() if gradient is not None}
    assert {"channel_parse", "align_features", "align_confidence", "align_affinity"} <= learned


def test_initial_classifiers_pass_no_gradient_to_the_trained_network(images):
    model = build_model(dataclasses.replace(SMALL, pose_maps="both"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.log_softmax(model(images, training=True)["identity"])[:, 0])
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        is_classifier = variable.name.startswith("identity_classifier")
        assert gradient is None or (np.abs(gradient).max() > 0) == is_classifier, variable.name


@pytest.mark.slow
def test_the_network_of_the_paper_has_the_shapes_of_the_paper():
    model = build_model(ModelConfig(identities=751, attributes=MARKET1501, pose_maps="both"))
    assert model.get_layer("align_features").output.shape[1:] == (8, 4, 2048)
    assert [maps.shape[1:] for maps in model.get_layer(POSE_BRANCH).output[-2:]] == [(32, 16, 19), (32, 16, 38)]
    assert model.get_layer("compact_bilinear").output.shape[1:] == (8192,)
    assert model.get_layer("identity_classifier").kernel.shape == (1, 1, 8192, 751)


def test_outputs_are_float32_under_mixed_precision(images):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = build_model(dataclasses.replace(SMALL, pose_maps="both"))
        outputs = model(images)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert {output.dtype for output in outputs.values()} == {tf.float32}
    assert model.get_layer("stem_conv").compute_dtype == "float16"


def test_channel_parse_scales_each_channel_by_its_weight():
    maps = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 3, 57)).astype(np.float32))
    block = ChannelParse(reduction=4)
    parsed = block(maps)
    weights = block.channel_weights(maps)
    assert weights.shape == (2, 1, 1, 57)
    assert block.squeeze.filters == 14
    assert 0 < np.min(weights) <= np.max(weights) < 1
    np.testing.assert_allclose(parsed, maps * weights)
    # The weights depend on the mean of each channel only: rearranging positions does not change them.
    np.testing.assert_allclose(block.channel_weights(maps[:, ::-1, ::-1]), weights, rtol=1e-5)


def test_pooling_to_a_divisor_of_the_grid_is_average_pooling():
    maps = np.random.default_rng(0).normal(size=(2, 16, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(PoolToGrid(8, 4)(maps), keras.layers.AveragePooling2D(2)(maps), atol=1e-6)


@pytest.mark.parametrize(("rows", "columns"), [(10, 7), (8, 4), (23, 5)])
def test_pooling_to_any_grid_keeps_the_mean(rows, columns):
    maps = np.random.default_rng(0).normal(size=(2, rows, columns, 3)).astype(np.float32)
    pooled = PoolToGrid(8, 4)(maps).numpy()
    assert pooled.shape == (2, 8, 4, 3)
    np.testing.assert_allclose(pooled.mean((1, 2)), maps.mean((1, 2)), atol=1e-5)


@pytest.mark.parametrize("fuse", ["maps", "pool5"])
def test_fusion_supports_inputs_of_any_size(fuse):
    config = dataclasses.replace(SMALL, height=70, width=37, pose_maps="both", fuse=fuse)
    model = build_model(config)
    assert model.get_layer("align_features").output.shape[1:3] == (5, 3)
    assert model.get_layer(POSE_BRANCH).output[-1].shape[1:3] == (9, 5)
    assert model.get_layer("pose_pool").output.shape[1:3] == ((5, 3) if fuse == "maps" else (1, 1))
    images = np.random.default_rng(0).uniform(0, 255, (2, 70, 37, 3)).astype(np.float32)
    assert np.isfinite(model(images)["embedding"]).all()


@pytest.mark.parametrize("wrong", [{"backbone": "vgg"}, {"pose_maps": "all"}, {"fuse": "sum"}, {"identities": 0}])
def test_an_invalid_option_is_refused_by_name(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        dataclasses.replace(SMALL, **wrong)
