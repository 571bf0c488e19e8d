import dataclasses

import cv2
import numpy as np
import pytest

from data_prep import from_folders
from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig, TrainingConfig
from lrdnn_tf.data.dataset import read_dataset
from lrdnn_tf.model.lrdnn import POSE_BRANCH, build_model
from lrdnn_tf.phases import starts_from
from lrdnn_tf.train import train
from lrdnn_tf.training.phase_config import phase_config
from lrdnn_tf.training.start_weights import load_start_weights
from lrdnn_tf.training.train_phase import train_phase
from pose_pretrain.network import build_pose_network, save_pose_network

ONE_EPOCH = TrainingConfig(epochs=1, batch_size=8)
SMALL = {"backbone": "small", "height": 64, "width": 32}


@pytest.fixture(scope="module")
def run_dir(tiny_dataset, tmp_path_factory):
    """A run with the identity phase and pose pretraining done."""
    run_dir = tmp_path_factory.mktemp("run")
    config = phase_config("identity", tiny_dataset, None, True, SMALL)
    train_phase("identity", tiny_dataset, run_dir, config, ONE_EPOCH)
    save_pose_network(build_pose_network(None, None, 0.1), run_dir / "pose", {"pose_width": 0.1})
    return run_dir


def test_the_order_of_the_phases():
    assert starts_from("identity", attributes=True) == "identity"  # of another run
    assert starts_from("attributes", attributes=True) == "identity"
    assert starts_from("fusion", attributes=True) == "attributes"
    assert starts_from("fusion", attributes=False) == "identity"


def test_attributes_inherits_the_network_and_takes_over_its_weights(tiny_dataset, run_dir):
    config = phase_config("attributes", tiny_dataset, run_dir, True, {})
    assert (config.backbone, config.height, config.width) == ("small", 64, 32)
    assert config.attributes == tiny_dataset.attributes
    model = build_model(config)
    load_start_weights(model, "attributes", config, run_dir, "none")
    identity, _ = runs.load_model(run_dir, "identity")
    for layer in identity.layers:
        for taken, original in zip(model.get_layer(layer.name).weights, layer.weights, strict=True):
            np.testing.assert_array_equal(taken, original)


def test_fusion_takes_main_branch_and_pose_network_and_starts_fresh_classifiers(tiny_dataset, run_dir):
    # 256 is also the length of the small backbone's pool5: only the name says that this classifier is another one.
    config = phase_config("fusion", tiny_dataset, run_dir, False, {"bilinear_dim": 256})
    assert config.pose_maps == "both"
    model = build_model(config)
    before = model.get_layer("identity_classifier").kernel.numpy()
    load_start_weights(model, "fusion", config, run_dir, "none")
    identity, _ = runs.load_model(run_dir, "identity")
    np.testing.assert_array_equal(model.get_layer("stem_conv").kernel, identity.get_layer("stem_conv").kernel)
    np.testing.assert_array_equal(model.get_layer("identity_classifier").kernel, before)
    pose = build_pose_network(None, None, 0.1)
    pose.load_weights(next((run_dir / "pose").glob("*.weights.h5")))
    for taken, original in zip(model.get_layer(POSE_BRANCH).get_weights(), pose.get_weights(), strict=True):
        np.testing.assert_array_equal(taken, original)


def test_a_missing_earlier_phase_is_named_with_its_command(tiny_dataset, run_dir, tmp_path):
    with pytest.raises(InputError, match=r"no attributes phase .* --phase=attributes"):
        phase_config("fusion", tiny_dataset, run_dir, True, {})
    with pytest.raises(InputError, match=r"no pose network .* lrdnn_tf.pretrain_pose"):
        phase_config("fusion", tiny_dataset, tmp_path, True, {})


def test_a_phase_of_another_size_or_dataset_is_refused(tiny_dataset, run_dir):
    with pytest.raises(InputError, match="--height=128 differs from the identity phase's 64"):
        phase_config("attributes", tiny_dataset, run_dir, True, {"height": 128})
    other = dataclasses.replace(tiny_dataset, identities=(1, 2, 3))
    with pytest.raises(InputError, match="3 training identities, the identity phase was trained on 8"):
        phase_config("attributes", other, run_dir, True, {})


def test_attributes_need_labels(tiny_dataset, run_dir):
    unlabelled = dataclasses.replace(tiny_dataset, attributes=())
    with pytest.raises(InputError, match="has no labels, convert it with --attributes"):
        phase_config("attributes", unlabelled, run_dir, True, {})


@pytest.mark.parametrize("people", ["the same people", "other people"])
def test_the_identity_phase_starts_from_that_of_another_run(tiny_dataset, run_dir, tmp_path, people, capsys):
    dataset = tiny_dataset
    if people == "other people":
        raw = tmp_path / "raw"
        for number in range(6):
            for image in range(2):
                (raw / f"person{number}").mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng([number, image]).integers(0, 256, (64, 32, 3), np.uint8)
                cv2.imwrite(str(raw / f"person{number}" / f"{image}.png"), pixels)
        from_folders.convert(raw, tmp_path / "data")
        dataset = read_dataset(tmp_path / "data")
    options = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-20, "decay": 1.0, "projector_images": 0}
    train("identity", tmp_path / "run", dataset.path, start_from=str(run_dir), **options)
    before, _ = runs.load_model(run_dir, "identity")
    after, config = runs.load_model(tmp_path / "run", "identity")
    assert (config.backbone, config.height, config.identities) == ("small", 64, len(dataset.identities))
    np.testing.assert_array_equal(after.get_layer("stem_conv").kernel, before.get_layer("stem_conv").kernel)
    classifiers = [model.get_layer("identity_classifier").kernel.numpy() for model in (before, after)]
    assert (classifiers[0].shape == classifiers[1].shape) == (people == "the same people")
    assert (np.abs(classifiers[1]).max() > 1e-6) == (people == "the same people")  # fresh classifiers start at zero
    words = "all weights from" if people == "the same people" else "all weights but those of the classifiers"
    assert f"identity: {words}" in capsys.readouterr().out
    recorded = runs.read_config(tmp_path / "run", "identity")
    assert (recorded["start_from"], recorded["training"]["imagenet_weights"]) == (str(run_dir), "none")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"imagenet_weights": "none"}, "--imagenet_weights has no effect with --start_from in the identity phase"),
        ({"backbone": "mobilenet_v2"}, "--backbone=mobilenet_v2 differs from the identity phase's small"),
        ({"start_from": "nowhere"}, "no identity phase in nowhere"),
    ],
)
def test_a_start_that_does_not_fit_is_named(tiny_dataset, run_dir, tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        train("identity", tmp_path / "run", tiny_dataset.path, **{"start_from": str(run_dir)} | options)
    assert not (tmp_path / "run").exists()


def test_the_papers_schedule_and_input_are_the_defaults(tiny_dataset, tmp_path):
    config = phase_config("identity", tiny_dataset, None, True, {})
    assert config == ModelConfig(identities=8, height=256, width=128, backbone="resnet50", pose_maps="none")
    training = TrainingConfig(epochs=100)
    assert (training.learning_rate, training.decay, training.batch_size) == (1e-4, 0.96, 32)


@pytest.mark.parametrize(
    ("phase", "option"),
    [
        *((phase, option) for phase in ("identity", "attributes") for option in (
            {"pose_maps": "both"}, {"fuse": "maps"}, {"bilinear_dim": 64}, {"bilinear_seed": 0},
            {"bilinear_method": "fft"}, {"channel_parse": True}, {"channel_parse_reduction": 4},
            {"channel_parse_squeeze": "rms"}, {"channel_parse_normalize": True}, {"channel_parse_order": "after"},
            {"freeze_pose": True}, {"pose_dir": "pose"},
        )),
        *((phase, {"imagenet_weights": "none"}) for phase in ("attributes", "fusion")),
        *(("identity", option) for option in ({"attribute_weight": 1.0}, {"attributes": True})),
    ],
)  # fmt: skip
def test_an_option_without_effect_is_refused(tiny_dataset, run_dir, phase, option):
    (name,) = option
    with pytest.raises(InputError, match=f"--{name} has no effect in the {phase} phase, only in .*: leave it out"):
        train(phase, run_dir, tiny_dataset.path, **option)


@pytest.mark.parametrize("option", [{"pose_dir": "pose"}, {"freeze_pose": True}])
def test_fixed_maps_take_no_pose_network(tiny_dataset, run_dir, option):
    (name,) = option
    fixed = {"attributes": False, "pose_maps": "positions"}
    with pytest.raises(InputError, match=f"--{name} has no effect with --pose_maps=positions"):
        train("fusion", run_dir, tiny_dataset.path, **fixed, **option)


def test_fixed_maps_are_fused_without_a_pose_network(tiny_dataset, run_dir, tmp_path):
    options = {"attributes": False, "pose_maps": "positions", "bilinear_dim": 64, "epochs": 1, "batch_size": 8}
    train("fusion", tmp_path, tiny_dataset.path, start_from=str(run_dir), projector_images=0, **options)
    model, config = runs.load_model(tmp_path, "fusion")
    assert not config.has_pose_branch and POSE_BRANCH not in [layer.name for layer in model.layers]


def test_imagenet_weights_of_a_backbone_without_any_are_refused(tiny_dataset, tmp_path):
    with pytest.raises(InputError, match="--imagenet_weights: there are none for --backbone=small"):
        train("identity", tmp_path, tiny_dataset.path, backbone="small", imagenet_weights="imagenet")


def test_an_option_that_does_not_exist_is_named(tiny_dataset, tmp_path):
    with pytest.raises(InputError, match="no option learning_rates"):
        train("identity", tmp_path, tiny_dataset.path, learning_rates=1)


def test_a_notebook_trains_with_plain_arguments(tiny_dataset, tmp_path):
    options = SMALL | {"epochs": 1, "batch_size": 8, "projector_images": 0, "evaluate_every": 1}
    weights = train("identity", tmp_path, tiny_dataset.path, **options)
    assert weights == runs.weights_path(tmp_path, "identity") and weights.is_file()
    runs.load_model(tmp_path, "identity", "best")
