import numpy as np
import pytest

from experiments.damage_pose import damage_pose
from lrdnn_base.errors import InputError
from pose_pretrain.network import build_pose_network, load_pose_network, save_pose_network


@pytest.fixture(scope="module")
def pose_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "pose"
    network = build_pose_network(None, None, 0.1)
    generator = np.random.default_rng(0)
    network.set_weights([generator.normal(size=weights.shape) for weights in network.get_weights()])
    save_pose_network(network, path, {"pose_width": 0.1})
    return path


def layers(folder):
    return {layer.name: layer.get_weights() for layer in load_pose_network(folder, None, None).layers}


def test_shuffling_permutes_the_values_of_each_weight_tensor(pose_dir, tmp_path):
    damage_pose(pose_dir, "shuffled", tmp_path / "out")
    before, after = layers(pose_dir), layers(tmp_path / "out")
    for name, weights in before.items():
        for one, other in zip(weights, after[name], strict=True):
            np.testing.assert_array_equal(np.sort(one, axis=None), np.sort(other, axis=None))
            assert one.size < 20 or not np.array_equal(one, other), name


def test_only_the_last_stage_is_reinitialized(pose_dir, tmp_path):
    damage_pose(pose_dir, "last_stage", tmp_path / "out")
    before, after = layers(pose_dir), layers(tmp_path / "out")
    changed = {
        name
        for name, weights in before.items()
        if any(not np.array_equal(one, other) for one, other in zip(weights, after[name], strict=True))
    }
    assert changed == {name for name, weights in before.items() if name.startswith("pose_stage3_") and weights}


def test_the_same_seed_gives_the_same_weights(pose_dir, tmp_path):
    for number in range(2):
        damage_pose(pose_dir, "last_stage", tmp_path / str(number), seed=3)
    one, other = layers(tmp_path / "0"), layers(tmp_path / "1")
    for name, weights in one.items():
        for a, b in zip(weights, other[name], strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_unknown_damage_lists_the_known_ones(pose_dir, tmp_path):
    with pytest.raises(InputError, match="'burnt' is not one of shuffled, last_stage"):
        damage_pose(pose_dir, "burnt", tmp_path / "out")
