"""Attribute tasks: what a dataset's own module (data_prep/market1501.py, ...) and its dataset.json describe."""

from typing import NamedTuple

UNKNOWN = -1  # class index of an image whose class is not known


class AttributeTask(NamedTuple):
    """One classification task: its name and the names of its classes, in the order of the class indices."""

    name: str
    classes: tuple[str, ...]
