"""Reads attribute labels as Lin et al. published them for Market-1501 and DukeMTMC-reID, by the names of their fields.

Lin et al., "Improving Person Re-identification by Attribute and Identity Learning" (2017): a MATLAB file with one
struct that holds the structs `train` and `test`. Each of these has one row vector per field, with one value per
identity, counted from 1, and `image_index`, the identities as strings. The order of the fields differs between structs.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.io

from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import UNKNOWN, AttributeTask

_YES = 2


def read_attribute_labels(
    mat_path: str | os.PathLike,
    struct: str,
    tasks: Sequence[AttributeTask],
    fields: Mapping[str, str | tuple[str, ...]],
) -> dict[str, dict[int, tuple[int, ...]]]:
    """Reads a file of attribute labels.

    Args:
        mat_path: The .mat file.
        struct: Name of its struct.
        tasks: The tasks to read.
        fields: For each task the name of its field, or the names of one yes/no field per class.

    Returns:
        For "train" and "test" a dict from identity to one class index per task, in the order of the tasks. UNKNOWN
        stands for the value 0, and for yes/no fields of which not exactly one is yes.

    Raises:
        InputError: The file is not a MATLAB file, lacks the struct or a field, or a field does not hold one label per
            identity.
    """
    path = pathlib.Path(mat_path)
    root = _read_struct(path, struct)
    labels = {}
    for split in ("train", "test"):
        where = f"{path}: {struct}.{split}"
        table = _field(root, split, f"{path}: {struct}")
        identities = _identities(table, where)
        columns = [_task_column(table, fields[task.name], len(task.classes), len(identities), where) for task in tasks]
        labels[split] = dict(zip(identities, zip(*(column.tolist() for column in columns), strict=True), strict=True))
    return labels


def _read_struct(path: pathlib.Path, name: str) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such file; --attributes names the published label file")
    try:
        content = scipy.io.loadmat(path, simplify_cells=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # loadmat raises all kinds of exceptions for a file of another format
        raise InputError(f"{path}: not a MATLAB 5 file ({error})") from error
    if name not in content:
        found = ", ".join(key for key in content if not key.startswith("__")) or "nothing"
        raise InputError(f"{path}: no struct {name!r} in it, only {found}; is it the label file of another dataset?")
    return content[name]


def _field(struct: Any, name: str, where: str) -> Any:
    if not isinstance(struct, dict) or name not in struct:
        raise InputError(f"{where}: the field {name!r} is missing")
    return struct[name]


def _identities(table: Any, where: str) -> list[int]:
    try:
        identities = [int(name) for name in np.atleast_1d(_field(table, "image_index", where))]
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}.image_index: not a list of identities ({error})") from error
    if len(set(identities)) != len(identities):
        raise InputError(f"{where}.image_index: an identity occurs twice")
    return identities


def _task_column(table: Any, field: str | tuple[str, ...], classes: int, identities: int, where: str) -> np.ndarray:
    """Class indices of one task for all identities."""
    if isinstance(field, str):
        return _values(table, field, classes, identities, where) - 1  # 0, which is no class, becomes -1
    yes = np.stack([_values(table, name, _YES, identities, where) for name in field]) == _YES
    return np.where(yes.sum(axis=0) == 1, yes.argmax(axis=0), UNKNOWN)


def _values(table: Any, field: str, highest: int, identities: int, where: str) -> np.ndarray:
    values = np.atleast_1d(_field(table, field, where))
    if values.dtype.kind not in "uif" or not np.isin(values, np.arange(highest + 1)).all():
        raise InputError(f"{where}.{field}: holds other values than labels 1..{highest} (0 for unknown)")
    if values.shape != (identities,):
        raise InputError(f"{where}.{field}: has {values.size} values for {identities} identities")
    return values.astype(np.int64)
