"""The training loop on a network of two weights: when it is stopped, killed, or out of memory or disk space."""

import os
import signal

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tf_keras as keras

from lrdnn_base import callbacks, training_loop
from lrdnn_base.callbacks import Checkpoints, StopOnNonFinite
from lrdnn_base.devices import Runtime
from lrdnn_base.errors import InputError, Stopped
from lrdnn_base.run_folder import read_run_json
from lrdnn_base.training_loop import TrainingModel

EPOCHS, STEPS, BATCH = 3, 4, 2
EVERY_EPOCH = Runtime(checkpoint_seconds=0)


def line_model(ema: float | None = None) -> TrainingModel:
    keras.utils.set_random_seed(0)
    x = keras.Input([1])
    model = TrainingModel(x, keras.layers.Dense(1)(x))
    average = {"use_ema": True, "ema_momentum": ema} if ema else {}
    model.compile(keras.optimizers.Adam(0.1, **average), loss="mse")
    return model


def batches(epoch: int, step: int, part: tuple[int, int]) -> tf.data.Dataset:
    """Batch n of the training holds the numbers around n; the line to learn is y = 2 x + 1."""

    def batch(number):
        x = tf.cast(number, tf.float32) + tf.range(BATCH, dtype=tf.float32)[:, tf.newaxis]
        return x, 2 * x + 1

    return tf.data.Dataset.range(epoch * STEPS + step, 10**6).map(batch)


def train(folder, model=None, runtime=EVERY_EPOCH, batches=batches, extra=()):
    model = model or line_model()
    folder.mkdir(parents=True, exist_ok=True)
    training_loop.fit(
        model, batches, "line", folder, epochs=EPOCHS, steps=STEPS, batch_size=BATCH, shown={"loss": "{:.2f}"},
        runtime=runtime, callbacks=extra,
    )  # fmt: skip
    return model


class AtStep(keras.callbacks.Callback):
    """Does something after a step of the process, counted from 1."""

    def __init__(self, step, action):
        super().__init__()
        self.left, self.action = step, action

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.action()


def send(number):
    return lambda: os.kill(os.getpid(), number)


def assert_same_weights(one, other):
    for a, b in zip(one.trainable_weights, other.trainable_weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize(
    ("number", "step", "ema"),
    [(signal.SIGTERM, 1, None), (signal.SIGINT, 4, None), (signal.SIGTERM, 6, 0.9), (signal.SIGTERM, 12, 0.9)],
)
def test_a_stopped_training_saves_and_resumes_to_the_same_weights(tmp_path, number, step, ema):
    whole = train(tmp_path / "whole", line_model(ema))
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=f"after step {step} ") as stopped:
        train(tmp_path / "stopped", line_model(ema), extra=[AtStep(step, send(number))])
    assert stopped.value.signal == number and signal.getsignal(number) == before
    assert_same_weights(train(tmp_path / "stopped", line_model(ema)), whole)
    assert pd.read_csv(tmp_path / "stopped" / "metrics.csv")["epoch"].tolist() == [1, 2, 3]
    starts = read_run_json(tmp_path / "stopped" / "environment.json")["starts"]
    assert [start["steps_done"] for start in starts] == [0, step]
    assert "tensorflow" in starts[0]["versions"] and starts[0]["precision"] == "float32"


def test_a_second_signal_stops_at_once(tmp_path):
    def twice():
        send(signal.SIGTERM)()
        send(signal.SIGINT)()

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, extra=[AtStep(2, twice)])


@pytest.mark.parametrize("step", [1, 4, 11])
def test_a_killed_training_resumes_to_the_same_weights(tmp_path, step, monkeypatch):
    """A checkpoint after every second step stands for the one every ten minutes."""

    class Killed(Exception):
        pass

    def die():
        raise Killed

    save = iter([False, True] * 100)
    monkeypatch.setattr(callbacks.Timer, "__call__", lambda self: next(save))
    whole = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "killed", extra=[AtStep(step, die)])
    assert_same_weights(train(tmp_path / "killed"), whole)


def test_averaged_weights_are_the_moving_average(tmp_path):
    """It runs over the weights after each step, starts from the initial ones, and has the given momentum."""
    seen = []

    class Note(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.get_weights()[0].item())

    model = line_model(0.5)
    average = model.get_weights()[0].item()
    train(tmp_path, model, extra=[Note()])
    for weight in seen:
        average = 0.5 * average + 0.5 * weight
    assert model.get_weights()[0].item() == pytest.approx(average, rel=1e-5)


def test_the_gradient_norm_is_that_of_the_gradient(tmp_path):
    model = line_model()
    (x, y), *_ = batches(0, 0, (0, 1)).take(1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y) ** 2)
    norm = tf.linalg.global_norm(tape.gradient(loss, model.trainable_variables))
    model.fit(batches(0, 0, (0, 1)), steps_per_epoch=1, verbose=0)
    assert float(model.gradient_norm.result()) == pytest.approx(float(norm), rel=1e-5)


def test_the_norm_of_a_gradient_that_overflows_does_not_count():
    model = line_model()
    overflowing = tf.data.Dataset.from_tensors((tf.ones([BATCH, 1]), tf.fill([BATCH, 1], float("inf"))))
    assert model.fit(overflowing, verbose=0).history["gradient_norm"] == [0]


def test_the_three_newest_states_are_kept(tmp_path):
    train(tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("*.index")) == [
        "ckpt-12.index",
        "ckpt-4.index",
        "ckpt-8.index",
    ]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_in_one_line(tmp_path, loss):
    model = line_model()
    stop = StopOnNonFinite(Checkpoints(model, tmp_path, STEPS))
    stop.set_model(model)
    stop.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(InputError, match=r"hat_loss is not a finite number at step 0: try a lower --learning_rate$"):
        stop.on_train_batch_end(1, {"hat_loss": loss})


def test_a_loss_that_stops_being_finite_names_the_last_checkpoint(tmp_path):
    def broken_in_the_second_epoch(epoch, step, part):
        return batches(epoch, step, part).map(lambda x, y: (x, tf.where(x > 5.5, float("nan"), y)))

    with pytest.raises(InputError, match=r"at step 6: .*checkpoints/ckpt-4"):
        train(tmp_path, batches=broken_in_the_second_epoch)


def test_a_full_disk_is_named_and_earlier_checkpoints_stay(tmp_path, monkeypatch):
    save = tf.train.CheckpointManager.save

    def full(self, checkpoint_number):
        if checkpoint_number > STEPS:
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")
        return save(self, checkpoint_number=checkpoint_number)

    monkeypatch.setattr(tf.train.CheckpointManager, "save", full)
    with pytest.raises(InputError, match=r"checkpoint of step 8 cannot be written \(No space left on device\)"):
        train(tmp_path)
    monkeypatch.undo()
    assert_same_weights(train(tmp_path), train(tmp_path.with_name("whole")))


def test_a_device_without_memory_for_the_batch_suggests_a_smaller_one(tmp_path, monkeypatch):
    def exhausted(self, *args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(TrainingModel, "fit", exhausted)
    with pytest.raises(InputError, match="batch of 2: try --batch_size=1"):
        train(tmp_path)


def test_batch_norms_of_nested_models_are_synchronized_and_weights_stay():
    x = keras.Input([4, 4, 1])
    part = keras.Model(x, keras.layers.BatchNormalization()(keras.layers.Conv2D(2, 1)(x)), name="part")
    outer = keras.Input([4, 4, 1], name="outer")
    model = keras.Model(outer, keras.layers.BatchNormalization(name="last")(part(outer)))
    model.set_weights([np.random.default_rng(0).uniform(1, 2, weight.shape) for weight in model.get_weights()])
    synchronized = training_loop.with_synchronized_batch_norms(model)
    norms = [layer for layer in synchronized._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    assert [norm.synchronized for norm in norms] == [True, True]
    assert [layer.name for layer in synchronized.layers] == ["outer", "part", "last"]
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype(np.float32)
    np.testing.assert_allclose(synchronized(images), model(images), atol=1e-5)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    class Three:
        num_replicas_in_sync = 3

    with pytest.raises(InputError, match="batch_size=2 cannot be shared evenly by 3 devices"):
        train(tmp_path, runtime=Runtime(Three()))
