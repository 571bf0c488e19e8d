"""What a model says of every image of a split: its descriptor and its attribute logits."""

import dataclasses
import math

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tqdm import tqdm

from lrdnn_base.errors import InputError
from lrdnn_tf.data.dataset import Dataset
from lrdnn_tf.data.pipeline import evaluation_batches
from lrdnn_tf.model.lrdnn import EMBEDDING, IDENTITY


@dataclasses.dataclass(frozen=True)
class Descriptions:
    """Of the images of a split, in record order.

    Attributes:
        embeddings: float32 [images, D], as the model gives them: not normalized.
        logits: float32 [images, classes] per attribute task.
    """

    embeddings: np.ndarray
    logits: dict[str, np.ndarray]

    def predictions(self) -> dict[str, np.ndarray]:
        """The most likely class of each attribute task: int64 [images]."""
        return {task: logits.argmax(axis=1) for task, logits in self.logits.items()}


def describe(
    model: keras.Model, dataset: Dataset, split: str, batch_size: int = 64, flip: bool = False
) -> Descriptions:
    """Runs the model over a split.

    Args:
        model: Of `lrdnn_tf.model.lrdnn.build_model`; images are resized to its input.
        dataset: A converted dataset.
        split: "query", "gallery" or "train".
        batch_size: Images at a time; does not change the numbers.
        flip: Whether an embedding is the mean of those of the image and of its mirror image, as is common in the
            field; it takes twice the time. Attribute logits are those of the image alone.

    Raises:
        InputError: The split cannot be read, or the model gives NaN or infinity.
    """
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: must be at least 1")
    _, height, width, channels = model.input_shape
    wanted = [name for name in model.output if name != IDENTITY]
    spec = tf.TensorSpec([None, height, width, channels], tf.float32)
    predict = tf.function(lambda images: model(images, training=False)).get_concrete_function(spec)
    batches = evaluation_batches(dataset, split, height, width, batch_size)
    steps = math.ceil(dataset.splits[split].examples / batch_size)
    parts = []
    for images in tqdm(batches, total=steps, desc=f"  {split}", unit="batch", disable=None):
        outputs = dict(predict(images))
        if flip:
            outputs[EMBEDDING] = (outputs[EMBEDDING] + predict(images[:, :, ::-1])[EMBEDDING]) / 2
        parts.append({name: outputs[name].numpy().astype(np.float32) for name in wanted})
    columns = {name: np.concatenate([part[name] for part in parts]) for name in wanted}
    embeddings = columns.pop(EMBEDDING)
    if not np.isfinite(embeddings).all():
        raise InputError(f"{split}: the model gives NaN or infinity; its training did not go well, train it again")
    return Descriptions(embeddings, columns)
