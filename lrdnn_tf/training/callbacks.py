"""What happens beside the steps of training: progress, checkpoints, and a stop when the loss is no number."""

import math
import pathlib
import sys
import time

import tensorflow as tf
import tf_keras as keras
from tqdm import tqdm

from pose_pretrain.errors import InputError

_CHECKPOINTS_KEPT = 3


class CheckpointEachEpoch(keras.callbacks.Callback):
    """Saves model and optimizer after every epoch, and restores the newest epoch of an interrupted phase."""

    def __init__(self, model: keras.Model, folder: pathlib.Path):
        super().__init__()
        self.epochs_done = tf.Variable(0, dtype=tf.int64, trainable=False)
        checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer, epochs_done=self.epochs_done)
        self.manager = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=_CHECKPOINTS_KEPT)

    def restore(self) -> int:
        """Loads the newest checkpoint, if there is one. Returns the number of epochs already done."""
        if self.manager.restore_or_initialize():
            print(f"going on after epoch {int(self.epochs_done)} ({self.manager.latest_checkpoint})")
        return int(self.epochs_done)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs_done.assign(epoch + 1)
        self.manager.save(checkpoint_number=epoch + 1)


class Progress(keras.callbacks.Callback):
    """One bar over the whole phase, with images a second and the time left; a line an epoch where no one watches."""

    def __init__(self, phase: str, epochs: int, steps: int, batch_size: int, first_epoch: int):
        super().__init__()
        self.phase, self.epochs, self.steps, self.batch_size, self.first_epoch = (
            phase,
            epochs,
            steps,
            batch_size,
            first_epoch,
        )

    def on_train_begin(self, logs=None):
        images = self.steps * self.batch_size
        self.bar = tqdm(
            total=self.epochs * images,
            initial=self.first_epoch * images,
            desc=self.phase,
            unit="img",
            smoothing=0.1,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch_started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update(self.batch_size)

    def on_epoch_end(self, epoch, logs=None):
        speed = self.steps * self.batch_size / (time.perf_counter() - self.epoch_started)
        values = f"loss {logs['loss']:.3f}  identity accuracy {logs['identity_accuracy']:.1%}"
        self.bar.set_postfix_str(f"epoch {epoch + 1}/{self.epochs}  {values}")
        if self.bar.disable:
            print(f"{self.phase} epoch {epoch + 1}/{self.epochs}  {values}  {speed:.0f} img/s", flush=True)

    def on_train_end(self, logs=None):
        self.bar.close()


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends training with a clear line at the first loss that is NaN or infinite; the last checkpoint stays."""

    def on_train_batch_end(self, batch, logs=None):
        bad = [name for name, value in logs.items() if name.endswith("loss") and not math.isfinite(value)]
        if bad:
            step = int(self.model.optimizer.iterations)
            raise InputError(
                f"{', '.join(bad)} is not a finite number at step {step}: try a lower --learning_rate; "
                "the last good checkpoint is kept"
            )
