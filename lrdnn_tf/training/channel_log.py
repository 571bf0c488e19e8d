"""The weights of the channel parse block as curves in TensorBoard."""

import pathlib

import tensorflow as tf
import tf_keras as keras

from lrdnn_tf.model.channel_weights import ChannelWeights, by_name


class ChannelWeightsLog(keras.callbacks.Callback):
    """After each epoch, writes the mean weight of every keypoint and limb over the same images.

    Args:
        folder: Where the event file goes.
        pose_maps: Of the model's config.
        images: float32 [B, height, width, 3], RGB 0..255.
    """

    def __init__(self, folder: pathlib.Path, pose_maps: str, images: tf.Tensor):
        super().__init__()
        self.writer = tf.summary.create_file_writer(str(folder))
        self.pose_maps = pose_maps
        self.images = images

    def on_train_begin(self, logs=None):
        self.weights = ChannelWeights(self.model, self.pose_maps)

    def on_epoch_end(self, epoch, logs=None):
        weights = by_name(self.weights(self.images))
        with self.writer.as_default(step=epoch):
            for (kind, name), weight in weights.items():
                tf.summary.scalar(f"channel_weights_{kind}/{name.replace(' ', '_')}", weight)
        self.writer.flush()
