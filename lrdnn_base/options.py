"""Options declared once, as dataclass fields: default, choices, bounds and help text.

Validation (`check_options`), command-line flags (`lrdnn_base.command.define_flags`) and config.json all come from these
fields:

    @dataclasses.dataclass(frozen=True)
    class Config:
        epochs: int = option(100, "Passes over the training images.", above=0)
        schedule: str = option("decay", "How the rate falls.", choices=("decay", "cosine"))

        def __post_init__(self):
            check_options(self)
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from lrdnn_base.errors import InputError

_BOUNDS = {
    "at least": lambda value, bound: value >= bound,
    "above": lambda value, bound: value > bound,
    "at most": lambda value, bound: value <= bound,
    "below": lambda value, bound: value < bound,
}


def option(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    choices: Sequence[Any] = (),
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    only_in: Sequence[str] = (),
) -> Any:
    """A dataclass field that is an option.

    Args:
        default: Its default; without one the caller must set it, and its flag is unset.
        help: What it does, for `--help` and for the documentation.
        choices: The values that it may have; empty for any.
        at_least, above, at_most, below: Bounds of a number, None for none. None as value is within any bounds.
        only_in: Names of the phases in which it has an effect; empty for all.
    """
    bounds = {"at least": at_least, "above": above, "at most": at_most, "below": below}
    metadata = {
        "help": help,
        "choices": tuple(choices),
        "bounds": {words: bound for words, bound in bounds.items() if bound is not None},
        "only_in": tuple(only_in),
    }
    return dataclasses.field(default=default, metadata=metadata)


def options_of(config: Any) -> Iterator[dataclasses.Field]:
    """The fields of a dataclass, or of an instance of one, that were declared with `option`."""
    return (field for field in dataclasses.fields(config) if "help" in field.metadata)


def check_options(config: Any) -> None:
    """Raises an InputError that names the first option whose value is not allowed."""
    for field in options_of(config):
        value = getattr(config, field.name)
        choices, bounds = field.metadata["choices"], field.metadata["bounds"]
        if choices and value not in choices:
            raise InputError(f"{field.name}={value!r} is not one of {', '.join(map(str, choices))}")
        if value is not None and not all(_BOUNDS[words](value, bound) for words, bound in bounds.items()):
            allowed = " and ".join(f"{words} {bound}" for words, bound in bounds.items())
            raise InputError(f"{field.name}={value} must be {allowed}")
