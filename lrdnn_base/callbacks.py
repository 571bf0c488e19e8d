"""Callbacks of every training: progress, checkpoints, a table of metrics, a stop when the loss is not finite."""

import math
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping

import pandas as pd
import tensorflow as tf
import tf_keras as keras
from tqdm import tqdm

from lrdnn_base.errors import InputError, Stopped
from lrdnn_base.files import write_text

_CHECKPOINTS_KEPT = 3
_SECONDS_WITHIN_EPOCH = 600  # between two checkpoints; an epoch of COCO takes hours


class Checkpoints(keras.callbacks.Callback):
    """Saves model and optimizer, and restores the newest state of an interrupted training.

    Args:
        model: A compiled model.
        folder: The folder of the training; the three newest states are kept in its checkpoints/.
        steps: Steps of an epoch.
        every_seconds: The least time between two states after an epoch; epochs of small datasets last a second.
        every_epoch: Save after each epoch and never within one: processes that save together must save at the same
            step.
    """

    def __init__(
        self, model: keras.Model, folder: pathlib.Path, steps: int, every_seconds: float = 0, every_epoch: bool = False
    ):
        super().__init__()
        self.steps = steps
        self.every_epoch = every_epoch
        self.done = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.folder = folder / "checkpoints"
        checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer, steps_done=self.done)
        # All workers take part in saving, and only the chief's files are kept.
        chief = tf.distribute.get_strategy().extended.should_checkpoint
        self.discarded = None if chief else tempfile.TemporaryDirectory()
        self.manager = tf.train.CheckpointManager(
            checkpoint, self.folder if chief else self.discarded.name, max_to_keep=_CHECKPOINTS_KEPT
        )
        self.due = Timer(every_seconds)
        self.due_within_epoch = Timer(_SECONDS_WITHIN_EPOCH)

    def restore(self) -> int:
        """Loads the newest state that can be read, if there is one. Returns the number of steps already done."""
        known = tf.train.get_checkpoint_state(str(self.folder))
        for path in reversed(known.all_model_checkpoint_paths if known else []):
            if _is_whole(path):
                self.manager.checkpoint.restore(path)
                epoch, step = divmod(self.steps_done(), self.steps)
                print(f"resuming after epoch {epoch}" + (f" and {step} steps" if step else "") + f" ({path})")
                return self.steps_done()
            print(f"skipping {path}: it is incomplete")
        return 0

    def steps_done(self) -> int:
        """The step of the state that was saved or restored last."""
        return int(self.done.numpy())  # int() does not take the variable itself where there are several devices

    def newest(self) -> str | None:
        """The path of the newest state, None when there is none."""
        return self.manager.latest_checkpoint

    def save(self) -> None:
        """Saves the current state; InputError when it cannot be written."""
        self.done.assign(self.model.optimizer.iterations)
        try:
            self.manager.save(checkpoint_number=self.done)
        except tf.errors.OpError as error:
            why = error.message.splitlines()[0]
            raise InputError(
                f"{self.folder}: the checkpoint of step {self.steps_done()} cannot be written ({why}); make room and "
                "run the same command again: earlier checkpoints are kept"
            ) from None

    def on_train_batch_end(self, batch, logs=None):
        if not self.every_epoch and self.due_within_epoch():
            self.save()

    def on_epoch_end(self, epoch, logs=None):
        if self.every_epoch or self.due():
            self.save()


class StopWhenAsked(keras.callbacks.Callback):
    """Saves and ends the training once a signal arrived. It must be the last callback, so that the others have run.

    Args:
        asked: Function that returns the number of the signal that arrived, 0 for none. It is called after each step,
            and among several workers it returns the same in each of them.
        checkpoints: The callback that saves.
    """

    def __init__(self, asked: Callable[[], int], checkpoints: Checkpoints):
        super().__init__()
        self.asked = asked
        self.checkpoints = checkpoints

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 < self.params["steps"]:  # after the last step, on_epoch_end follows
            self._stop_if_asked()

    def on_epoch_end(self, epoch, logs=None):
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if signal := self.asked():
            self.checkpoints.save()
            step = self.checkpoints.steps_done()
            raise Stopped(signal, f"stopped after step {step} and saved: run the same command to resume")


def _is_whole(checkpoint: str) -> bool:
    try:
        reader = tf.train.load_checkpoint(checkpoint)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, IndexError, ValueError):  # TensorFlow's reader turns a short file into an IndexError
        return False
    return True


class RunningValues(keras.callbacks.Callback):
    """Adds the learning rate, and under mixed_float16 the loss scale, to the logs of an epoch."""

    def on_epoch_end(self, epoch, logs=None):
        optimizer = self.model.optimizer
        logs["learning_rate"] = float(keras.backend.get_value(optimizer.learning_rate))
        if isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
            logs["loss_scale"] = float(optimizer.loss_scale)


class Progress(keras.callbacks.Callback):
    """One bar over the whole training, with images per second and the time left; without a terminal, a line per epoch.

    Args:
        name: Text before the bar.
        epochs: Epochs of the whole training.
        steps: Steps of an epoch.
        batch_size: Images of a step.
        epoch, step: Where this part of the training begins.
        shown: The logs to show and their format, for example {"loss": "{:.3f}"}.
    """

    def __init__(
        self, name: str, epochs: int, steps: int, batch_size: int, epoch: int, step: int, shown: Mapping[str, str]
    ):
        super().__init__()
        self.name, self.epochs, self.batch_size, self.shown = name, epochs, batch_size, shown
        self.per_epoch = steps * batch_size
        self.total = epochs * self.per_epoch
        self.done = (epoch * steps + step) * batch_size
        self.images = self.per_epoch - step * batch_size

    def on_train_begin(self, logs=None):
        self.bar = tqdm(
            total=self.total,
            initial=self.done,
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
        # Extrapolated to the whole epoch where a kill cut it in two: the sum over epochs is the time of the training.
        logs["seconds"] = self.per_epoch / logs["images_per_second"]
        values = [f"{name.replace('_', ' ')} {form.format(logs[name])}" for name, form in self.shown.items()]
        line = "  ".join([f"epoch {epoch + 1}/{self.epochs}", *values])
        self.bar.set_postfix_str(line)
        if self.bar.disable:
            print(f"{self.name} {line}  {logs['images_per_second']:.0f} img/s", flush=True)

    def on_train_end(self, logs=None):
        self.bar.close()


class EpochTable:
    """A CSV file with a line per epoch; lines of epochs that are repeated after a resume are replaced."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.lines = pd.read_csv(path).to_dict("records") if path.is_file() and path.stat().st_size else []

    def before(self, epoch: int) -> list[dict[str, float]]:
        """The lines of earlier epochs; epochs count from 1."""
        return [line for line in self.lines if line["epoch"] < epoch]

    def add(self, epoch: int, values: Mapping[str, float]) -> None:
        self.lines = [*self.before(epoch), {"epoch": epoch, **values}]
        write_text(self.path, pd.DataFrame(self.lines).to_csv(index=False))


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends the training with an InputError at the first loss that is NaN or infinite."""

    def __init__(self, checkpoints: Checkpoints):
        super().__init__()
        self.checkpoints = checkpoints

    def on_train_batch_end(self, batch, logs=None):
        bad = [name for name, value in logs.items() if name.endswith("loss") and not math.isfinite(value)]
        if bad:
            step = int(self.model.optimizer.iterations.numpy())
            kept = self.checkpoints.newest()
            raise InputError(
                f"{', '.join(bad)} is not a finite number at step {step}: try a lower --learning_rate"
                + (f"; the last checkpoint is kept, {kept}" if kept else "")
            )


class Timer:
    """Returns True when called for the first time after an interval, and False before that.

    Args:
        every_seconds: The interval.
    """

    def __init__(self, every_seconds: float):
        self.every_seconds = every_seconds
        self.last = time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self.last < self.every_seconds:
            return False
        self.last = time.monotonic()
        return True
