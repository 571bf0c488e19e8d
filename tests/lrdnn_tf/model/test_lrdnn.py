import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from data_prep.market1501 import TASKS as MARKET1501
from lrdnn_base.errors import InputError
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.model.lrdnn import POSE_BRANCH, PoolToGrid, PositionMaps, build_model

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
    "LRDNN, block after alignment": {"pose_maps": "both", "channel_parse_order": "after"},
    "LRDNN on pool5": {"pose_maps": "both", "fuse": "pool5"},
    "positions": {"pose_maps": "positions", "channel_parse": False},
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
    assert (POSE_BRANCH in [layer.name for layer in model.layers]) == config.has_pose_branch


def layers_from_pose_maps(**options) -> list[str]:
    """The layers that the pose maps pass, in their order."""
    model = build_model(dataclasses.replace(SMALL, pose_maps="both", **options))
    steps = {"pose_maps", "align_pose_maps", "channel_parse", "pose_pool", "compact_bilinear"}
    return [layer.name for layer in model.layers if layer.name in steps]


def test_the_steps_of_the_fusion_have_the_order_of_the_options():
    after = ["pose_maps", "align_pose_maps", "channel_parse", "pose_pool", "compact_bilinear"]
    before = ["pose_maps", "channel_parse", "align_pose_maps", "pose_pool", "compact_bilinear"]
    assert layers_from_pose_maps(channel_parse_order="after") == after
    assert layers_from_pose_maps(channel_parse_order="before") == before
    assert layers_from_pose_maps(channel_parse=False) == [name for name in after if name != "channel_parse"]
    # Section 4.3: the BatchNorm comes after pool5.
    pool5 = ["pose_maps", "channel_parse", "pose_pool", "align_pose_maps", "compact_bilinear"]
    assert layers_from_pose_maps(fuse="pool5", channel_parse_order="before") == pool5


@pytest.mark.parametrize("fuse", ["maps", "pool5"])
def test_alignment_brings_maps_of_any_variance_to_one_scale(fuse):
    """Affinity maps of a pretrained network have variances down to 1e-4; F's is near 1."""
    model = build_model(dataclasses.replace(SMALL, pose_maps="both", fuse=fuse))
    align = model.get_layer("align_pose_maps")
    shape = [512, *align.input.shape[1:]]
    scales = np.geomspace(1e-2, 10, shape[-1])  # a standard deviation of 1e-2 is a variance of 1e-4
    maps = np.random.default_rng(0).normal(size=shape) * scales + 0.3
    for _ in range(150):  # settles the moving statistics
        align(maps.astype(np.float32), training=True)
    aligned = align(maps.astype(np.float32)).numpy()
    np.testing.assert_allclose(aligned.std((0, 1, 2)), 1, atol=0.06)
    np.testing.assert_allclose(aligned.mean((0, 1, 2)), 0, atol=0.01)


def test_both_branches_of_pooled_fusion_enter_the_bilinear_layer_at_one_scale(images):
    model = build_model(dataclasses.replace(SMALL, pose_maps="both", fuse="pool5", channel_parse=False))
    inputs = keras.Model(model.input, model.get_layer("compact_bilinear").input)
    random = np.random.default_rng(0)
    batch = random.uniform(0, 255, (32, 1, 1, 3)) + random.normal(size=(32, 64, 32, 3)) * 20
    features, maps = inputs(batch.astype(np.float32), training=True)
    assert 0.5 < np.std(features) / np.std(maps) < 2


def test_position_maps_are_one_at_one_position_each():
    maps = PositionMaps()(tf.zeros([2, 4, 3, 7])).numpy()
    assert maps.shape == (2, 4, 3, 12)
    np.testing.assert_array_equal(maps[0].reshape(12, 12), np.eye(12))
    np.testing.assert_array_equal(maps[0], maps[1])


@pytest.mark.parametrize("option", [{"channel_parse": True}, {"channel_parse": False, "fuse": "pool5"}])
def test_position_maps_are_refused_where_they_say_nothing(option):
    with pytest.raises(InputError, match="positions"):
        dataclasses.replace(SMALL, pose_maps="positions", **option)


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
    assert {"channel_reduce", "channel_weights", "align_features", "align_pose_maps"} <= learned


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
    pooled = (5, 3) if fuse == "maps" else (1, 1)
    assert model.get_layer("align_features").output.shape[1:3] == pooled
    assert model.get_layer(POSE_BRANCH).output[-1].shape[1:3] == (9, 5)
    assert model.get_layer("pose_pool").output.shape[1:3] == pooled
    images = np.random.default_rng(0).uniform(0, 255, (2, 70, 37, 3)).astype(np.float32)
    assert np.isfinite(model(images)["embedding"]).all()


@pytest.mark.parametrize("wrong", [{"backbone": "vgg"}, {"pose_maps": "all"}, {"fuse": "sum"}, {"identities": 0}])
def test_an_invalid_option_is_refused_by_name(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        dataclasses.replace(SMALL, **wrong)
