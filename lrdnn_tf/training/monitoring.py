"""What lets people watch a training beyond its losses: retrieval scores, images, hyperparameters."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import tensorflow as tf
import tf_keras as keras
from tensorboard.plugins.hparams import api as hparams

from lrdnn_base.files import replacing
from lrdnn_base.run_folder import save_weights

RETRIEVAL_FILE = "retrieval.csv"
BEST_WEIGHTS_FILE = "best.weights.h5"
_IMAGES_SHOWN = 16


class Retrieval(keras.callbacks.Callback):
    """Scores the model on query and gallery every few epochs, and keeps the weights of the best mAP.

    retrieval.csv gets a line for each; best.weights.h5 holds the best of them so far. To choose a model by the
    split that it is reported on flatters it, so a phase still ends on its last weights.

    Args:
        model: What is scored and saved.
        score: Function of it to its scores, "mAP" among them.
        every: Epochs from one to the next.
        folder: Of the phase.
    """

    def __init__(
        self, model: keras.Model, score: Callable[[keras.Model], Mapping[str, float]], every: int, folder: pathlib.Path
    ):
        super().__init__()
        self.scored, self.score, self.every, self.folder = model, score, every, folder
        self.table = folder / RETRIEVAL_FILE
        self.lines = pd.read_csv(self.table).to_dict("records") if self.table.is_file() else []
        self.writer = tf.summary.create_file_writer(str(folder / "tensorboard" / "retrieval"))

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every:
            return
        scores = self.score(self.scored)
        earlier = [line for line in self.lines if line["epoch"] <= epoch]
        self.lines = [*earlier, {"epoch": epoch + 1, **scores}]
        if all(scores["mAP"] > line["mAP"] for line in earlier):
            save_weights(self.scored, self.folder / BEST_WEIGHTS_FILE)
        with replacing(self.table) as temporary:
            pd.DataFrame(self.lines).to_csv(temporary, index=False)
        with self.writer.as_default(step=epoch + 1):
            for name, value in scores.items():
                tf.summary.scalar(name, value)
        print(f"epoch {epoch + 1}: " + ", ".join(f"{name} {value:.1%}" for name, value in scores.items()))


class TrainingImages(keras.callbacks.Callback):
    """The first images of this process in TensorBoard, as the network gets them.

    Args:
        images: float32 [B, height, width, 3], 0..255.
        folder: Of the phase.
    """

    def __init__(self, images: tf.Tensor, folder: pathlib.Path):
        super().__init__()
        self.images = tf.cast(images[:_IMAGES_SHOWN], tf.uint8)
        self.writer = tf.summary.create_file_writer(str(folder / "tensorboard" / "images"))

    def on_train_begin(self, logs=None):
        with self.writer.as_default():
            tf.summary.image("training images", self.images, step=0, max_outputs=_IMAGES_SHOWN)


def write_hyperparameters(folder: pathlib.Path, name: str, config: Mapping[str, Any]) -> None:
    """Enters a training into TensorBoard's HParams table, under a name that is the same when it goes on."""
    values = {key: value for key, value in config.items() if isinstance(value, bool | int | float | str)}
    with tf.summary.create_file_writer(str(folder / "tensorboard" / "train")).as_default():
        hparams.hparams(values, trial_id=name)
