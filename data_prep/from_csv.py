"""Converts any re-identification dataset that a CSV file describes to TFRecords.

    python -m data_prep.from_csv --csv=people.csv --images_dir=people --out_dir=data/people

One row an image, with the columns `path` (relative to --images_dir), `identity`, `camera` (a whole number from 1) and
`split` (train, query or gallery). Identities are numbers, with -1 for junk and 0 for a distractor as in Market-1501,
or names. Every further column is an attribute task: its values are the names of the classes, empty where unknown, and
may differ from image to image of one person.
"""

# First, so that TensorFlow's start-up notes stay off the screen.
from lrdnn_base import command  # isort: skip

import os
import pathlib
from typing import Any, NamedTuple

import pandas as pd
from absl import flags, logging

from data_prep import reid
from data_prep.shards import list_all
from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import UNKNOWN, AttributeTask

COLUMNS = ("path", "identity", "camera", "split")
# What tables and outputs downstream call other things by.
RESERVED = (*COLUMNS, "label", "images", "embedding")
_NO_NAMES = {str(reid.JUNK): reid.JUNK, str(reid.DISTRACTOR): reid.DISTRACTOR}


class CropTable(NamedTuple):
    """A CSV file, read: attribute tasks, crops by split, numbers by identity name (empty where they are numbers)."""

    tasks: tuple[AttributeTask, ...]
    crops: dict[str, list[reid.Crop]]
    identity_names: dict[str, int]


def convert(
    csv: str | os.PathLike,
    out_dir: str | os.PathLike,
    images_dir: str | os.PathLike | None = None,
    name: str | None = None,
    shards: int = 4,
    skip_bad_images: bool = False,
) -> dict[str, Any]:
    """Converts the dataset that a CSV file describes.

    Args:
        csv: See read_crops.
        out_dir: Folder to make; must not exist.
        images_dir: What the paths in the file are relative to; by default the folder of the file.
        name: Name of the dataset, by default that of the file.
        shards: TFRecord files per split.
        skip_bad_images: Whether to leave out images that are missing or do not decode, and list them in dataset.json.

    Returns:
        The `splits` of dataset.json.

    Raises:
        InputError: See read_crops and data_prep.reid.convert.
    """
    path = pathlib.Path(csv)
    if images_dir is not None and not os.path.isdir(images_dir):
        raise InputError(f"{images_dir}: no such folder; --images_dir is what the paths in {path} are relative to")
    found = read_crops(path)
    return reid.convert(
        path.parent if images_dir is None else images_dir,
        out_dir,
        name or path.stem,
        found.tasks,
        found.crops,
        identity_names=found.identity_names,
        shards=shards,
        skip_bad_images=skip_bad_images,
        command=reid.command_line(
            "data_prep.from_csv",
            csv=csv,
            images_dir=images_dir,
            out_dir=out_dir,
            name=name,
            shards=shards,
            skip_bad_images=skip_bad_images,
        ),
    )


def read_crops(csv: str | os.PathLike) -> CropTable:
    """Reads the rows of a CSV file, in their order, with the columns of COLUMNS and one column per attribute task.

    The classes of a task are the values of its column, over all splits, sorted. Where not all identities are whole
    numbers they are names, and get the numbers 1, 2, ... in the order of the names; -1 and 0 keep their meaning.

    Raises:
        InputError: The file cannot be read, is not such a table, or has rows that cannot be used; they are named.
    """
    path = pathlib.Path(csv)
    table = _read_table(path)
    _check_rows(table, path)
    identities, identity_names = _number_identities(table.identity, path)
    tasks = tuple(_attribute_task(table[column], path) for column in table.columns if column not in COLUMNS)
    classes = [_class_indices(table[task.name], task) for task in tasks]
    rows = zip(table.split, table.path, identities, table.camera.astype(int), *classes, strict=True)
    crops = {split: [] for split in reid.SPLITS}
    for split, image, identity, camera, *attributes in rows:
        crops[split].append(reid.Crop(image, identity, camera, tuple(attributes)))
    if not crops["train"]:
        raise InputError(f"{path}: no row of split train")
    if empty := [split for split, found in crops.items() if not found]:
        logging.warning("%s: no row of split %s; the dataset serves for training only", path, " and ".join(empty))
    return CropTable(tasks, crops, identity_names)


def _read_table(path: pathlib.Path) -> pd.DataFrame:
    """All cells as text without surrounding blanks; the index is the line in the file, the header being line 1."""
    try:
        table = pd.read_csv(
            path, dtype=str, na_filter=False, encoding="utf-8-sig", skipinitialspace=True, skip_blank_lines=False
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # pandas' own errors and those of text that is not UTF-8
        raise InputError(f"{path}: not a CSV file ({' '.join(str(error).split())})") from error
    if missing := [column for column in COLUMNS if column not in table.columns]:
        raise InputError(f"{path}: no column {', '.join(missing)}; its first line is {','.join(table.columns)!r}")
    if not isinstance(table.index, pd.RangeIndex):
        raise InputError(f"{path}: its rows have more values than its first line has columns")
    table = table.apply(lambda column: column.str.strip())
    table.index += 2
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise InputError(f"{path}: no row below its first line")
    return table


def _check_rows(table: pd.DataFrame, path: pathlib.Path) -> None:
    _require(table.path != "", table.path, path, "empty paths")
    _require(~table.path.duplicated(), table.path, path, "paths that an earlier row has")
    _require(table.split.isin(reid.SPLITS), table.split, path, f"splits that are not {', '.join(reid.SPLITS)}")
    _require(table.camera.str.fullmatch(r"0*[1-9]\d{0,8}"), table.camera, path, "cameras that are no number from 1")
    _require(table.identity != "", table.identity, path, "empty identities")


def _require(good: pd.Series, column: pd.Series, path: pathlib.Path, what: str) -> None:
    if not good.all():
        raise InputError(f"{path}: {list_all([f'{v!r} in line {n}' for n, v in column[~good].items()], what)}")


def _number_identities(column: pd.Series, path: pathlib.Path) -> tuple[list[int], dict[str, int]]:
    """The numbers of the identities, and by name where they have names."""
    if column.str.fullmatch(r"-?\d{1,18}").all():
        numbers = column.astype("int64")
        _require(numbers >= reid.JUNK, column, path, f"identities below {reid.JUNK} (junk)")
        return numbers.tolist(), {}
    names = sorted(set(column) - set(_NO_NAMES))
    number_of = {name: number for number, name in enumerate(names, start=1)}
    return column.map(number_of | _NO_NAMES).tolist(), number_of


def _attribute_task(column: pd.Series, path: pathlib.Path) -> AttributeTask:
    name = str(column.name)
    if not (name.isascii() and name.isidentifier() and name[0] != "_") or name.lower() in RESERVED:
        raise InputError(
            f"{path}: {name!r} cannot name an attribute; use letters, digits and _, and none of {', '.join(RESERVED)}"
        )
    classes = tuple(sorted(set(column) - {""}))
    if len(classes) < 2:
        raise InputError(f"{path}: the attribute {name!r} has no two classes to tell apart; remove the column")
    return AttributeTask(name, classes)


def _class_indices(column: pd.Series, task: AttributeTask) -> list[int]:
    index_of = {name: index for index, name in enumerate(task.classes)} | {"": UNKNOWN}
    return column.map(index_of).tolist()


def main() -> None:
    args = flags.FLAGS
    print(reid.table(convert(args.csv, args.out_dir, args.images_dir, args.name, args.shards, args.skip_bad_images)))


if __name__ == "__main__":
    flags.DEFINE_string(
        "csv", None, "file with the columns path, identity, camera, split, and attributes", required=True
    )
    flags.DEFINE_string("out_dir", None, "folder to make; must not exist", required=True)
    flags.DEFINE_string("images_dir", None, "what the paths are relative to; the folder of the CSV when not given")
    flags.DEFINE_string("name", None, "name of the dataset; that of the CSV when not given")
    flags.DEFINE_integer("shards", 4, "TFRecord files per split", lower_bound=1)
    flags.DEFINE_bool("skip_bad_images", False, "leave out images that do not decode, and list them in dataset.json")
    command.run(main)
