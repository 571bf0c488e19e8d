"""What a served model says, and asking it about many images: the same for a SavedModel here and a server elsewhere."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import AttributeTask

DESCRIBE_REQUEST = b""  # the signature "describe" wants an input and does not look at it
_ABOUT_THE_GRAPH = ("Graph execution error", "Detected at node", 'File "', "<stack traces", "[[", "2 root error")


class RefusedImage(InputError):
    """The model does not take an image of the batch: it cannot be decoded, or is too large."""


@dataclasses.dataclass(frozen=True)
class Answers:
    """Of n images, in their order.

    Attributes:
        embeddings: float32 [n, D], unit length.
        classes: int32 [n, tasks], the most likely class of each attribute task.
        scores: float32 [n, tasks], its probability.
    """

    embeddings: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.embeddings)


@dataclasses.dataclass(frozen=True)
class Description:
    """What a client has to know of a model: its name for itself, the length of an embedding, the attribute tasks."""

    model_id: str
    embedding_size: int
    tasks: tuple[AttributeTask, ...]


class Model(Protocol):
    """`saved_model.LocalModel`, `client.GrpcClient` and `client.RestClient`."""

    def describe(self) -> Description: ...

    def predict(self, images: Sequence[bytes]) -> Answers:
        """Answers for one batch of image files; RefusedImage when there is one among them that cannot be read."""


def answers_from(outputs: Mapping[str, np.ndarray], images: int) -> Answers:
    """Reads the outputs of the signature serving_default; a model without attribute heads has no columns."""
    return Answers(
        _matrix(outputs["embedding"], np.float32, images),
        _matrix(outputs["attribute_classes"], np.int32, images),
        _matrix(outputs["attribute_scores"], np.float32, images),
    )


def description_from(outputs: Mapping[str, np.ndarray]) -> Description:
    """Reads the outputs of the signature describe for one request; strings may be bytes."""
    names, classes = outputs["attribute_names"][0], outputs["class_names"][0]
    tasks = tuple(
        AttributeTask(_text(name), tuple(filter(None, map(_text, row))))
        for name, row in zip(names, classes, strict=True)
    )
    return Description(_text(outputs["model_id"][0]), int(outputs["embedding_size"][0]), tasks)


def no_answers(description: Description) -> Answers:
    """The answers for no image."""
    embeddings = np.zeros([0, description.embedding_size], np.float32)
    tasks = [0, len(description.tasks)]
    return Answers(embeddings, np.zeros(tasks, np.int32), np.zeros(tasks, np.float32))


def embed(
    model: Model, images: Sequence[bytes], batch_size: int = 32, parallel: int = 1
) -> tuple[Answers, dict[int, str]]:
    """Asks about any number of images, in batches, several of them at once.

    Args:
        model: A local model or a client.
        images: Contents of image files, JPEG or PNG.
        batch_size: Images in a request.
        parallel: Requests under way at a time; a server with batching wants many.

    Returns:
        Answers for the images that were taken, in their order, and why the others were not, by position.

    Raises:
        InputError: The server does not answer.
    """
    starts = range(0, len(images), batch_size)
    with ThreadPoolExecutor(max(parallel, 1)) as threads:
        tried = list(threads.map(lambda start: _if_taken(model, images[start : start + batch_size]), starts))
    taken, refused = [], {}
    for start, found in zip(starts, tried, strict=True):
        if found is not None:
            taken.append(found)
            continue
        # One bad image fails its whole batch, and where the server merges requests those beside it: each is asked
        # about again, alone.
        for position in range(start, min(start + batch_size, len(images))):
            try:
                taken.append(model.predict([images[position]]))
            except RefusedImage as error:
                refused[position] = str(error)
    return _joined(taken) if taken else no_answers(model.describe()), refused


def reason(message: str) -> str:
    """What TensorFlow says of an image, without the nodes of the graph that it names around it."""
    lines = [line.strip() for line in message.splitlines()]
    line = next((line for line in lines if line and not line.startswith(_ABOUT_THE_GRAPH)), message)
    line = re.sub(r"^\(\d+\) [A-Z_]+: |\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*?\]", "", line).strip()
    parts = re.findall(r"\[(.*?)\]", line) if line.startswith("assertion failed:") else [line]
    return " ".join(parts)


def _if_taken(model: Model, images: Sequence[bytes]) -> Answers | None:
    try:
        return model.predict(images)
    except RefusedImage:
        return None


def _joined(parts: Sequence[Answers]) -> Answers:
    return Answers(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in dataclasses.fields(Answers))
    )


def _matrix(values: np.ndarray | list, dtype: type, rows: int) -> np.ndarray:
    """[rows, columns]; JSON may lose the shape of a matrix without columns."""
    values = np.asarray(values, dtype)
    return values if values.ndim == 2 else values.reshape(rows, -1)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
