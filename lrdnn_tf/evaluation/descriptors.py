"""Descriptor and attribute logits of every image of a split."""

import dataclasses
import math

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tqdm import tqdm

from lrdnn_base.errors import InputError
from lrdnn_tf.data.split import Split
from lrdnn_tf.evaluation.protocol import Labels
from lrdnn_tf.model.lrdnn import EMBEDDING, IDENTITY


@dataclasses.dataclass(frozen=True)
class Descriptions:
    """Outputs of a model for the images of a split, in record order.

    Attributes:
        embeddings: float32 [images, D], as the model returns them, not normalized.
        logits: float32 [images, classes] per attribute task.
    """

    embeddings: np.ndarray
    logits: dict[str, np.ndarray]

    def predictions(self) -> dict[str, np.ndarray]:
        """The most likely class of each attribute task: int64 [images]."""
        return {task: logits.argmax(axis=1) for task, logits in self.logits.items()}


def ranking_labels(split: Split) -> Labels:
    """The identities and cameras of a split, as the functions that rank take them."""
    return Labels(split.labels["identity"].to_numpy(), split.labels["camera"].to_numpy())


def describe(model: keras.Model, split: Split, batch_size: int = 64, flip: bool = False) -> Descriptions:
    """Runs the model over a split.

    Args:
        model: Model returned by `lrdnn_tf.model.lrdnn.build_model`; images are resized to its input.
        split: The images.
        batch_size: Images at a time; does not change the numbers.
        flip: Whether an embedding is the mean of those of the image and of its mirror image, as is common in the
            field; it takes twice the time. Attribute logits are those of the image alone.

    Raises:
        InputError: The batch size is below 1, or an embedding holds NaN or infinity.
    """
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: must be at least 1")
    _, height, width, channels = model.input_shape
    wanted = [name for name in model.output if name != IDENTITY]
    spec = tf.TensorSpec([None, height, width, channels], tf.float32)
    predict = tf.function(lambda images: model(images, training=False)).get_concrete_function(spec)
    steps = math.ceil(len(split) / batch_size)
    batches = split.batches(height, width, batch_size)
    parts = []
    for images in tqdm(batches, total=steps, desc=f"  {split.name}", unit="batch", disable=None):
        outputs = dict(predict(images))
        if flip:
            outputs[EMBEDDING] = (outputs[EMBEDDING] + predict(images[:, :, ::-1])[EMBEDDING]) / 2
        parts.append({name: outputs[name].numpy().astype(np.float32) for name in wanted})
    columns = {name: np.concatenate([part[name] for part in parts]) for name in wanted}
    embeddings = columns.pop(EMBEDDING)
    if not np.isfinite(embeddings).all():
        raise InputError(f"{split.name}: the model returns NaN or infinity; its training failed, train it again")
    return Descriptions(embeddings, columns)
