"""Converts any re-identification dataset that a CSV file describes to TFRecords.

    python -m data_prep.from_csv --csv=people.csv --images_dir=people --out_dir=data/people

Each row describes one image, with the columns `path` (relative to --images_dir), `identity`, `split` (train, query or
gallery) and `camera` (an integer from 1, empty where unknown; the column may be missing). Identities are numbers, with
-1 for junk and 0 for a distractor as in Market-1501, or names. Every other column is an attribute task: its values are
the names of the classes, empty where unknown, and may differ between images of one person.
"""

import dataclasses
import decimal
import os
import pathlib
from typing import Any, NamedTuple

import pandas as pd
from absl import logging

from data_prep.crops import NO_NAMES, SPLITS, Crop, are_numbers, number_names
from data_prep.held_out import hold_out, split_options
from data_prep.output import Output, command_line, list_all
from data_prep.source import run_converter
from lrdnn_base.errors import InputError
from lrdnn_base.options import option
from lrdnn_tf.attributes import UNKNOWN, AttributeTask
from lrdnn_tf.data.dataset import JUNK, LARGEST_IDENTITY, UNKNOWN_CAMERA

COLUMNS = ("path", "identity", "split")
CAMERA = "camera"  # a column that may be missing
# Names that tables and model outputs use for other columns.
RESERVED = (*COLUMNS, CAMERA, "label", "images", "embedding")


class CropTable(NamedTuple):
    """Content of a CSV file: attribute tasks, crops by split, numbers by identity name (empty without names)."""

    tasks: tuple[AttributeTask, ...]
    crops: dict[str, list[Crop]]
    identity_names: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Input:
    """The raw dataset to read."""

    csv: str = option(help="File with the columns path, identity, split, camera if known, and attributes.")
    images_dir: str | None = option(None, "Folder that the paths are relative to, by default that of the CSV file.")


def convert(
    csv: str | os.PathLike, out_dir: str | os.PathLike, images_dir: str | os.PathLike | None = None, **options: Any
) -> dict[str, Any]:
    """Converts the dataset that a CSV file describes.

    Args:
        csv: File as described in read_crops.
        out_dir: Folder to create; must not exist.
        images_dir: Folder that the paths in the file are relative to, by default that of the file.
        options: The other fields of data_prep.output.Output, and those of data_prep.held_out.HeldOut; the default of
            `name` is the name of the file.

    Returns:
        The `splits` of dataset.json.

    Raises:
        InputError: As raised by read_crops, hold_out and data_prep.reid.convert.
    """
    from data_prep import reid  # imports TensorFlow, after lrdnn_base.command has suppressed its start-up messages

    path = pathlib.Path(csv)
    if images_dir is not None and not os.path.isdir(images_dir):
        raise InputError(f"{images_dir}: no such folder; --images_dir is what the paths in {path} are relative to")
    found = read_crops(path)
    held_out, options = split_options(options)
    output = Output(out_dir, **options)
    values = {"csv": csv, "images_dir": images_dir, **vars(output), **vars(held_out)}
    return reid.convert(
        path.parent if images_dir is None else images_dir,
        output.name or path.stem,
        found.tasks,
        hold_out(found.crops, held_out),
        output,
        identity_names=found.identity_names,
        command=command_line("data_prep.from_csv", values),
    )


def read_crops(csv: str | os.PathLike) -> CropTable:
    """Reads the rows of a CSV file, in their order, with the columns of COLUMNS, CAMERA and one per attribute task.

    The classes of a task are the values of its column over all splits, sorted. Unless all identities are integers they
    are names, which are numbered 1, 2, ... in sorted order; -1 and 0 keep their meaning.

    Raises:
        InputError: The file cannot be read or is not such a table, or rows cannot be used, which the message lists.
    """
    path = pathlib.Path(csv)
    table = _read_table(path)
    _check_rows(table, path)
    identities, identity_names = _number_identities(table.identity, path)
    others = [column for column in table.columns if column not in (*COLUMNS, CAMERA)]
    tasks = tuple(_attribute_task(table[column], path) for column in others)
    classes = [_class_indices(table[task.name], task) for task in tasks]
    rows = zip(
        table.split, table.path, identities, table.camera.replace("", UNKNOWN_CAMERA).astype(int), *classes, strict=True
    )
    crops = {split: [] for split in SPLITS}
    for split, image, identity, camera, *attributes in rows:
        crops[split].append(Crop(image, identity, camera, tuple(attributes)))
    if unknown := (table.camera == "").sum():
        logging.warning(
            "%s: %d images of unknown cameras; their results are not of the cross-camera protocol", path, unknown
        )
    return CropTable(tasks, crops, identity_names)


def _read_table(path: pathlib.Path) -> pd.DataFrame:
    """All cells as text without surrounding blanks; the index is the line number, from 2 below the header."""
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
    if CAMERA not in table.columns:
        table[CAMERA] = ""
    table = table.apply(lambda column: column.str.strip())
    table.index += 2
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise InputError(f"{path}: no row below its first line")
    return table


def _check_rows(table: pd.DataFrame, path: pathlib.Path) -> None:
    _require(table.path != "", table.path, path, "empty paths")
    _require(~table.path.duplicated(), table.path, path, "paths that an earlier row has")
    _require(table.split.isin(SPLITS), table.split, path, f"splits that are not {', '.join(SPLITS)}")
    _require(
        table.camera.str.fullmatch(r"(0*[1-9]\d{0,8})?"), table.camera, path, "cameras that are not an integer from 1"
    )
    _require(table.identity != "", table.identity, path, "empty identities")


def _require(good: pd.Series, column: pd.Series, path: pathlib.Path, what: str) -> None:
    if not good.all():
        raise InputError(f"{path}: {list_all([f'{v!r} in line {n}' for n, v in column[~good].items()], what)}")


def _number_identities(column: pd.Series, path: pathlib.Path) -> tuple[list[int], dict[str, int]]:
    """The number of each row's identity, and the number of each name when identities are names."""
    if are_numbers(column):
        numbers = column.map(decimal.Decimal)  # exact, and without Python's limit on the digits of an int
        what = f"identities below {JUNK} (junk) or above 2**63 - 1 (a letter in one of them makes all of them names)"
        _require((numbers >= JUNK) & (numbers <= LARGEST_IDENTITY), column, path, what)
        return numbers.map(int).tolist(), {}
    number_of = number_names(column)
    return column.map(number_of | NO_NAMES).tolist(), number_of


def _attribute_task(column: pd.Series, path: pathlib.Path) -> AttributeTask:
    name = str(column.name)
    if not (name.isascii() and name.isidentifier() and name[0] != "_") or name.lower() in RESERVED:
        raise InputError(
            f"{path}: {name!r} cannot name an attribute; use letters, digits and _, and none of {', '.join(RESERVED)}"
        )
    classes = tuple(sorted(set(column) - {""}))
    if len(classes) < 2:
        raise InputError(f"{path}: the attribute {name!r} has fewer than two classes; remove the column")
    return AttributeTask(name, classes)


def _class_indices(column: pd.Series, task: AttributeTask) -> list[int]:
    index_of = {name: index for index, name in enumerate(task.classes)} | {"": UNKNOWN}
    return column.map(index_of).tolist()


if __name__ == "__main__":
    run_converter(convert, Input)
