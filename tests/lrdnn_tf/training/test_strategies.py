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

FLAGS = (
    "--phase=identity --backbone=small --height=64 --width=32 --epochs=2 --batch_size=8 --learning_rate=1e-3 "
    "--precision=float32"
)


def train_command(dataset, run_dir, *more):
    return [
        sys.executable, "-m", "lrdnn_tf.train", *FLAGS.split(), f"--data_dir={dataset.path}", f"--run_dir={run_dir}",
        *more,
    ]  # fmt: skip


def environment(**more):
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | more


def free_addresses(count):
    with_ports = [socket.create_server(("localhost", 0)) for _ in range(count)]
    addresses = [f"localhost:{server.getsockname()[1]}" for server in with_ports]
    for server in with_ports:
        server.close()
    return addresses


@pytest.fixture(scope="module")
def alone(tiny_dataset, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("alone")
    subprocess.run(train_command(tiny_dataset, run_dir, "--strategy=one_device"), check=True, env=environment())
    return run_dir


def assert_learned_the_same(run_dir, alone):
    ours, theirs = (pd.read_csv(folder / "identity" / "metrics.csv") for folder in (run_dir, alone))
    assert len(ours) == 2
    columns = ["loss", "identity_accuracy", "gradient_norm", "learning_rate"]
    np.testing.assert_allclose(ours[columns], theirs[columns], rtol=1e-4, atol=1e-4)
    model, _ = runs.load_model(run_dir, "identity")
    expected, _ = runs.load_model(alone, "identity")
    for ours, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
        # One device's kernel keeps the unbiased variance of a batch, n / (n - 1) of what several devices keep.
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=2e-3)


@pytest.mark.slow
def test_two_workers_learn_what_one_process_learns(tiny_dataset, alone, tmp_path):
    addresses = free_addresses(2)
    workers = []
    for index in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        workers.append(
            subprocess.Popen(
                train_command(tiny_dataset, tmp_path / "both", "--strategy=multi_worker"),
                env=environment(TF_CONFIG=json.dumps(config)),
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    said = [worker.communicate(timeout=300)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert "epoch 2/2" in said[0] and "epoch 2/2" not in said[1]  # the chief alone speaks of progress
    assert_learned_the_same(tmp_path / "both", alone)
    events = list((tmp_path / "both").rglob("events*"))
    assert events and len({event.name.split(".")[-3] for event in events}) == 1  # of one process


_MIRRORED = """
import sys
from lrdnn_base import command
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from lrdnn_tf.config import TrainingConfig
from lrdnn_tf.data.dataset import read_dataset
from lrdnn_tf.training.train_phase import train_phase
from lrdnn_tf.training.phase_config import phase_config
from lrdnn_base.devices import Runtime

data_dir, run_dir = sys.argv[1:]
dataset = read_dataset(data_dir)
model = phase_config("identity", dataset, run_dir, True, {"backbone": "small", "height": 64, "width": 32})
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
train_phase(
    "identity", dataset, run_dir, model, TrainingConfig(epochs=2, batch_size=8, learning_rate=1e-3), Runtime(strategy)
)
"""


@pytest.mark.slow
def test_two_devices_learn_what_one_learns(tiny_dataset, alone, tmp_path):
    command = [sys.executable, "-c", _MIRRORED, str(tiny_dataset.path), str(tmp_path)]
    subprocess.run(command, check=True, env=environment())
    assert_learned_the_same(tmp_path, alone)


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
