"""A converted dataset: a folder of TFRecord shards and the dataset.json that describes them."""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import NamedTuple

from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import AttributeTask

DESCRIPTION_FILE = "dataset.json"
FORMAT_VERSION = 1
JUNK = -1  # identity of images that every ranking ignores: wrong detections
DISTRACTOR = 0  # identity of gallery images that match no query
CONVERTERS = "python -m data_prep.market1501, data_prep.dukemtmc or data_prep.from_csv"


class Shard(NamedTuple):
    """One TFRecord file of a split."""

    file: str
    examples: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Split:
    """Counts of one split. Junk images were counted and not written; distractors are among the examples."""

    examples: int
    identities: int
    junk: int
    distractors: int
    shards: tuple[Shard, ...]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """What dataset.json says of a re-identification dataset.

    Attributes:
        path: The folder.
        name: "market1501", "dukemtmc", ...
        attributes: The attribute tasks in the order of the records' attributes; empty without label files.
        identities: The dataset's own numbers of the training identities, in the order of the labels.
        cameras: Camera numbers.
        splits: By name: train, query, gallery.
    """

    path: pathlib.Path
    name: str
    attributes: tuple[AttributeTask, ...]
    identities: tuple[int, ...]
    cameras: tuple[int, ...]
    splits: dict[str, Split]


def read_dataset(data_dir: str | os.PathLike) -> Dataset:
    """Reads dataset.json of a converted re-identification dataset.

    Raises:
        InputError: The folder is not a converted re-identification dataset, or not of this format version.
    """
    path = pathlib.Path(data_dir)
    description = read_description(path)
    if description.get("kind") != "reid":
        kind = description.get("kind")
        raise InputError(f"{path}: a dataset of kind {kind!r}, not 'reid'; make one with {CONVERTERS}")
    try:
        return Dataset(
            path=path,
            name=description["name"],
            attributes=tuple(AttributeTask(task["name"], tuple(task["classes"])) for task in description["attributes"]),
            identities=tuple(description["identities"]),
            cameras=tuple(description["cameras"]),
            splits={name: _split(fields) for name, fields in description["splits"].items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path / DESCRIPTION_FILE}: incomplete ({error}); convert the dataset again") from error


def read_description(path: pathlib.Path) -> dict:
    """The content of dataset.json, of any kind of dataset."""
    file = path / DESCRIPTION_FILE
    if not file.is_file():
        raise InputError(f"{path}: not a converted dataset, it has no {DESCRIPTION_FILE}; make one with {CONVERTERS}")
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error}); convert the dataset again") from error
    if not isinstance(description, dict) or description.get("format_version") != FORMAT_VERSION:
        raise InputError(f"{file}: not of format version {FORMAT_VERSION}; convert the dataset again")
    return description


def shard_paths(dataset: Dataset, split: str) -> list[pathlib.Path]:
    """The TFRecord files of a split, in record order.

    Raises:
        InputError: The dataset has no such split, or a file is missing.
    """
    if split not in dataset.splits:
        raise InputError(f"{dataset.path}: no split {split!r}, only {', '.join(dataset.splits)}")
    paths = [dataset.path / shard.file for shard in dataset.splits[split].shards]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: missing; copy the dataset again or convert it again")
    return paths


def training_images_hash(dataset: Dataset) -> str:
    """A short name for the content of the training split: two datasets with the same one train the same."""
    hashes = "".join(shard.sha256 for shard in dataset.splits["train"].shards)
    return hashlib.sha256(hashes.encode()).hexdigest()[:16]


def _split(fields: dict) -> Split:
    shards = tuple(Shard(shard["file"], shard["examples"], shard["sha256"]) for shard in fields["shards"])
    return Split(fields["examples"], fields["identities"], fields["junk"], fields["distractors"], shards)
