"""Converts any re-identification dataset that a CSV file describes to TFRecords.

    python -m data_prep.from_csv --csv=people.csv --images_dir=people --out_dir=data/people

Each row describes one image, with the columns `path` (relative to --images_dir), `identity`, `camera` (an integer from
1) and `split` (train, query or gallery). Identities are numbers, with -1 for junk and 0 for a distractor as in
Market-1501, or names. Every other column is an attribute task: its values are the names of the classes, empty where
unknown, and may differ between images of one person.
"""

# First, since it suppresses the start-up messages of TensorFlow, which the imports below bring.
from lrdnn_base import command  # isort: skip

import dataclasses
import decimal
import os
import pathlib
from typing import Any, NamedTuple

import pandas as pd
from absl import flags, logging

from data_prep import reid
from data_prep.crops import SPLITS, Crop
from data_prep.output import Output, command_line, count_table, list_all
from lrdnn_base.errors import InputError
from lrdnn_base.options import option
from lrdnn_tf.attributes import UNKNOWN, AttributeTask
from lrdnn_tf.data.dataset import DISTRACTOR, JUNK, LARGEST_IDENTITY

COLUMNS = ("path", "identity", "camera", "split")
# Names that tables and model outputs use for other columns.
RESERVED = (*COLUMNS, "label", "images", "embedding")
_NO_NAMES = {str(JUNK): JUNK, str(DISTRACTOR): DISTRACTOR}


class CropTable(NamedTuple):
    """Content of a CSV file: attribute tasks, crops by split, numbers by identity name (empty without names)."""

    tasks: tuple[AttributeTask, ...]
    crops: dict[str, list[Crop]]
    identity_names: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Input:
    """The raw dataset to read."""

    csv: str = option(help="File with the columns path, identity, camera, split, and attributes.")
    images_dir: str | None = option(None, "Folder that the paths are relative to, by default that of the CSV file.")


def convert(
    csv: str | os.PathLike, out_dir: str | os.PathLike, images_dir: str | os.PathLike | None = None, **options: Any
) -> dict[str, Any]:
    """Converts the dataset that a CSV file describes.

    Args:
        csv: File as described in read_crops.
        out_dir: Folder to create; must not exist.
        images_dir: Folder that the paths in the file are relative to, by default that of the file.
        options: The other fields of data_prep.output.Output; the default of `name` is the name of the file.

    Returns:
        The `splits` of dataset.json.

    Raises:
        InputError: As raised by read_crops and data_prep.reid.convert.
    """
    path = pathlib.Path(csv)
    if images_dir is not None and not os.path.isdir(images_dir):
        raise InputError(f"{images_dir}: no such folder; --images_dir is what the paths in {path} are relative to")
    found = read_crops(path)
    output = Output(out_dir, **options)
    return reid.convert(
        path.parent if images_dir is None else images_dir,
        output.name or path.stem,
        found.tasks,
        found.crops,
        output,
        identity_names=found.identity_names,
        command=command_line("data_prep.from_csv", {"csv": csv, "images_dir": images_dir, **vars(output)}),
    )


def read_crops(csv: str | os.PathLike) -> CropTable:
    """Reads the rows of a CSV file, in their order, with the columns of COLUMNS and one column per attribute task.

    The classes of a task are the values of its column over all splits, sorted. Unless all identities are integers they
    are names, which are numbered 1, 2, ... in sorted order; -1 and 0 keep their meaning.

    Raises:
        InputError: The file cannot be read or is not such a table, or rows cannot be used, which the message lists.
    """
    path = pathlib.Path(csv)
    table = _read_table(path)
    _check_rows(table, path)
    identities, identity_names = _number_identities(table.identity, path)
    tasks = tuple(_attribute_task(table[column], path) for column in table.columns if column not in COLUMNS)
    classes = [_class_indices(table[task.name], task) for task in tasks]
    rows = zip(table.split, table.path, identities, table.camera.astype(int), *classes, strict=True)
    crops = {split: [] for split in SPLITS}
    for split, image, identity, camera, *attributes in rows:
        crops[split].append(Crop(image, identity, camera, tuple(attributes)))
    if not crops["train"]:
        raise InputError(f"{path}: no row of split train")
    if empty := [split for split, found in crops.items() if not found]:
        logging.warning("%s: no row of split %s; the dataset can be used for training only", path, " and ".join(empty))
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
        table.camera.str.fullmatch(r"0*[1-9]\d{0,8}"), table.camera, path, "cameras that are not an integer from 1"
    )
    _require(table.identity != "", table.identity, path, "empty identities")


def _require(good: pd.Series, column: pd.Series, path: pathlib.Path, what: str) -> None:
    if not good.all():
        raise InputError(f"{path}: {list_all([f'{v!r} in line {n}' for n, v in column[~good].items()], what)}")


def _number_identities(column: pd.Series, path: pathlib.Path) -> tuple[list[int], dict[str, int]]:
    """The number of each row's identity, and the number of each name when identities are names."""
    if column.str.fullmatch(r"-?\d+").all():
        numbers = column.map(decimal.Decimal)  # exact, and without Python's limit on the digits of an int
        what = f"identities below {JUNK} (junk) or above 2**63 - 1 (a letter in one of them makes all of them names)"
        _require((numbers >= JUNK) & (numbers <= LARGEST_IDENTITY), column, path, what)
        return numbers.map(int).tolist(), {}
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
        raise InputError(f"{path}: the attribute {name!r} has fewer than two classes; remove the column")
    return AttributeTask(name, classes)


def _class_indices(column: pd.Series, task: AttributeTask) -> list[int]:
    index_of = {name: index for index, name in enumerate(task.classes)} | {"": UNKNOWN}
    return column.map(index_of).tolist()


def main() -> None:
    print(count_table(convert(**command.read_flags(Input), **command.read_flags(Output))))


if __name__ == "__main__":
    command.define_flags(Input)
    command.define_flags(Output)
    flags.mark_flags_as_required(["csv", "out_dir"])
    command.run(main)
