"""A split of a dataset in memory: its TFRecords are read once and then give labels, image files and batches.

The image files are held as they are on disk; Market-1501's training split takes 40 MB.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import UNKNOWN
from lrdnn_tf.data.dataset import Dataset, shard_paths
from lrdnn_tf.data.decode import decode_image
from lrdnn_tf.data.records import parse_examples

PREFETCHED_BATCHES = 4  # with TensorFlow's automatic setting they would take gigabytes
_RECORDS_AT_A_TIME = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """All records of a split, in record order.

    Attributes:
        name: "train", "query" or "gallery".
        images: string [images], the original bytes of the image files.
        labels: A row per image with the columns path (relative to the raw dataset) and, as int64, identity, label,
            camera and the class index of every attribute task.
        tasks: Names of the attribute tasks.
    """

    name: str
    images: tf.Tensor
    labels: pd.DataFrame
    tasks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, count: int) -> "Split":
        """The first records; all when there are fewer."""
        return dataclasses.replace(self, images=self.images[:count], labels=self.labels[:count])

    def image_files(self, indices: Sequence[int]) -> list[bytes]:
        """The original bytes of the image files of these records."""
        return list(tf.gather(self.images, np.asarray(indices, np.int64)).numpy())

    def batches(self, height: int, width: int, batch_size: int) -> tf.data.Dataset:
        """Batches for evaluation: float32 [batch_size, height, width, 3], RGB 0..255; the last one may be smaller."""
        files = tf.data.Dataset.from_tensor_slices(self.images)
        decode = functools.partial(decode_image, height=height, width=width)
        images = files.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return images.batch(batch_size).prefetch(PREFETCHED_BATCHES)


def read_split(dataset: Dataset, name: str) -> Split:
    """Reads a split into memory.

    Raises:
        InputError: There is no such split, a shard is missing, damaged or incomplete, or a label is out of range.
    """
    shards = zip(shard_paths(dataset, name), dataset.splits[name].shards, strict=True)
    parts = [part for path, shard in shards for part in _read_shard(path, shard.examples, len(dataset.attributes))]
    if not parts:
        raise InputError(f"{dataset.path}: the split {name!r} is empty; convert the dataset again")
    columns = {column: tf.concat([part[column] for part in parts], axis=0) for column in parts[0]}
    labels = pd.DataFrame({"path": [path.decode() for path in columns["path"].numpy()]})
    for column in ("identity", "label", "camera"):
        labels[column] = columns[column].numpy()
    tasks = tuple(task.name for task in dataset.attributes)
    for task, classes in zip(tasks, columns["attributes"].numpy().T, strict=True):
        labels[task] = classes
    _check_labels(dataset, name, labels)
    return Split(name, columns["image"], labels, tasks)


def _read_shard(
    path: pathlib.Path, examples: int, tasks: int, at_a_time: int = _RECORDS_AT_A_TIME
) -> Iterator[dict[str, tf.Tensor]]:
    read = 0
    try:
        for serialized in tf.data.TFRecordDataset(str(path)).batch(at_a_time):
            yield parse_examples(serialized, tasks)
            read += len(serialized)
    except tf.errors.OpError as error:
        if at_a_time > 1:
            yield from _read_shard(path, examples, tasks, at_a_time=1)  # raises the error with the number of the record
        raise InputError(f"{path}: record {read} is damaged; copy the dataset again or convert it again") from error
    if read != examples:
        raise InputError(f"{path}: {read} records, but dataset.json states {examples}; copy or convert it again")


def _check_labels(dataset: Dataset, name: str, labels: pd.DataFrame) -> None:
    """Class indices must fit the model's heads; out of range they would cause NaN or a crash later."""
    ranges = {"label": (0, len(dataset.identities)) if name == "train" else (-1, 0)}
    ranges |= {task.name: (UNKNOWN, len(task.classes)) for task in dataset.attributes}
    for column, (low, high) in ranges.items():
        values = labels[column].to_numpy()
        bad = np.flatnonzero((values < low) | (values >= high))
        if bad.size:
            where = f"{dataset.path}: split {name!r}, record {bad[0]} ({labels['path'][bad[0]]})"
            raise InputError(f"{where}: {column} is {values[bad[0]]}, not in {low}..{high - 1}; convert it again")
