"""The interface of a served model, local or behind TensorFlow Serving, and embedding many images with it."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import AttributeTask

DESCRIBE_REQUEST = b""  # the signature "describe" requires an input and ignores it
_ABOUT_THE_GRAPH = ("Graph execution error", "Detected at node", 'File "', "<stack traces", "[[", "2 root error")


class RefusedImage(InputError):
    """The model rejects an image of the batch: it cannot be decoded, or is too large."""


@dataclasses.dataclass(frozen=True)
class Answers:
    """The outputs of a model for n images, in the order of the images.

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
    """What a client needs to know about a model: the id of its weights, the embedding's length, the attribute tasks."""

    model_id: str
    embedding_size: int
    tasks: tuple[AttributeTask, ...]


class Model(Protocol):
    """`saved_model.LocalModel`, `client.GrpcClient` and `client.RestClient`."""

    def describe(self) -> Description:
        """What the model is; a client raises `client.ServerError` when the server is down or slow."""

    def predict(self, images: Sequence[bytes]) -> Answers:
        """Outputs for one batch of image files (their bytes).

        Raises:
            RefusedImage: An image cannot be decoded, or is too large.
            InputError: The server is down or too slow, or has no such model.
        """


def answers_from(outputs: Mapping[str, np.ndarray], images: int) -> Answers:
    """Converts the outputs of the signature serving_default; classes and scores of a model without tasks are [n, 0]."""
    return Answers(
        _matrix(outputs["embedding"], np.float32, images),
        _matrix(outputs["attribute_classes"], np.int32, images),
        _matrix(outputs["attribute_scores"], np.float32, images),
    )


def description_from(outputs: Mapping[str, np.ndarray]) -> Description:
    """Converts the outputs of the signature describe for one request; strings may be bytes."""
    names, classes = outputs["attribute_names"][0], outputs["class_names"][0]
    tasks = tuple(
        AttributeTask(_text(name), tuple(filter(None, map(_text, row))))
        for name, row in zip(names, classes, strict=True)
    )
    return Description(_text(outputs["model_id"][0]), int(outputs["embedding_size"][0]), tasks)


def no_answers(description: Description) -> Answers:
    """The outputs for an empty batch."""
    embeddings = np.zeros([0, description.embedding_size], np.float32)
    tasks = [0, len(description.tasks)]
    return Answers(embeddings, np.zeros(tasks, np.int32), np.zeros(tasks, np.float32))


def embed(
    model: Model, images: Sequence[bytes], batch_size: int = 32, parallel: int = 1
) -> tuple[Answers, dict[int, str]]:
    """Computes the outputs for any number of images, in batches, several of them in parallel.

    Args:
        model: A local model or a client.
        images: The bytes of image files, JPEG or PNG.
        batch_size: Images per request.
        parallel: Number of concurrent requests; a server with batching needs many to fill its batches.

    Returns:
        The outputs for the accepted images, in their order, and the reasons why others were refused, by index.

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
        # One bad image fails its batch, and all requests that a server merged with it: each image is retried alone.
        for position in range(start, min(start + batch_size, len(images))):
            try:
                taken.append(model.predict([images[position]]))
            except RefusedImage as error:
                refused[position] = str(error)
    return _joined(taken) if taken else no_answers(model.describe()), refused


def reason(message: str) -> str:
    """TensorFlow's error message about an image, without the names of graph nodes around it."""
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
