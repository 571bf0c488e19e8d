"""Two workers that train together: one of them is asked to stop, and a second training starts in their folder."""

import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

_TRAIN = """
import os
import pathlib
import time
from lrdnn_base import command
import tensorflow as tf
import tf_keras as keras
from lrdnn_base.devices import Runtime, make_strategy
from lrdnn_base.run_folder import locked
from lrdnn_base.training_loop import TrainingModel, fit, save_trained

FOLDER = pathlib.Path(os.environ["FOLDER"])
EPOCHS, STEPS, BATCH = 4, 10, 2

def batches(epoch, step, part):
    index, count = part

    def rows(number):
        x = tf.cast(number, tf.float32) + tf.range(BATCH, dtype=tf.float32)[index::count, tf.newaxis]
        return x, 2 * x + 1

    return tf.data.Dataset.range(epoch * STEPS + step, 10**6).map(rows)

def slowly(batch, logs):
    print("batch", batch, flush=True)
    time.sleep(0.2)

def main():
    runtime = Runtime(make_strategy("multi_worker"))
    with locked(FOLDER, runtime), runtime.strategy.scope():
        keras.utils.set_random_seed(0)
        x = keras.Input([1])
        model = TrainingModel(x, keras.layers.Dense(1)(x))
        model.compile(keras.optimizers.Adam(0.1), loss="mse")
        fit(
            model, batches, "line", FOLDER, epochs=EPOCHS, steps=STEPS, batch_size=BATCH, shown={"loss": "{:.2f}"},
            runtime=runtime, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=slowly)],
        )
        save_trained(model, FOLDER / "model.weights.h5", runtime)
        print(*(value.item() for value in model.get_weights()))

command.run(main)
"""


def start(folder):
    """Starts two workers; the first is the chief."""
    servers = [socket.create_server(("localhost", 0)) for _ in range(2)]
    addresses = [f"localhost:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    workers = []
    for index in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = {"PYTHONPATH": os.pathsep.join(sys.path), "TF_CONFIG": json.dumps(config), "FOLDER": str(folder)}
        workers.append(
            subprocess.Popen(
                [sys.executable, "-c", _TRAIN],
                env=os.environ | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return workers


def read_until(worker, start_of_line):
    said = []
    while not (said and said[-1].startswith(start_of_line)):
        said.append(worker.stdout.readline())
        assert said[-1], f"no {start_of_line!r} in {said}"


def ended(workers):
    """The exit code of each worker, its standard output, and its standard error."""
    said = [worker.communicate(timeout=300) for worker in workers]
    return [worker.returncode for worker in workers], *zip(*said, strict=True)


def line_with(start_of_line, text):
    """The only such line; the last line may be TensorFlow's, about the worker that left first."""
    (line,) = [line for line in text.splitlines() if line.startswith(start_of_line)]
    return line


@pytest.mark.slow
@pytest.mark.parametrize("signalled", [0, 1])
def test_workers_stop_and_save_at_the_same_step_when_one_gets_sigterm(tmp_path, signalled):
    workers = start(tmp_path / "stopped")
    read_until(workers[0], "line epoch 1/4")
    read_until(workers[0], "batch 2")
    workers[signalled].send_signal(signal.SIGTERM)
    codes, _, errors = ended(workers)
    assert codes == [128 + signal.SIGTERM] * 2
    assert len({line_with("stopped after step 1", error) for error in errors}) == 1
    starting = start(tmp_path / "stopped")
    read_until(starting[0], "resuming after epoch 1 and ")
    codes, resumed, _ = ended(starting)
    assert codes == [0, 0]
    codes, whole, _ = ended(start(tmp_path / "whole"))
    assert codes == [0, 0]
    np.testing.assert_allclose(
        *(np.array(said[0].splitlines()[-1].split(), float) for said in (resumed, whole)), rtol=1e-6
    )


@pytest.mark.slow
def test_all_workers_of_a_second_training_are_refused(tmp_path):
    first = start(tmp_path)
    read_until(first[0], "line epoch 1/4")
    for worker in first:
        worker.send_signal(signal.SIGSTOP)  # it would end before the second training starts
    codes, _, errors = ended(start(tmp_path))
    assert codes == [1, 1]
    assert f"{tmp_path}: process {first[0].pid} on " in line_with("error: ", errors[0])
    assert f"{tmp_path}: the chief of these workers cannot train there" in line_with("error: ", errors[1])
    for worker in first:
        worker.kill()
        worker.communicate()
