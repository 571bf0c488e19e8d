"""The learning rate as a function of the step."""

import math

import tensorflow as tf
import tf_keras as keras


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The paper's decay after every epoch (section 4.3), or a cosine (Loshchilov and Hutter, ICLR 2017).

    Either starts with a linear warm-up, if there is one. "decay" counts epochs from the start of the training, warm-up
    included; "cosine" falls from the full rate at the end of the warm-up to 0 at the end of the training.

    Args:
        learning_rate: The full rate.
        steps: Steps of an epoch.
        epochs: Epochs of the training.
        decay: Factor after every epoch, for "decay".
        schedule: "decay" or "cosine".
        warmup_epochs: Epochs in which the rate rises linearly from 0.
    """

    def __init__(
        self,
        learning_rate: float,
        steps: int,
        epochs: int,
        decay: float = 1.0,
        schedule: str = "decay",
        warmup_epochs: int = 0,
    ):
        self.learning_rate, self.steps, self.epochs = learning_rate, steps, epochs
        self.decay, self.schedule, self.warmup_epochs = decay, schedule, warmup_epochs

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        warm_up, total = self.warmup_epochs * self.steps, self.epochs * self.steps
        if self.schedule == "cosine":
            progress = tf.clip_by_value((step - warm_up) / max(total - warm_up, 1), 0.0, 1.0)
            factor = (1 + tf.cos(math.pi * progress)) / 2
        else:
            factor = self.decay ** tf.floor(step / self.steps)
        return self.learning_rate * factor * tf.minimum(1.0, (step + 1) / max(warm_up, 1))

    def get_config(self):
        return dict(vars(self))
