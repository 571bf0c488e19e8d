"""The flag files of the paper's rows: experiments/paper/DATASET/NAME.flags."""

import pathlib
from collections.abc import Iterable

from absl import flags

from lrdnn_base.errors import InputError

_PAPER = pathlib.Path("experiments/paper")


def flagfile(dataset: str, name: str) -> pathlib.Path:
    """The path of a flag file, from the project's root."""
    return _PAPER / dataset / f"{name}.flags"


def read_flagfile(path: pathlib.Path) -> list[str]:
    """The flags of a flag file and of those that it names.

    Raises:
        InputError: One of them is not there.
    """
    try:
        given = flags.FlagValues().read_flags_from_files([f"--flagfile={path}"], force_gnu=True)
    except flags.Error as error:
        raise InputError(f"{path}: {error}; flag files are found from the project's root") from None
    return effective(given)


def effective(given: Iterable[str]) -> list[str]:
    """Flags in the order of their names; of those given twice the last, which absl takes."""
    return sorted({flag.partition("=")[0]: flag for flag in given}.values())
