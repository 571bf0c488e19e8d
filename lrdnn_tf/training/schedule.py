"""The learning rate as a function of the step."""

import math

import tensorflow as tf
import tf_keras as keras

from lrdnn_tf.config import TrainingConfig


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The rate of a training: the paper's decay after every epoch (section 4.3), or a cosine; both after a warm-up.

    The warm-up rises in a straight line over its epochs. "decay" counts epochs from the start of the training, warm-up
    or not; "cosine" falls from the full rate at the end of the warm-up to 0 at the end of the training.

    Args:
        training: Epochs, learning_rate, decay, schedule and warmup_epochs.
        steps: Of an epoch.
    """

    def __init__(self, training: TrainingConfig, steps: int):
        self.training = training
        self.steps = steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        training = self.training
        step = tf.cast(step, tf.float32)
        warm_up, total = training.warmup_epochs * self.steps, training.epochs * self.steps
        if training.schedule == "cosine":
            progress = tf.clip_by_value((step - warm_up) / max(total - warm_up, 1), 0.0, 1.0)
            factor = (1 + tf.cos(math.pi * progress)) / 2
        else:
            factor = training.decay ** tf.floor(step / self.steps)
        return training.learning_rate * factor * tf.minimum(1.0, (step + 1) / max(warm_up, 1))

    def get_config(self):
        return {"training": self.training, "steps": self.steps}
