"""Several devices and several workers learn what one learns from the same batches."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from lrdnn_base.devices import make_strategy, read_steps
from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.model.lrdnn import POSE_BRANCH

COMMON = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "projector_images": 0}
SMALL = {
    "identity": {"backbone": "small", "height": 64, "width": 32},
    "fusion": {"bilinear_dim": 128, "learning_rate": 1e-6},
}


def options_of(phase, trained_run):
    """The options of a phase; a fusion starts from a narrow pose network, which has BatchNorms.

    Its learning rate is low, since Adam's first steps amplify rounding errors in gradients that are nearly 0.
    """
    start = {"start_from": str(trained_run)} if phase == "fusion" else {}
    return COMMON | SMALL[phase] | start


def train_command(phase, dataset, run_dir, strategy, options):
    flags = {"phase": phase, "data_dir": dataset.path, "run_dir": run_dir, "strategy": strategy, "precision": "float32"}
    return [sys.executable, "-m", "lrdnn_tf.train", *(f"--{name}={value}" for name, value in (flags | options).items())]


def environment(**more):
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | more


def free_addresses(count):
    with_ports = [socket.create_server(("localhost", 0)) for _ in range(count)]
    addresses = [f"localhost:{server.getsockname()[1]}" for server in with_ports]
    for server in with_ports:
        server.close()
    return addresses


@pytest.fixture(scope="module", params=list(SMALL))
def alone(request, tiny_dataset, trained_run, tmp_path_factory):
    """A phase that one device trained: its name, its options, its run."""
    phase, run_dir = request.param, tmp_path_factory.mktemp("alone")
    options = options_of(phase, trained_run)
    subprocess.run(train_command(phase, tiny_dataset, run_dir, "one_device", options), check=True, env=environment())
    return phase, options, run_dir


def assert_learned_the_same(phase, run_dir, alone):
    ours, theirs = (pd.read_csv(folder / phase / "metrics.csv") for folder in (run_dir, alone))
    assert len(ours) == 2
    columns = ["loss", "identity_accuracy", "gradient_norm", "learning_rate"]
    np.testing.assert_allclose(ours[columns], theirs[columns], rtol=1e-4, atol=1e-4)
    model, _ = runs.load_model(run_dir, phase)
    expected, _ = runs.load_model(alone, phase)
    for ours, theirs in zip(model.weights, expected.weights, strict=True):
        # One device's kernel keeps the unbiased variance of a batch, n / (n - 1) of what several devices keep; the
        # smallest maps have 64 positions in a batch.
        tolerance = 1 / 63 if "moving_variance" in ours.name else 1e-3
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=2e-3)
    if phase == "fusion":
        images = np.random.default_rng(0).uniform(0, 255, (4, 64, 32, 3)).astype(np.float32)
        *_, ours = model.get_layer(POSE_BRANCH)(images)
        *_, theirs = expected.get_layer(POSE_BRANCH)(images)
        assert np.linalg.norm(ours - theirs) < 0.02 * np.linalg.norm(theirs)


def workers(count, *arguments):
    """Starts the workers of one training; their standard output is a pipe."""
    addresses = free_addresses(count)
    tasks = [{"type": "worker", "index": index} for index in range(count)]
    return [
        subprocess.Popen(
            train_command(*arguments),
            env=environment(TF_CONFIG=json.dumps({"cluster": {"worker": addresses}, "task": task})),
            stdout=subprocess.PIPE,
            text=True,
        )
        for task in tasks
    ]


@pytest.mark.slow
def test_two_workers_learn_what_one_process_learns(tiny_dataset, alone, tmp_path):
    phase, options, alone = alone
    both = workers(2, phase, tiny_dataset, tmp_path / "both", "multi_worker", options)
    said = [worker.communicate(timeout=300)[0] for worker in both]
    assert [worker.returncode for worker in both] == [0, 0]
    assert "epoch 2/2" in said[0] and "epoch 2/2" not in said[1]  # the chief alone speaks of progress
    assert_learned_the_same(phase, tmp_path / "both", alone)
    events = list((tmp_path / "both").rglob("events*"))
    assert events and len({event.name.split(".")[-3] for event in events}) == 1  # of one process


_MIRRORED = """
import json
import sys
from lrdnn_base import command
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from lrdnn_base.devices import Runtime
from lrdnn_tf.train import train

phase, run_dir, data_dir, options = sys.argv[1:]
train(phase, run_dir, data_dir, Runtime(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])), **json.loads(options))
"""


@pytest.mark.slow
def test_two_devices_learn_what_one_learns(tiny_dataset, alone, tmp_path):
    phase, options, alone = alone
    command = [sys.executable, "-c", _MIRRORED, phase, str(tmp_path), str(tiny_dataset.path), json.dumps(options)]
    subprocess.run(command, check=True, env=environment())
    assert_learned_the_same(phase, tmp_path, alone)


def test_the_default_is_one_device(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert make_strategy("auto").num_replicas_in_sync == 1
    with pytest.raises(InputError, match="needs TF_CONFIG"):
        make_strategy("multi_worker")


@pytest.mark.parametrize(
    "content",
    [
        "workers",
        "{}",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_a_tf_config_that_cannot_be_used_is_named(monkeypatch, content):
    monkeypatch.setenv("TF_CONFIG", content)
    with pytest.raises(InputError, match="TF_CONFIG"):
        make_strategy("auto")


def test_steps_of_a_trace():
    assert read_steps(None) is None
    assert read_steps("10,20") == (10, 20)
    for text in ("10", "20,10", "0,5", "a,b", "1,2,3"):
        with pytest.raises(InputError, match="profile_steps"):
            read_steps(text)
