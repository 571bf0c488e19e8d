"""What happens beside the steps of any training: progress, checkpoints, a table, a stop when the loss is no number."""

import math
import pathlib
import sys
import time
from collections.abc import Mapping

import pandas as pd
import tensorflow as tf
import tf_keras as keras
from tqdm import tqdm

from pose_pretrain.errors import InputError

_CHECKPOINTS_KEPT = 3


class Checkpoints(keras.callbacks.Callback):
    """Saves model and optimizer after an epoch, and restores the newest state of an interrupted training.

    Args:
        model: A compiled model.
        folder: Of the training; the three newest states are kept in its checkpoints/.
        every_seconds: The least time between two states; epochs of small sets last a second.
    """

    def __init__(self, model: keras.Model, folder: pathlib.Path, every_seconds: float = 0):
        super().__init__()
        self.epochs_done = tf.Variable(0, dtype=tf.int64, trainable=False)
        checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer, epochs_done=self.epochs_done)
        self.manager = tf.train.CheckpointManager(checkpoint, folder / "checkpoints", max_to_keep=_CHECKPOINTS_KEPT)
        self.due = Due(every_seconds)

    def restore(self) -> int:
        """Loads the newest state that can be read, if there is one. Returns the number of epochs already done."""
        for path in reversed(self.manager.checkpoints):
            if _is_whole(path):
                self.manager.checkpoint.restore(path)
                print(f"going on after epoch {int(self.epochs_done)} ({path})")
                return int(self.epochs_done)
            print(f"skipping {path}: it was not written to its end")
        return 0

    def on_epoch_end(self, epoch, logs=None):
        if self.due():
            self.epochs_done.assign(epoch + 1)
            self.manager.save(checkpoint_number=epoch + 1)


def _is_whole(checkpoint: str) -> bool:
    try:
        reader = tf.train.load_checkpoint(checkpoint)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, IndexError, ValueError):  # TensorFlow's reader turns a short file into an IndexError
        return False
    return True


class Progress(keras.callbacks.Callback):
    """One bar over the whole training, with images a second and the time left; a line an epoch where no one watches.

    Args:
        name: Stands before the bar.
        epochs, steps, batch_size: Of the whole training, of an epoch, of a step.
        first_epoch: Epochs that an earlier process has done.
        shown: The logs to show and how, for example {"loss": "{:.3f}"}.
    """

    def __init__(self, name: str, epochs: int, steps: int, batch_size: int, first_epoch: int, shown: Mapping[str, str]):
        super().__init__()
        self.name, self.epochs, self.batch_size, self.shown = name, epochs, batch_size, shown
        self.images = steps * batch_size
        self.first_epoch = first_epoch

    def on_train_begin(self, logs=None):
        self.bar = tqdm(
            total=self.epochs * self.images,
            initial=self.first_epoch * self.images,
            desc=self.name,
            unit="img",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update(self.batch_size)

    def on_epoch_end(self, epoch, logs=None):
        logs["images_per_second"] = self.images / (time.perf_counter() - self.epoch_started)
        values = [f"{name.replace('_', ' ')} {form.format(logs[name])}" for name, form in self.shown.items()]
        line = "  ".join([f"epoch {epoch + 1}/{self.epochs}", *values])
        self.bar.set_postfix_str(line)
        if self.bar.disable:
            print(f"{self.name} {line}  {logs['images_per_second']:.0f} img/s", flush=True)

    def on_train_end(self, logs=None):
        self.bar.close()


class MetricsTable(keras.callbacks.Callback):
    """A line an epoch in a CSV file; lines of epochs that are done again go."""

    def __init__(self, path: pathlib.Path, first_epoch: int):
        super().__init__()
        self.path = path
        self.lines = []
        if path.is_file() and path.stat().st_size:
            table = pd.read_csv(path)
            self.lines = table[table["epoch"] <= first_epoch].to_dict("records")

    def on_epoch_end(self, epoch, logs=None):
        self.lines.append({"epoch": epoch + 1} | logs)
        temporary = self.path.with_name(f"writing.{self.path.name}")
        pd.DataFrame(self.lines).to_csv(temporary, index=False)
        temporary.replace(self.path)


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends training with a clear line at the first loss that is NaN or infinite."""

    def on_train_batch_end(self, batch, logs=None):
        bad = [name for name, value in logs.items() if name.endswith("loss") and not math.isfinite(value)]
        if bad:
            step = int(self.model.optimizer.iterations)
            raise InputError(
                f"{', '.join(bad)} is not a finite number at step {step}: try a lower --learning_rate; "
                "the last checkpoint is kept"
            )


class Due:
    """Says yes when called for the first time in a while."""

    def __init__(self, every_seconds: float):
        self.every_seconds = every_seconds
        self.last = time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self.last < self.every_seconds:
            return False
        self.last = time.monotonic()
        return True
