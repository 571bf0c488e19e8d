"""Reads a converted dataset again and compares it with its dataset.json.

    python -m data_prep.verify data/market1501

Checks the hash and the number of records of every shard, that every image decodes, and that the labels are consistent;
prints the counts and writes a contact sheet, on which a person can see whether images and labels belong together.
Problems are listed by shard and record, counted from 0, and end in exit code 1. It works for re-identification and for
pose datasets.
"""

# First, since it suppresses the start-up messages of TensorFlow, which the imports below bring.
from lrdnn_base import command  # isort: skip

import functools
import operator
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import tensorflow as tf
from absl import flags
from tqdm import tqdm

from data_prep.output import list_all
from data_prep.shards import image_sizes
from lrdnn_base.errors import InputError
from lrdnn_base.files import sha256
from lrdnn_base.images import write_image
from lrdnn_tf.attributes import UNKNOWN, AttributeTask
from lrdnn_tf.data import records
from lrdnn_tf.data.dataset import DESCRIPTION_FILE, DISTRACTOR, Dataset, read_dataset, read_description
from pose_pretrain import records as pose_records

_TILES = 24  # images of each split on the contact sheet
_PER_ROW = 12
_CAPTION = 18  # pixels


class Record(NamedTuple):
    """One checked record: its values by column, its problem ("" for none), and its tile on the contact sheet."""

    values: dict[str, Any]
    problem: str
    image: bytes
    caption: str
    keypoints: np.ndarray | None = None


class Verification(NamedTuple):
    """Result of verify.

    Attributes:
        counts: One row per split.
        classes: Re-identification only: examples of each class of each attribute task, one column per split.
        problems: All differences from dataset.json and all bad records; empty for a good dataset.
        samples: For each split some records, evenly spaced.
    """

    counts: pd.DataFrame
    classes: pd.DataFrame
    problems: list[str]
    samples: dict[str, list[Record]]


def verify(data_dir: str | os.PathLike) -> Verification:
    """Checks a converted dataset, with a progress bar.

    Raises:
        InputError: dataset.json is missing or cannot be read. All other problems are in the result.
    """
    path = pathlib.Path(data_dir)
    description = read_description(path)
    if description.get("kind") == "pose":
        tasks, counted, columns, check = (), ("examples", "people"), ("people",), _check_scenes
    else:
        dataset = read_dataset(path)
        tasks, counted = dataset.attributes, ("examples", "identities", "distractors")
        columns = ("identity", "label", "camera", *(task.name for task in tasks))
        check = functools.partial(_check_crops, dataset, columns)
    _check_description(path, description, counted)
    counts, classes, problems, samples = {}, {}, [], {}
    for split, entry in description["splits"].items():
        rows, found, samples[split] = _read_split(path, split, entry["shards"], check)
        table = pd.DataFrame(rows, columns=columns)
        counts[split] = _count(table)
        classes[split] = _count_classes(table, tasks)
        problems += found
        for column in counted:
            if counts[split][column] != entry[column]:
                problems.append(f"{split}: {counts[split][column]} {column}, dataset.json says {entry[column]}")
    return Verification(pd.DataFrame(counts).T, pd.DataFrame(classes), problems, samples)


def contact_sheet(samples: Mapping[str, Sequence[Record]], height: int = 192) -> np.ndarray:
    """Images with captions and keypoints in rows, split by split.

    Args:
        samples: For each split its records.
        height: Height in pixels of each image on the sheet.

    Returns:
        uint8 [rows, columns, 3], BGR.
    """
    rows = []
    for split, found in samples.items():
        for start in range(0, len(found), _PER_ROW):
            row = np.hstack([_tile(record, height) for record in found[start : start + _PER_ROW]])
            title = np.zeros((_CAPTION, row.shape[1], 3), np.uint8)
            rows += [_write(title, split), row]
    width = max(row.shape[1] for row in rows)
    return np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])


def _check_description(path: pathlib.Path, description: Mapping[str, Any], counted: Sequence[str]) -> None:
    try:
        for entry in description["splits"].values():
            operator.itemgetter(*counted)(entry)
            for shard in entry["shards"]:
                operator.itemgetter("file", "examples", "sha256")(shard)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path / DESCRIPTION_FILE}: incomplete ({error}); convert the dataset again") from error


def _read_split(
    folder: pathlib.Path,
    split: str,
    shards: Sequence[Mapping[str, Any]],
    check: Callable[[Sequence[bytes], str], list[Record]],
) -> tuple[list[dict[str, Any]], list[str], list[Record]]:
    """The values of all records of a split, the problems, and the records for the contact sheet."""
    total = sum(shard["examples"] for shard in shards)
    wanted = set(np.linspace(0, total - 1, min(_TILES, total)).astype(int).tolist())
    rows, problems, samples = [], [], []
    with tqdm(total=total, desc=split, unit="record", disable=None) as bar:
        for shard in shards:
            path = folder / shard["file"]
            if not path.is_file():
                problems.append(f"{path}: missing")
                continue
            if sha256(path) != shard["sha256"]:
                problems.append(f"{path}: not the SHA-256 in dataset.json")
            before = len(rows)
            try:
                for chunk in _chunks(path):
                    for record in check(chunk, split):
                        if record.problem:
                            problems.append(f"{path}: record {len(rows) - before}: {record.problem}")
                        elif len(rows) in wanted:
                            samples.append(record)
                        rows.append(record.values)
                    bar.update(len(chunk))
            except tf.errors.DataLossError:
                damaged = len(rows) - before
                problems.append(f"{path}: record {damaged}: damaged; it and the records after it cannot be read")
            if len(rows) - before != shard["examples"]:
                problems.append(f"{path}: {len(rows) - before} records, dataset.json says {shard['examples']}")
    return rows, problems, samples


def _chunks(path: pathlib.Path, size: int = 256) -> Iterator[list[bytes]]:
    """The records of a file, in chunks; those before a damaged record are yielded before the error is raised."""
    chunk = []
    try:
        for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            chunk.append(serialized)
            if len(chunk) == size:
                yield chunk
                chunk = []
    except tf.errors.DataLossError:
        yield chunk
        raise
    yield chunk


def _check_crops(dataset: Dataset, columns: Sequence[str], chunk: Sequence[bytes], split: str) -> list[Record]:
    try:
        parsed = records.parse_examples(tf.constant(chunk, tf.string), len(dataset.attributes))
    except tf.errors.InvalidArgumentError:
        if len(chunk) > 1:
            return [record for serialized in chunk for record in _check_crops(dataset, columns, [serialized], split)]
        return [Record(dict.fromkeys(columns, UNKNOWN), "not a re-identification example", b"", "")]
    label_of = {identity: label for label, identity in enumerate(dataset.identities)}
    labels = np.column_stack([parsed["identity"], parsed["label"], parsed["camera"], parsed["attributes"]])
    images = parsed["image"].numpy().tolist()
    found = []
    rows = zip(labels.tolist(), parsed["path"].numpy(), images, image_sizes(images), strict=True)
    for row, path, image, size in rows:
        values = dict(zip(columns, row, strict=True))
        label = label_of.get(values["identity"]) if split == "train" else -1
        wrong = _wrong_labels(dataset, label, values) + ([] if size else ["the image does not decode"])
        problem = f"{path.decode()}: {', '.join(wrong)}" if wrong else ""
        found.append(Record(values, problem, image, f"{values['identity']} c{values['camera']}"))
    return found


def _wrong_labels(dataset: Dataset, label: int | None, values: Mapping[str, int]) -> list[str]:
    """The problems of a record; `label` is the correct label, None for an identity that is not in train."""
    wrong = []
    if values["label"] != label:
        wrong.append(f"label {values['label']} is not that of identity {values['identity']}")
    if values["camera"] not in dataset.cameras:
        wrong.append(f"camera {values['camera']} is not in dataset.json")
    for task in dataset.attributes:
        if not UNKNOWN <= values[task.name] < len(task.classes):
            wrong.append(f"{task.name} has no class {values[task.name]}")
    return wrong


def _check_scenes(chunk: Sequence[bytes], split: str) -> list[Record]:
    return [_check_scene(serialized) for serialized in chunk]


def _check_scene(serialized: bytes) -> Record:
    try:
        parsed = pose_records.parse_example(tf.constant(serialized))
    except tf.errors.InvalidArgumentError:
        return Record({"people": 0}, "not a pose example", b"", "")
    image, mask, keypoints = parsed["image"].numpy(), parsed["ignore_mask"].numpy(), parsed["keypoints"].numpy()
    size = (int(parsed["height"]), int(parsed["width"]))
    wrong = []
    if image_sizes([image]) != [size]:
        wrong.append("the image does not decode to its size")
    if mask and image_sizes([mask]) != [size]:
        wrong.append("the mask does not decode to the size of the image")
    if not np.isfinite(keypoints).all() or not np.isin(keypoints[:, :, 2], (0, 1, 2)).all():
        wrong.append("keypoints that are not finite, or of unknown visibility")
    if not len(keypoints) == len(parsed["boxes"]) == len(parsed["areas"]) > 0:
        wrong.append("no people, or not one box and one area for each")
    image_id = int(parsed["image_id"])
    problem = f"image {image_id}: {', '.join(wrong)}" if wrong else ""
    return Record({"people": len(keypoints)}, problem, image, str(image_id), keypoints)


def _count(table: pd.DataFrame) -> dict[str, int]:
    if "identity" not in table:
        return {"examples": len(table), "people": int(table.people.sum())}
    identities, distractors = table.identity[table.identity > DISTRACTOR], table.identity == DISTRACTOR
    return {"examples": len(table), "identities": identities.nunique(), "distractors": int(distractors.sum())}


def _count_classes(table: pd.DataFrame, tasks: Sequence[AttributeTask]) -> dict[tuple[str, str], int]:
    return {
        (task.name, name): int((table[task.name] == index).sum())
        for task in tasks
        for index, name in [*enumerate(task.classes), (UNKNOWN, "unknown")]
    }


def _tile(record: Record, height: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(record.image, np.uint8), cv2.IMREAD_COLOR)
    scale = height / image.shape[0]
    tile = cv2.resize(image, (max(round(scale * image.shape[1]), 1), height), interpolation=cv2.INTER_AREA)
    if record.keypoints is not None:
        for x, y, visibility in record.keypoints.reshape(-1, 3) * (scale, scale, 1):
            if visibility:
                cv2.circle(tile, (round(x), round(y)), 2, (0, 255, 0), cv2.FILLED, cv2.LINE_AA)
    return np.vstack([tile, _write(np.zeros((_CAPTION, tile.shape[1], 3), np.uint8), record.caption)])


def _write(strip: np.ndarray, text: str) -> np.ndarray:
    return cv2.putText(strip, text, (2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)


def main() -> None:
    args = flags.FLAGS
    found = verify(args.data_dir)
    print(found.counts.to_string())
    if len(found.classes):
        print(found.classes.to_string())
    if any(found.samples.values()):
        sheet = args.contact_sheet or os.path.join(args.data_dir, "contact_sheet.png")
        write_image(sheet, contact_sheet(found.samples))
        print(f"contact sheet: {sheet}")
    if found.problems:
        raise InputError(f"{args.data_dir}: {list_all(found.problems, 'problems')}")
    print("no problems")


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", None, "Converted dataset; also accepted as the first argument.", required=True)
    flags.DEFINE_string("contact_sheet", None, "PNG to write; contact_sheet.png in data_dir when not given.")
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        sys.argv[1] = f"--data_dir={sys.argv[1]}"
    command.run(main)
