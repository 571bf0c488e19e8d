"""What all converters share apart from TensorFlow: options, the recorded command, messages, the table of counts."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from lrdnn_base.files import NAMES_SHOWN, listing
from lrdnn_base.options import check_options, option


@dataclasses.dataclass(frozen=True)
class Output:
    """The converted dataset to write."""

    out_dir: str = option(help="Folder to create; must not exist.")
    name: str | None = option(None, "Name of the dataset; when not given, that of the source.")
    shards: int = option(4, "TFRecord files per split.", at_least=1)
    skip_bad_images: bool = option(False, "Leave out images that do not decode, and list them in dataset.json.")

    def __post_init__(self):
        check_options(self)


def command_line(module: str, values: Mapping[str, Any]) -> str:
    """The command that creates a dataset, from the values of its flags; False and None are left out."""
    given = {flag: value for flag, value in values.items() if value not in (None, False)}
    arguments = [f"--{flag}" if value is True else f"--{flag}={value}" for flag, value in given.items()]
    return shlex.join(["python", "-m", module, *arguments])


def list_all(entries: Sequence[Any], what: str) -> str:
    """A short listing for a message; every entry has a line in the log when the listing leaves some out."""
    if len(entries) > NAMES_SHOWN:
        for entry in entries:
            logging.error("%s: %s", what, entry)
    return listing(entries, what)


def count_table(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """The counts in the `splits` of dataset.json as a table for people, one line per split."""
    columns = [column for column in next(iter(splits.values())) if column != "shards"]
    lines = [f"{'':10}" + "".join(f"{column:>14}" for column in columns)]
    for split, counts in splits.items():
        lines.append(f"{split:10}" + "".join(f"{counts[column]:>14,}" for column in columns))
    return "\n".join(lines)
