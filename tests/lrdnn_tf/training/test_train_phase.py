import dataclasses
import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from lrdnn_base.callbacks import Checkpoints
from lrdnn_base.devices import Runtime
from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.config import TrainingConfig
from lrdnn_tf.training import train_phase as module
from lrdnn_tf.training.phase_config import phase_config
from lrdnn_tf.training.train_phase import train_phase

SMALL = {"backbone": "small", "height": 64, "width": 32}
TRAINING = TrainingConfig(epochs=4, batch_size=8, learning_rate=1e-3)
EVERY_EPOCH = Runtime(checkpoint_seconds=0)


def train(dataset, run_dir, training=TRAINING, runtime=EVERY_EPOCH, **scoring):
    config = phase_config("identity", dataset, None, True, SMALL)
    return train_phase("identity", dataset, run_dir, config, training, runtime, **scoring)


def assert_same_weights(one_run, other_run):
    (one, _), (other, _) = (runs.load_model(run_dir, "identity") for run_dir in (one_run, other_run))
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def trained(tiny_dataset, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("trained")
    train(tiny_dataset, run_dir)
    return run_dir


def test_training_learns_and_records_it(trained):
    metrics = pd.read_csv(trained / "identity" / "metrics.csv")
    assert len(metrics) == 4
    assert metrics["identity_loss"].iloc[-1] < metrics["identity_loss"].iloc[0]
    assert list((trained / "identity" / "tensorboard").rglob("events*"))
    config = json.loads((trained / "identity" / "config.json").read_text())
    assert config["training"]["learning_rate"] == 1e-3
    assert config["dataset"]["name"] == "tiny"


def test_an_interrupted_run_ends_on_the_same_weights(tiny_dataset, trained, tmp_path, monkeypatch):
    class PowerCut(Exception):
        pass

    save = Checkpoints.on_epoch_end

    def save_then_fail(self, epoch, logs=None):
        save(self, epoch, logs)
        if epoch == 1:
            raise PowerCut

    monkeypatch.setattr(Checkpoints, "on_epoch_end", save_then_fail)
    with pytest.raises(PowerCut):
        train(tiny_dataset, tmp_path)
    assert runs.trained_phases(tmp_path) == []
    monkeypatch.undo()
    train(tiny_dataset, tmp_path)
    assert_same_weights(tmp_path, trained)


def test_an_incomplete_checkpoint_is_skipped_with_a_message(tiny_dataset, trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "run")
    runs.weights_path(tmp_path / "run", "identity").unlink()
    newest = tmp_path / "run/identity/checkpoints/ckpt-12.data-00000-of-00001"
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    train(tiny_dataset, tmp_path / "run")
    said = capsys.readouterr().out
    assert "ckpt-12: it is incomplete" in said
    assert "resuming after epoch 3" in said
    assert_same_weights(tmp_path / "run", trained)


def test_a_training_without_a_checkpoint_may_restart_with_other_flags(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "known_cross_entropy", lambda labels, logits: logits[:, 0] * np.nan)
    with pytest.raises(InputError, match="not a finite number"):
        train(tiny_dataset, tmp_path)
    monkeypatch.undo()
    assert train(tiny_dataset, tmp_path, TrainingConfig(epochs=1, batch_size=8, learning_rate=1e-4)).is_file()


@pytest.mark.parametrize("content", ["[]", '{"model": {}}', '{"model": {"identities": 8, "attributes": [], "new": 1}}'])
def test_a_damaged_config_is_named(trained, tmp_path, content):
    shutil.copytree(trained, tmp_path / "run")
    runs.config_path(tmp_path / "run", "identity").write_text(content)
    with pytest.raises(InputError, match=r"config\.json (is damaged|\(not a JSON object)"):
        runs.load_model(tmp_path / "run", "identity")


def test_a_finished_phase_is_not_trained_again(tiny_dataset, trained, capsys):
    before = runs.weights_path(trained, "identity").stat().st_mtime_ns
    train(tiny_dataset, trained)
    assert "already trained" in capsys.readouterr().out
    assert runs.weights_path(trained, "identity").stat().st_mtime_ns == before


def test_a_folder_of_another_config_is_refused_with_the_difference(tiny_dataset, trained):
    with pytest.raises(InputError, match="epochs 4 there, 5 here"):
        train(tiny_dataset, trained, TrainingConfig(epochs=5, batch_size=8, learning_rate=1e-3))


def test_a_loss_that_is_not_finite_stops_and_leaves_no_weights(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "known_cross_entropy", lambda labels, logits: logits[:, 0] * np.nan)
    with pytest.raises(InputError, match="identity_loss is not a finite number at step 1"):
        train(tiny_dataset, tmp_path)
    assert runs.trained_phases(tmp_path) == []


def test_a_batch_larger_than_the_dataset_is_refused(tiny_dataset, tmp_path):
    with pytest.raises(InputError, match="24 training images, not enough for --batch_size=32"):
        train(tiny_dataset, tmp_path, TrainingConfig(epochs=1, batch_size=32))
    assert not any(tmp_path.iterdir())


def test_a_dataset_with_one_training_identity_is_refused(tiny_dataset, tmp_path):
    alone = dataclasses.replace(tiny_dataset, identities=tiny_dataset.identities[:1])
    with pytest.raises(InputError, match=f"{tiny_dataset.path} has 1 training identity, and .* needs two or more"):
        train(alone, tmp_path)
    assert not any(tmp_path.iterdir())


def test_averaged_weights_are_scored_and_kept_and_training_stays_the_same(tiny_dataset, tmp_path):
    """After the last epoch, the average is what the phase ends with."""
    averaged = dataclasses.replace(TRAINING, epochs=2, ema=0.9)
    scored = []

    def score(model):
        scored.append(model.get_weights())
        return {"mAP": len(scored) / 10}

    train(tiny_dataset, tmp_path / "alone", averaged)
    train(tiny_dataset, tmp_path / "scored", averaged, score=score)
    assert_same_weights(tmp_path / "scored", tmp_path / "alone")
    model, _ = runs.load_model(tmp_path / "scored", "identity")
    final = model.get_weights()
    model.load_weights(tmp_path / "scored/identity/best.weights.h5")
    for last, best, end in zip(scored[1], model.get_weights(), final, strict=True):
        np.testing.assert_array_equal(last, end)
        np.testing.assert_array_equal(best, end)


def test_damaged_weights_are_named(tiny_dataset, tmp_path):
    train(tiny_dataset, tmp_path, TrainingConfig(epochs=1, batch_size=8))
    weights = runs.weights_path(tmp_path, "identity")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model\.weights\.h5 does not hold the weights"):
        runs.load_model(tmp_path, "identity")


def test_rate_falls_after_every_epoch(trained):
    rates = pd.read_csv(trained / "identity" / "metrics.csv")["learning_rate"].tolist()
    assert rates == pytest.approx([1e-3 * 0.96**epoch for epoch in range(4)])


def test_another_dataset_in_the_same_folder_is_refused(tiny_dataset, trained):
    shards = tuple(shard._replace(sha256="0" * 64) for shard in tiny_dataset.splits["train"].shards)
    split = dataclasses.replace(tiny_dataset.splits["train"], shards=shards)
    other = dataclasses.replace(tiny_dataset, splits=tiny_dataset.splits | {"train": split})
    with pytest.raises(InputError, match="dataset training_images"):
        train(other, trained)


def test_a_config_of_an_older_version_counts_as_the_same(tiny_dataset, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    path = runs.config_path(tmp_path / "run", "identity")
    config = json.loads(path.read_text())
    del config["training"]["random_erasing"]
    path.write_text(json.dumps(config))
    assert train(tiny_dataset, tmp_path / "run").is_file()


def test_weights_hold_no_optimizer_state(trained):
    weights = runs.weights_path(trained, "identity")
    model, _ = runs.load_model(trained, "identity")
    assert weights.stat().st_size < 1.5 * 4 * model.count_params()


@pytest.mark.parametrize(
    ("flag", "options"),
    [("--random_erasing", {"random_erasing": 0.5}), ("--triplet_weight", {"triplet_weight": 1.0})],
)
def test_a_recipe_without_addons_ends_before_the_training_starts(tiny_dataset, tmp_path, monkeypatch, flag, options):
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    training = TrainingConfig(epochs=1, batch_size=8, images_per_identity=2, **options)
    with pytest.raises(InputError, match=f"{flag} needs TensorFlow Addons.* leave out {flag}"):
        train(tiny_dataset, tmp_path, training)
    assert not list(tmp_path.rglob("metrics.csv"))
