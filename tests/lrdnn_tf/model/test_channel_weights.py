import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from lrdnn_tf.config import ModelConfig
from lrdnn_tf.model.channel_parse import CHANNEL_WEIGHTS
from lrdnn_tf.model.channel_weights import ChannelWeights, by_name, channel_names
from lrdnn_tf.model.lrdnn import build_model
from pose_pretrain.skeleton import KEYPOINTS, LIMB_NAMES


@pytest.mark.parametrize(("pose_maps", "count"), [("confidence", 19), ("affinity", 38), ("both", 57)])
def test_every_channel_has_a_name(pose_maps, count):
    names = channel_names(pose_maps)
    assert len(names) == count
    assert not names.duplicated().any()


def test_weights_are_listed_under_the_names_of_their_maps():
    config = ModelConfig(
        identities=5, height=64, width=32, backbone="small", pose_width=0.1, pose_maps="both", bilinear_dim=64
    )
    model = build_model(config)
    excite = model.get_layer(CHANNEL_WEIGHTS)
    excite.kernel.assign(tf.zeros_like(excite.kernel))
    bias = np.linspace(-2, 2, 57)
    excite.bias.assign(bias)
    images = np.random.default_rng(0).uniform(0, 255, (3, 64, 32, 3)).astype(np.float32)
    table = ChannelWeights(model, "both")(images)
    np.testing.assert_allclose(table["weight"], 1 / (1 + np.exp(-bias)), atol=1e-6)
    assert table["spread"].max() < 1e-6
    named = by_name(table)
    assert named["keypoint", "nose"] == pytest.approx(table["weight"][KEYPOINTS.index("nose")])
    assert named["keypoint", "background"] == pytest.approx(table["weight"][18])
    limb = LIMB_NAMES.index(("left_knee", "left_ankle"))
    both = table["weight"][19 + 2 * limb : 19 + 2 * limb + 2]
    assert named["limb", "left knee to left ankle"] == pytest.approx(both.mean())


def test_the_model_multiplies_its_maps_by_these_weights():
    config = ModelConfig(
        identities=5, height=64, width=32, backbone="small", pose_width=0.1, pose_maps="confidence", bilinear_dim=64
    )
    model = build_model(config)
    images = np.random.default_rng(0).uniform(0, 255, (1, 64, 32, 3)).astype(np.float32)
    block = model.get_layer("channel_parse")
    before, after = keras.Model(model.input, [block.input[0], block.output])(images)
    table = ChannelWeights(model, "confidence")(images)
    np.testing.assert_allclose(after, before * table["weight"].to_numpy(), rtol=1e-4, atol=1e-6)
