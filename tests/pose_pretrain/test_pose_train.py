import json
import os

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from lrdnn_base.callbacks import Checkpoints
from lrdnn_base.devices import Runtime
from lrdnn_base.errors import InputError
from lrdnn_base.run_folder import locked
from pose_pretrain import train
from pose_pretrain.network import build_pose_network, load_pose_network
from pose_pretrain.pipeline import training_batches
from pose_pretrain.train import PoseConfig, pretrain, report_run

CONFIG = PoseConfig(
    height=32, width=32, pose_width=0.125, imagenet_weights="none", epochs=8, batch_size=4, learning_rate=2e-3
)
STREAM_LOSSES = [f"pose_stage{stage}_{stream}_loss" for stage in (1, 2, 3) for stream in ("confidence", "affinity")]


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def trained(pose_dataset, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "_SECONDS_BETWEEN_OVERLAYS", 0)
        return run_dir, pretrain(pose_dataset, run_dir, CONFIG)


def weights_of(network):
    return np.concatenate([weight.numpy().ravel() for weight in network.weights])


def test_training_lowers_the_loss_and_logs_its_parts(trained):
    metrics = pd.read_csv(trained[0] / "pose" / "metrics.csv")
    assert metrics["epoch"].tolist() == list(range(1, 9))
    assert metrics["loss"].iloc[-1] < 0.9 * metrics["loss"].iloc[0]
    np.testing.assert_allclose(metrics[STREAM_LOSSES].sum(axis=1), metrics["loss"], rtol=1e-4)
    np.testing.assert_allclose(metrics["learning_rate"], 2e-3 * 0.96 ** np.arange(8), rtol=1e-5)


def test_files_of_a_trained_run(trained):
    pose_dir = trained[0] / "pose"
    assert json.loads((pose_dir / "config.json").read_text())["pose_width"] == 0.125
    assert any((pose_dir / "tensorboard").rglob("events*"))
    np.testing.assert_array_equal(weights_of(load_pose_network(pose_dir, 64, 32)), weights_of(trained[1]))


def test_tensorboard_has_a_curve_per_stream_and_overlays(trained):
    tags = set()
    for file in (trained[0] / "pose" / "tensorboard").rglob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            tags |= {value.tag for value in event.summary.value}
    assert {f"epoch_{name}" for name in ("loss", *STREAM_LOSSES)} <= tags
    assert "people" in tags  # the overlays


def test_loss_is_equations_3_and_4_at_all_three_stages(pose_dataset):
    network = build_pose_network(32, 32, 0.125)
    network.compile(loss=[train.map_loss] * 6)
    images, maps = next(iter(training_batches(pose_dataset, 32, 32, 11, seed=0)))
    weight = maps["weight"].numpy()
    assert 0 < weight.mean() < 1
    predicted = [values.numpy() for values in network(images, training=False)]
    streams = [maps["confidence"].numpy(), maps["affinity"].numpy()] * 3
    expected = [(weight * (a - b) ** 2).sum() / len(images) for a, b in zip(predicted, streams, strict=True)]
    for_fit = tf.data.Dataset.from_tensors(train._for_fit(images, maps))
    losses = network.evaluate(for_fit, verbose=0, return_dict=True)
    np.testing.assert_allclose([losses[name] for name in STREAM_LOSSES], expected, rtol=1e-4)
    np.testing.assert_allclose(losses["loss"], sum(expected), rtol=1e-4)


def test_a_trained_run_is_not_trained_again(trained, pose_dataset, monkeypatch, capsys):
    monkeypatch.setattr(train, "training_batches", None)
    network = pretrain(pose_dataset, trained[0], CONFIG)
    assert "already trained" in capsys.readouterr().out
    np.testing.assert_array_equal(weights_of(network), weights_of(trained[1]))


@pytest.mark.slow
def test_a_killed_run_resumes_and_ends_with_the_same_weights(trained, pose_dataset, tmp_path, monkeypatch):
    save = Checkpoints.on_epoch_end

    def killed_after_two_epochs(self, epoch, logs=None):
        save(self, epoch, logs)
        if epoch == 1:
            raise Killed

    monkeypatch.setattr(Checkpoints, "on_epoch_end", killed_after_two_epochs)
    with pytest.raises(Killed):
        pretrain(pose_dataset, tmp_path, CONFIG, Runtime(checkpoint_seconds=0))
    with pytest.raises(InputError, match="weights"):
        load_pose_network(tmp_path / "pose", 32, 32)  # an incomplete training is not loaded

    monkeypatch.undo()
    network = pretrain(pose_dataset, tmp_path, CONFIG)
    assert pd.read_csv(tmp_path / "pose" / "metrics.csv")["epoch"].tolist() == list(range(1, 9))
    np.testing.assert_array_equal(weights_of(network), weights_of(trained[1]))


def test_another_config_is_refused(trained, pose_dataset):
    other = PoseConfig(**(vars(CONFIG) | {"learning_rate": 1.0}))
    with pytest.raises(InputError, match=r"learning_rate 0\.002 there, 1\.0 here"):
        pretrain(pose_dataset, trained[0], other)


def test_a_second_pretraining_in_the_same_folder_is_refused_and_touches_nothing(pose_dataset, tmp_path):
    with locked(tmp_path / "pose", Runtime()):
        with pytest.raises(InputError, match=f"process {os.getpid()} .* trains here already"):
            pretrain(pose_dataset, tmp_path, CONFIG)
        assert [path.name for path in (tmp_path / "pose").iterdir()] == ["training.lock"]


def test_report_run_writes_scores_and_pictures(trained, pose_dataset, capsys):
    run_dir, network = trained
    scores = report_run(network, pose_dataset, run_dir, CONFIG)
    stored = json.loads((run_dir / "pose" / "scores.json").read_text())
    assert stored["pck"] == scores.pck and stored["AP"] == scores.oks["AP"]
    assert len(pd.read_csv(run_dir / "pose" / "keypoints.csv")) == 18
    assert "PCK@0.2" in capsys.readouterr().out
    pictures = list((run_dir / "pose" / "pictures").glob("val_*.png"))
    assert pictures and cv2.imread(str(pictures[0])).shape == (256, 4 * 256, 3)


@pytest.mark.parametrize("field", ["epochs", "batch_size", "learning_rate", "decay", "limb_width", "sigma"])
def test_options_must_be_above_zero(field):
    with pytest.raises(InputError, match=field):
        PoseConfig(**{field: 0})
