"""Reads the published attribute labels, market_attribute.mat and duke_attribute.mat, by the names of their fields.

Lin et al., "Improving Person Re-identification by Attribute and Identity Learning" (2017): one struct with the
structs `train` and `test`, in them one row vector per field with one value per identity, counted from 1, and
`image_index`, the identities as strings. The order of the fields differs from struct to struct.
"""

import os
import pathlib

import numpy as np
import scipy.io

from lrdnn_base.errors import InputError
from lrdnn_tf import attributes
from lrdnn_tf.attributes import UNKNOWN, AttributeTask


def _colours(prefix: str, tasks: tuple[AttributeTask, ...], name: str) -> tuple[str, ...]:
    return tuple(prefix + colour for task in tasks if task.name == name for colour in task.classes)


# Task -> its field, or for a colour its yes/no fields in the order of the classes.
MARKET1501_FIELDS = {
    "gender": "gender",
    "hair": "hair",
    "sleeve": "up",
    "lower_length": "down",
    "lower_type": "clothes",
    "hat": "hat",
    "backpack": "backpack",
    "bag": "bag",
    "handbag": "handbag",
    "age": "age",
    "upper_colour": _colours("up", attributes.MARKET1501, "upper_colour"),
    "lower_colour": _colours("down", attributes.MARKET1501, "lower_colour"),
}

DUKEMTMC_FIELDS = {
    "gender": "gender",
    "upper_length": "top",
    "hat": "hat",
    "backpack": "backpack",
    "bag": "bag",
    "handbag": "handbag",
    "shoe_colour": "shoes",
    "boots": "boots",
    "upper_colour": _colours("up", attributes.DUKEMTMC, "upper_colour"),
    "lower_colour": _colours("down", attributes.DUKEMTMC, "lower_colour"),
}

# Dataset -> name of the struct, tasks, fields.
_FORMATS = {
    "market1501": ("market_attribute", attributes.MARKET1501, MARKET1501_FIELDS),
    "dukemtmc": ("duke_attribute", attributes.DUKEMTMC, DUKEMTMC_FIELDS),
}
_YES = 2


def read_attribute_labels(mat_path: str | os.PathLike, dataset: str) -> dict[str, dict[int, tuple[int, ...]]]:
    """Reads one of the published label files.

    Args:
        mat_path: market_attribute.mat or duke_attribute.mat, or a file of the same structure.
        dataset: "market1501" or "dukemtmc".

    Returns:
        For "train" and "test" a dict from identity to one class index per task of lrdnn_tf.attributes.MARKET1501
        or DUKEMTMC, in their order. -1 is unknown: the value 0, and a colour group that does not have exactly one yes.

    Raises:
        InputError: The file is not a MATLAB file, lacks the struct or a field, or a field holds something else
            than one label per identity.
    """
    path = pathlib.Path(mat_path)
    struct_name, tasks, fields = _FORMATS[dataset]
    root = _read_struct(path, struct_name)
    labels = {}
    for split in ("train", "test"):
        where = f"{path}: {struct_name}.{split}"
        table = _field(root, split, f"{path}: {struct_name}")
        identities = _identities(table, where)
        columns = [_task_column(table, fields[task.name], len(task.classes), where) for task in tasks]
        rows = np.column_stack([_same_length(column, identities, where) for column in columns])
        labels[split] = dict(zip(identities, map(tuple, rows.tolist()), strict=True))
    return labels


def _read_struct(path: pathlib.Path, name: str) -> np.ndarray:
    if not pathlib.Path(path).is_file():
        raise InputError(f"{path}: no such file; --attributes names the published label file")
    try:
        content = scipy.io.loadmat(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # loadmat raises whatever it stumbles over in a file of another kind
        raise InputError(f"{path}: not a MATLAB 5 file ({error})") from error
    if name not in content:
        found = ", ".join(key for key in content if not key.startswith("__")) or "nothing"
        raise InputError(f"{path}: no struct {name!r} in it, only {found}; is it the label file of another dataset?")
    return content[name]


def _field(struct: np.ndarray, name: str, where: str) -> np.ndarray:
    if struct.dtype.names is None or struct.size != 1 or name not in struct.dtype.names:
        raise InputError(f"{where}: the field {name!r} is missing")
    return struct[name].item()


def _identities(table: np.ndarray, where: str) -> list[int]:
    cells = _field(table, "image_index", where).ravel()
    try:
        identities = [int(np.asarray(cell).item()) for cell in cells]
    except ValueError as error:
        raise InputError(f"{where}.image_index: not a list of identities ({error})") from error
    if len(set(identities)) != len(identities):
        raise InputError(f"{where}.image_index: an identity stands in it twice")
    return identities


def _task_column(table: np.ndarray, field: str | tuple[str, ...], classes: int, where: str) -> np.ndarray:
    """Class indices of one task for all identities."""
    if isinstance(field, str):
        return _values(table, field, classes, where) - 1  # 0, which is no class, becomes -1
    answers = [_values(table, name, _YES, where) for name in field]
    if len({len(answer) for answer in answers}) > 1:
        raise InputError(f"{where}: the fields {field[0]} ... {field[-1]} are not of one length")
    yes = np.stack(answers) == _YES
    return np.where(yes.sum(axis=0) == 1, yes.argmax(axis=0), UNKNOWN)


def _values(table: np.ndarray, field: str, highest: int, where: str) -> np.ndarray:
    values = _field(table, field, where).ravel()
    if values.dtype.kind not in "uif" or not np.isin(values, np.arange(highest + 1)).all():
        raise InputError(f"{where}.{field}: holds something else than labels 1..{highest} (0 for unknown)")
    return values.astype(np.int64)


def _same_length(column: np.ndarray, identities: list[int], where: str) -> np.ndarray:
    if len(column) != len(identities):
        raise InputError(f"{where}: a field has {len(column)} values for {len(identities)} identities")
    return column
