"""The attribute tasks of each dataset and their classes (paper, Table 1).

Classes stand in the order of the published labels: Lin et al., "Improving Person Re-identification
by Attribute and Identity Learning" (2017), whose values count from 1. Here they count from 0.
"""

from typing import NamedTuple

UNKNOWN = -1


class AttributeTask(NamedTuple):
    """One classification task: its name and the names of its classes, in label order."""

    name: str
    classes: tuple[str, ...]


_NO_YES = ("no", "yes")

MARKET1501 = (
    AttributeTask("gender", ("male", "female")),
    AttributeTask("hair", ("short", "long")),
    AttributeTask("sleeve", ("long", "short")),
    AttributeTask("lower_length", ("long", "short")),
    AttributeTask("lower_type", ("dress", "pants")),
    AttributeTask("hat", _NO_YES),
    AttributeTask("backpack", _NO_YES),
    AttributeTask("bag", _NO_YES),
    AttributeTask("handbag", _NO_YES),
    AttributeTask("age", ("young", "teenager", "adult", "old")),
    AttributeTask("upper_colour", ("black", "white", "red", "purple", "yellow", "gray", "blue", "green")),
    AttributeTask("lower_colour", ("black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown")),
)

DUKEMTMC = (
    AttributeTask("gender", ("male", "female")),
    AttributeTask("upper_length", ("short", "long")),
    AttributeTask("hat", _NO_YES),
    AttributeTask("backpack", _NO_YES),
    AttributeTask("bag", _NO_YES),
    AttributeTask("handbag", _NO_YES),
    AttributeTask("shoe_colour", ("dark", "light")),
    AttributeTask("boots", _NO_YES),
    AttributeTask("upper_colour", ("black", "white", "red", "purple", "gray", "blue", "green", "brown")),
    AttributeTask("lower_colour", ("black", "white", "red", "gray", "blue", "green", "brown")),
)
