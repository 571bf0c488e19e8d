"""The flag files of the paper's rows: experiments/paper/DATASET/NAME.flags."""

import pathlib

from absl import flags

from pose_pretrain.errors import InputError

_PAPER = pathlib.Path("experiments/paper")


def flagfile(dataset: str, name: str) -> pathlib.Path:
    """The path of a flag file, from the project's root."""
    return _PAPER / dataset / f"{name}.flags"


def read_flagfile(path: pathlib.Path) -> list[str]:
    """The flags of a flag file and of those that it names; of those given twice, the last, which absl takes.

    Raises:
        InputError: It is not there.
    """
    if not path.is_file():
        raise InputError(f"no {path}: run this from the project's root")
    given = flags.FlagValues().read_flags_from_files([f"--flagfile={path}"], force_gnu=True)
    return list({flag.partition("=")[0]: flag for flag in given}.values())
