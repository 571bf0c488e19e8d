"""Pretraining by two workers gives the losses of a single process on the same batches."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from pose_pretrain.network import load_pose_network

_PRETRAIN = """
import os
import sys
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy() if "TF_CONFIG" in os.environ else None
from lrdnn_base.devices import Runtime
from pose_pretrain.pipeline import read_pose_dataset
from pose_pretrain.train import PoseConfig, pretrain

data_dir, run_dir = sys.argv[1:]
config = PoseConfig(
    height=32, width=32, pose_width=0.125, imagenet_weights="none", epochs=2, batch_size=4, learning_rate=1e-4
)
pretrain(read_pose_dataset(data_dir), run_dir, config, Runtime(strategy) if strategy else None)
"""


def start(dataset, run_dir, **environment):
    command = [sys.executable, "-c", _PRETRAIN, str(dataset.path), str(run_dir)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment)


@pytest.mark.slow
def test_two_workers_reach_the_losses_of_one_process(pose_dataset, tmp_path):
    servers = [socket.create_server(("localhost", 0)) for _ in range(2)]
    addresses = [f"localhost:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    processes = [start(pose_dataset, tmp_path / "alone")]
    for index in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        processes.append(start(pose_dataset, tmp_path / "both", TF_CONFIG=json.dumps(config)))
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    both, alone = (pd.read_csv(tmp_path / run / "pose/metrics.csv") for run in ("both", "alone"))
    assert len(both) == 2
    np.testing.assert_allclose(both["loss"], alone["loss"], rtol=1e-4)
    parts = [name for name in alone if name.endswith("_loss")]
    assert len(parts) == 6
    np.testing.assert_allclose(both[parts], alone[parts], rtol=1e-3)  # Adam's first steps amplify rounding errors
    load_pose_network(tmp_path / "both" / "pose", 32, 32)  # complete, written by the chief
