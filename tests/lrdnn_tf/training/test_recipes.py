"""Training from the command line: flag files, what is recorded while it runs, kills, and two trainings at once."""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lrdnn_tf import runs

ROOT = pathlib.Path(__file__).resolve().parents[3]
SMALL = ("--phase=identity", "--backbone=small", "--height=64", "--width=32", "--learning_rate=1e-3")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def command(dataset, run_dir, *flags):
    places = (f"--data_dir={dataset.path}", f"--run_dir={run_dir}")
    return [sys.executable, "-m", "lrdnn_tf.train", *flags, *places]


def train(*arguments, **options):
    return subprocess.run(command(*arguments), env=ENVIRONMENT, text=True, capture_output=True, **options)


def start(*arguments):
    return subprocess.Popen(command(*arguments), env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)


def wait_until_it_trains(process):
    for line in process.stdout:
        if "epoch" in line and "after" not in line:
            return


@pytest.fixture(scope="module")
def strong(needs_addons, tiny_dataset, tmp_path_factory):
    """A run with the strong recipe, scored while it trains."""
    run_dir = tmp_path_factory.mktemp("strong")
    recipe = f"--flagfile={ROOT / 'experiments/recipes/strong.flags'}"
    more = ("--batch_size=8", "--images_per_identity=2", "--epochs=2", "--warmup_epochs=1", "--evaluate_every=1")
    train(tiny_dataset, run_dir, recipe, *SMALL, *more, check=True)
    return run_dir / "identity"


@pytest.mark.slow
def test_the_strong_recipe_trains(strong):
    training = json.loads((strong / "config.json").read_text())["training"]
    assert (training["schedule"], training["ema"], training["triplet_weight"]) == ("cosine", 0.999, 1.0)
    metrics = pd.read_csv(strong / "metrics.csv")
    assert np.isfinite(metrics).all(axis=None)
    assert {"embedding_loss", "identity_loss"} <= set(metrics.columns)


@pytest.mark.slow
def test_tensorboard_gets_scalars_images_scores_and_the_projector(strong):
    tags = {}
    for folder in ("train", "images", "retrieval"):
        events = EventAccumulator(str(strong / "tensorboard" / folder))
        events.Reload()
        tags[folder] = {tag for kind in ("scalars", "tensors", "images") for tag in events.Tags()[kind]}
    wanted = {"epoch_loss", "epoch_identity_accuracy", "epoch_gradient_norm", "epoch_learning_rate"}
    assert wanted | {"epoch_images_per_second", "_hparams_/session_start_info"} <= tags["train"]
    assert "training images" in tags["images"]
    assert {"mAP", "rank1"} <= tags["retrieval"]
    rows = (strong / "tensorboard/gallery.tsv").read_text().splitlines()
    labels = pd.read_csv(strong / "tensorboard/gallery_labels.tsv", sep="\t")
    assert len(rows) == len(labels) == 12
    assert "gallery.tsv" in (strong / "tensorboard/projector_config.pbtxt").read_text()


@pytest.mark.slow
def test_the_best_weights_by_map_are_kept(strong):
    scores = pd.read_csv(strong / "retrieval.csv")
    assert scores["epoch"].tolist() == [1, 2] and scores["mAP"].between(0, 1).all()
    runs.load_model(strong.parent, "identity", "best")


@pytest.mark.slow
def test_a_training_killed_at_random_moments_ends_with_the_same_weights(tiny_dataset, tmp_path):
    """kill -9 and SIGTERM in turn; after a kill before the first checkpoint the training starts from scratch."""
    flags = (*SMALL, "--epochs=150", "--batch_size=8", "--projector_images=0")
    train(tiny_dataset, tmp_path / "whole", *flags, check=True)
    moments = random.Random(0)
    codes = []
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        process = start(tiny_dataset, tmp_path / "killed", *flags)
        wait_until_it_trains(process)
        time.sleep(moments.uniform(0, 2))
        process.send_signal(number)
        process.communicate()
        codes.append(process.returncode)
    last = train(tiny_dataset, tmp_path / "killed", *flags, check=True)
    assert codes == [128 + signal.SIGTERM, -signal.SIGKILL, 128 + signal.SIGTERM]
    assert "resuming after epoch" in last.stdout
    whole, _ = runs.load_model(tmp_path / "whole", "identity")
    killed, _ = runs.load_model(tmp_path / "killed", "identity")
    for a, b in zip(whole.get_weights(), killed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_second_training_in_the_same_folder_is_refused_and_touches_nothing(tiny_dataset, tmp_path):
    """Then the first one is killed, and its lock does not block."""

    def content():
        return {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}

    flags = (*SMALL, "--batch_size=8", "--projector_images=0")
    first = start(tiny_dataset, tmp_path, *flags, "--epochs=5000")
    wait_until_it_trains(first)
    first.send_signal(signal.SIGSTOP)  # so that whatever changes is the second one's doing
    before = content()
    second = train(tiny_dataset, tmp_path, *flags, "--epochs=1")
    assert second.returncode == 1
    assert re.fullmatch(
        rf"error: {tmp_path}/identity: process {first.pid} on \S+, started \S+, trains here already: .*\n",
        second.stderr,
    )
    assert content() == before
    first.kill()
    first.communicate()
    assert train(tiny_dataset, tmp_path, *flags, "--epochs=1").returncode == 0
    assert json.loads((tmp_path / "identity/config.json").read_text())["training"]["epochs"] == 1
    assert runs.trained_phases(tmp_path) == ["identity"] and not (tmp_path / "identity/training.lock").exists()


@pytest.mark.slow
def test_of_two_trainings_that_start_at_once_one_trains(tiny_dataset, tmp_path):
    both = [start(tiny_dataset, tmp_path, *SMALL, "--batch_size=8", f"--epochs={epochs}") for epochs in (20, 21)]
    for process in both:
        process.communicate()
    assert sorted(process.returncode for process in both) == [0, 1]
    epochs = json.loads((tmp_path / "identity/config.json").read_text())["training"]["epochs"]
    assert both[epochs - 20].returncode == 0
    assert len(pd.read_csv(tmp_path / "identity/metrics.csv")) == epochs
