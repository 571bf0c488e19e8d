"""Training from the command line: flag files, what is recorded while it runs, and kills."""

import json
import os
import pathlib
import random
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


def command(dataset, run_dir, *flags):
    places = (f"--data_dir={dataset.path}", f"--run_dir={run_dir}")
    return [sys.executable, "-m", "lrdnn_tf.train", *flags, *places]


def train(*arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command(*arguments), env=environment, text=True, capture_output=True, **options)


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
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    codes = []
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen(
            command(tiny_dataset, tmp_path / "killed", *flags), env=environment, stdout=subprocess.PIPE, text=True
        )
        for line in process.stdout:
            if "epoch" in line and "after" not in line:
                break  # it trains
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
