"""What shows how a training proceeds, beside its losses: retrieval scores, images, channel weights, hyperparameters."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras
from tensorboard.plugins.hparams import api as hparams

from lrdnn_base.callbacks import EpochTable
from lrdnn_base.run_folder import save_weights
from lrdnn_base.training_loop import averaged_weights
from lrdnn_tf.model.channel_weights import ChannelWeights, by_name
from lrdnn_tf.runs import BEST_WEIGHTS_FILE

RETRIEVAL_FILE = "retrieval.csv"
_IMAGES_SHOWN = 16


class Retrieval(keras.callbacks.Callback):
    """Scores the model on query and gallery every few epochs, and keeps the weights of the best mAP.

    retrieval.csv gets a line for each scoring; best.weights.h5 holds the best weights so far. Where the training keeps
    a moving average of the weights, the average is scored and kept, since a phase ends with it. Choosing a model by the
    split that it is reported on would flatter it, so a phase still ends with its last weights, and only --weights=best
    uses the best ones.

    Args:
        model: The model to score and save; it shares its weights with the one that trains.
        score: Function from the model to its scores, "mAP" among them.
        every: Epochs from one scoring to the next.
        folder: The folder of the phase.
    """

    def __init__(
        self, model: keras.Model, score: Callable[[keras.Model], Mapping[str, float]], every: int, folder: pathlib.Path
    ):
        super().__init__()
        self.scored, self.score, self.every, self.folder = model, score, every, folder
        self.table = EpochTable(folder / RETRIEVAL_FILE)
        self.writer = tf.summary.create_file_writer(str(folder / "tensorboard" / "retrieval"))

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every:
            return
        with averaged_weights(self.model):
            scores = self.score(self.scored)
            if all(scores["mAP"] > line["mAP"] for line in self.table.before(epoch + 1)):
                save_weights(self.scored, self.folder / BEST_WEIGHTS_FILE)
        self.table.add(epoch + 1, scores)
        with self.writer.as_default(step=epoch + 1):
            for name, value in scores.items():
                tf.summary.scalar(name, value)
        print(f"epoch {epoch + 1}: " + ", ".join(f"{name} {value:.1%}" for name, value in scores.items()))


class ChannelWeightsLog(keras.callbacks.Callback):
    """The weights of the channel parse block in TensorBoard, after each epoch.

    Each keypoint and each limb gets a curve: its mean weight over the same images.

    Args:
        model: Model returned by `lrdnn_tf.model.lrdnn.build_model`, with channel parsing.
        folder: The folder of the phase.
        pose_maps: The field of the model's config.
        images: float32 [B, height, width, 3], RGB 0..255.
    """

    def __init__(self, model: keras.Model, folder: pathlib.Path, pose_maps: str, images: tf.Tensor):
        super().__init__()
        self.writer = tf.summary.create_file_writer(str(folder / "tensorboard" / "channels"))
        self.weights = ChannelWeights(model, pose_maps)
        self.images = images

    def on_epoch_end(self, epoch, logs=None):
        weights = by_name(self.weights(self.images))
        with self.writer.as_default(step=epoch):
            for (kind, name), weight in weights.items():
                tf.summary.scalar(f"channel_weights_{kind}/{name.replace(' ', '_')}", weight)
        self.writer.flush()


def write_training_images(folder: pathlib.Path, images: tf.Tensor) -> None:
    """Shows the first training images, float32 [B, height, width, 3], 0..255, in TensorBoard."""
    with tf.summary.create_file_writer(str(folder / "tensorboard" / "images")).as_default(step=0):
        tf.summary.image("training images", tf.cast(images, tf.uint8), max_outputs=_IMAGES_SHOWN)


def write_hyperparameters(folder: pathlib.Path, name: str, config: Mapping[str, Any]) -> None:
    """Enters a training into TensorBoard's HParams table, under a name that stays the same when it resumes."""
    values = {key: value for key, value in config.items() if isinstance(value, bool | int | float | str)}
    with tf.summary.create_file_writer(str(folder / "tensorboard" / "train")).as_default():
        hparams.hparams(values, trial_id=name)
