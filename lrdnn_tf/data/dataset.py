"""A converted dataset: a folder of TFRecord shards and the dataset.json that describes them."""

import dataclasses
import hashlib
import os
import pathlib
from typing import NamedTuple

from lrdnn_base.errors import InputError
from lrdnn_base.files import read_json
from lrdnn_tf.attributes import AttributeTask

DESCRIPTION_FILE = "dataset.json"
FORMAT_VERSION = 1
JUNK = -1  # identity of wrong detections, which every ranking ignores
DISTRACTOR = 0  # identity of gallery images of people who are in no query
UNKNOWN_CAMERA = 0  # camera of images whose camera nobody recorded; known ones count from 1
LARGEST_IDENTITY = 2**63 - 1  # identities are int64 in records, labels and rankings
CONVERTERS = "python -m data_prep.from_csv, data_prep.from_folders, data_prep.market1501 or another of data_prep"


class Shard(NamedTuple):
    """One TFRecord file of a split."""

    file: str
    examples: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class SplitInfo:
    """Counts and files of one split. Distractors are among the examples; junk images were counted, not written."""

    examples: int
    identities: int
    junk: int
    distractors: int
    shards: tuple[Shard, ...]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Description of a converted re-identification dataset, from its dataset.json.

    Attributes:
        path: The folder.
        name: "market1501", "dukemtmc", ...
        attributes: The attribute tasks, in the order of the records' attributes; empty without attribute labels.
        identities: The dataset's own numbers of the training identities; label i is the i-th of them.
        cameras: Camera numbers, UNKNOWN_CAMERA among them if some are unknown.
        splits: Description of each split, under "train", "query" and "gallery".
    """

    path: pathlib.Path
    name: str
    attributes: tuple[AttributeTask, ...]
    identities: tuple[int, ...]
    cameras: tuple[int, ...]
    splits: dict[str, SplitInfo]

    def has_images(self, split: str) -> bool:
        """Whether there is such a split and it is not empty."""
        return split in self.splits and self.splits[split].examples > 0


def read_dataset(data_dir: str | os.PathLike) -> Dataset:
    """Reads dataset.json of a converted re-identification dataset.

    Raises:
        InputError: The folder is not a converted re-identification dataset, or has another format version.
    """
    path = pathlib.Path(data_dir)
    description = read_description(path)
    if (kind := description.get("kind")) != "reid":
        raise InputError(f"{path}: a dataset of kind {kind!r}, not 'reid'; make one with {CONVERTERS}")
    try:
        return Dataset(
            path=path,
            name=description["name"],
            attributes=tuple(AttributeTask(task["name"], tuple(task["classes"])) for task in description["attributes"]),
            identities=tuple(description["identities"]),
            cameras=tuple(description["cameras"]),
            splits={name: _split_info(fields) for name, fields in description["splits"].items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path / DESCRIPTION_FILE}: incomplete ({error}); convert the dataset again") from error


def read_description(path: pathlib.Path) -> dict:
    """The content of dataset.json, of any kind of dataset."""
    file = path / DESCRIPTION_FILE
    if not file.is_file():
        raise InputError(f"{path}: not a converted dataset, it has no {DESCRIPTION_FILE}; make one with {CONVERTERS}")
    description = read_json(file, "convert the dataset again")
    if description.get("format_version") != FORMAT_VERSION:
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
    """A short hash of the training split: trainings on datasets with the same hash see the same images."""
    hashes = "".join(shard.sha256 for shard in dataset.splits["train"].shards)
    return hashlib.sha256(hashes.encode()).hexdigest()[:16]


def _split_info(fields: dict) -> SplitInfo:
    shards = tuple(Shard(shard["file"], shard["examples"], shard["sha256"]) for shard in fields["shards"])
    return SplitInfo(fields["examples"], fields["identities"], fields["junk"], fields["distractors"], shards)
