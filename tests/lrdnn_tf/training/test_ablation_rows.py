"""Every row of the paper's ablation trains, is evaluated, exported and loaded again; the fusions share one run."""

import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from lrdnn_base.devices import Runtime
from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.config import TrainingConfig
from lrdnn_tf.evaluate import evaluate
from lrdnn_tf.evaluation.results import Settings
from lrdnn_tf.export import export
from lrdnn_tf.model.lrdnn import POSE_BRANCH, build_model
from lrdnn_tf.training.phase_config import phase_config
from lrdnn_tf.training.start_weights import load_start_weights
from lrdnn_tf.training.train_phase import train_phase
from pose_pretrain.network import load_pose_network

TWO_STEPS = TrainingConfig(epochs=1, batch_size=12)
ROWS = {
    "B": ("identity", {}),
    "B+A": ("attributes", {}),
    "B+A+H": ("fusion", {"pose_maps": "confidence"}),
    "B+A+C": ("fusion", {"pose_maps": "affinity"}),
    "B+A+H+C without channel parsing": ("fusion", {"channel_parse": False}),
    "B+A+H+C (LRDNN)": ("fusion", {}),
    "B+A+H+C on pool5": ("fusion", {"fuse": "pool5", "bilinear_method": "outer_product"}),
}


def train(phase, dataset, run_dir, start_from, options, training=TWO_STEPS):
    sizes = {"identity": {"backbone": "small", "height": 64, "width": 32}, "fusion": {"bilinear_dim": 64}}
    config = phase_config(phase, dataset, start_from, True, sizes.get(phase, {}) | options)
    return train_phase(phase, dataset, run_dir, config, training, Runtime(checkpoint_seconds=0), start_from=start_from)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_a_row_trains_is_evaluated_exported_and_loaded(row, trained_run, tiny_dataset, tmp_path):
    phase, options = ROWS[row]
    run_dir = tmp_path / "row"
    train(phase, tiny_dataset, run_dir, None if phase == "identity" else trained_run, options)
    assert runs.trained_phases(run_dir) == [phase]

    summary = evaluate(run_dir, tiny_dataset.path, settings=Settings(k1=6, k2=2))
    assert summary["phases"][phase]["method"] == row
    assert 0 < summary["phases"][phase]["mAP"] <= 1
    assert (run_dir / "report/index.html").is_file()

    model, _ = runs.load_model(run_dir, phase)
    serve = tf.saved_model.load(export(run_dir, phase, tmp_path / "export")).signatures["embed_pixels"]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3), dtype=np.uint8)
    embedding = model(pixels.astype(np.float32), training=False)["embedding"]
    served = serve(pixels=tf.constant(pixels))["embedding"]
    np.testing.assert_allclose(served, tf.math.l2_normalize(embedding, axis=-1), atol=1e-5)


@pytest.mark.slow
def test_a_fusion_that_starts_from_another_run_resumes_after_a_kill(
    trained_run, tiny_dataset, tmp_path, monkeypatch, capsys
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    two_epochs = TrainingConfig(epochs=2, batch_size=12)
    train("fusion", tiny_dataset, whole, trained_run, {}, two_epochs)

    with monkeypatch.context() as patch:
        patch.setattr("lrdnn_tf.training.train_phase.save_trained", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train("fusion", tiny_dataset, broken, trained_run, {}, two_epochs)
    newest = sorted((broken / "fusion/checkpoints").glob("ckpt-4*"))
    assert newest
    for file in newest:
        file.unlink()
    train("fusion", tiny_dataset, broken, trained_run, {}, two_epochs)
    assert "resuming after epoch 1" in capsys.readouterr().out
    assert [path.name for path in broken.iterdir()] == ["fusion"]
    models = [runs.load_model(run_dir, "fusion")[0] for run_dir in (whole, broken)]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_frozen_pose_branch_stays_as_it_was_pretrained_and_the_rest_learns(trained_run, tiny_dataset, tmp_path):
    frozen = TrainingConfig(epochs=3, batch_size=12, learning_rate=1e-3, freeze_pose=True)
    train("fusion", tiny_dataset, tmp_path, trained_run, {}, frozen)
    assert [path.name for path in tmp_path.iterdir()] == ["fusion"]
    model, config = runs.load_model(tmp_path, "fusion")
    before = load_pose_network(trained_run / "pose", config.height, config.width).get_weights()
    for one, other in zip(before, model.get_layer(POSE_BRANCH).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    losses = pd.read_csv(tmp_path / "fusion/metrics.csv")["identity_loss"]
    assert losses.iloc[-1] < losses.iloc[0]
    curves = set()
    for file in (tmp_path / "fusion/tensorboard/channels").iterdir():
        curves |= {
            value.tag for event in tf.compat.v1.train.summary_iterator(str(file)) for value in event.summary.value
        }
    assert {"channel_weights_keypoint/nose", "channel_weights_limb/left_knee_to_left_ankle"} <= curves
    assert len(curves) == 19 + 19

    config = phase_config("fusion", tiny_dataset, trained_run, True, {"bilinear_dim": 64})
    with pytest.raises(InputError, match=r"start_from .* there, .*third"):
        train_phase("fusion", tiny_dataset, tmp_path, config, frozen, start_from=tmp_path / "third")


def test_the_pose_network_may_be_in_another_folder(trained_run, tiny_dataset, tmp_path):
    pose_dir = tmp_path / "elsewhere"
    shutil.copytree(trained_run / "pose", pose_dir)
    (tmp_path / "start").mkdir()
    for phase in ("identity", "attributes"):
        shutil.copytree(trained_run / phase, tmp_path / "start" / phase)
    with pytest.raises(InputError, match="no pose network"):
        phase_config("fusion", tiny_dataset, tmp_path / "start", True, {})
    config = phase_config("fusion", tiny_dataset, tmp_path / "start", True, {}, pose_dir)
    assert config.pose_width == 0.1
    model = build_model(config)
    load_start_weights(model, "fusion", config, tmp_path / "start", "none", pose_dir)
    expected = load_pose_network(pose_dir, config.height, config.width).get_weights()
    for one, other in zip(model.get_layer(POSE_BRANCH).get_weights(), expected, strict=True):
        np.testing.assert_array_equal(one, other)
