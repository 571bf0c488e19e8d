"""Published re-identification datasets: what the module of each one provides, and how it is converted."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from absl import flags, logging

from data_prep.crops import Crop
from data_prep.output import Output, command_line, count_table
from lrdnn_base.errors import InputError
from lrdnn_base.files import listing
from lrdnn_base.options import option
from lrdnn_tf.attributes import UNKNOWN, AttributeTask
from lrdnn_tf.data.dataset import DISTRACTOR


class Source(NamedTuple):
    """A published dataset.

    Attributes:
        name: Name of the dataset and of the module in data_prep that converts it.
        list_crops: Called with raw_dir, returns the crops of each of SPLITS.
        tasks: Its attribute tasks, if labels for them were published.
        label_file: Name of the file with these labels, which is searched for in raw_dir.
        read_labels: Called with the path of that file, returns for "train" and "test" (query and gallery) a dict from
            identity to class indices; None for a dataset without labels.
        published_counts: Expected counts of splits, named as in dataset.json.
    """

    name: str
    list_crops: Callable[[str | os.PathLike], Mapping[str, list[Crop]]]
    tasks: tuple[AttributeTask, ...] = ()
    label_file: str = ""
    read_labels: Callable[[str | os.PathLike], Mapping[str, Mapping[int, tuple[int, ...]]]] | None = None
    published_counts: Mapping[str, Mapping[str, int]] = {}


@dataclasses.dataclass(frozen=True)
class Input:
    """The raw dataset to read."""

    raw_dir: str = option(help="Folder of the raw dataset.")
    attributes: str | None = option(None, "File with the attribute labels; when not given, it is searched in raw_dir.")


def convert_source(
    source: Source,
    raw_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    attributes: str | os.PathLike | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Converts a published dataset, with a warning where its counts are not the published ones.

    Args:
        source: The dataset.
        raw_dir: Folder of the raw dataset.
        out_dir: Folder to create; must not exist.
        attributes: The label file. When None it is searched for in raw_dir and its subfolders, and without it the
            dataset has no attributes.
        options: The other fields of data_prep.output.Output. With another `name` than that of the source, counts are
            not compared.

    Returns:
        The `splits` of dataset.json.

    Raises:
        InputError: As raised by source.list_crops, source.read_labels and data_prep.reid.convert.
    """
    from data_prep.reid import convert  # imports TensorFlow, which drawing the synthetic dataset does without

    output = Output(out_dir, **options)
    name = output.name or source.name
    crops, tasks = source.list_crops(raw_dir), ()
    if label_path := attributes or _find_labels(pathlib.Path(raw_dir), source):
        if source.read_labels is None:
            raise InputError(f"{source.name} has no attribute labels: leave out --attributes")
        tasks = source.tasks
        crops = _add_attributes(crops, source.read_labels(label_path), len(tasks))
    values = {"raw_dir": raw_dir, "out_dir": out_dir, "attributes": attributes, **vars(output), "name": name}
    command = command_line(f"data_prep.{source.name}", values)
    splits = convert(raw_dir, name, tasks, crops, output, command=command)
    if name == source.name:
        _warn_of_other_counts(splits, source.published_counts)
    return splits


def run_converter(source: Source) -> None:
    """The command-line tool of a published dataset: its flags and one call of convert_source."""
    from lrdnn_base import command  # imports TensorFlow, see convert_source

    def main() -> None:
        print(count_table(convert_source(source, **command.read_flags(Input), **command.read_flags(Output))))

    command.define_flags(Input)
    command.define_flags(Output)
    flags.mark_flags_as_required(["raw_dir", "out_dir"])
    command.run(main)


def _find_labels(raw_dir: pathlib.Path, source: Source) -> pathlib.Path | None:
    if source.read_labels is None:
        return None
    file = source.label_file
    found = [path for path in (raw_dir / file, *sorted(raw_dir.glob(f"*/{file}"))) if path.is_file()]
    if not found:
        logging.warning("no %s in %s: the dataset has no attributes; --attributes names the file", file, raw_dir)
        return None
    return found[0]


def _add_attributes(
    crops: Mapping[str, list[Crop]], labels: Mapping[str, Mapping[int, tuple[int, ...]]], tasks: int
) -> dict[str, list[Crop]]:
    """The crops with the classes of their identities, UNKNOWN for identities without labels."""
    unknown = (UNKNOWN,) * tasks
    labelled = {}
    for split, found in crops.items():
        rows = labels["train" if split == "train" else "test"]
        seen = {crop.identity for crop in found if crop.identity > DISTRACTOR}
        if without := sorted(seen - set(rows)):
            logging.warning("%s: %s", split, listing(without, "identities without a row of attributes, all unknown"))
        if split != "query" and (unused := sorted(set(rows) - seen)):
            logging.warning("%s: %s", split, listing(unused, "identities with a row of attributes and no image"))
        labelled[split] = [crop._replace(attributes=rows.get(crop.identity, unknown)) for crop in found]
    return labelled


def _warn_of_other_counts(splits: Mapping[str, Mapping[str, Any]], published: Mapping[str, Mapping[str, int]]) -> None:
    for split, counts in published.items():
        for count, expected in counts.items():
            if (found := splits[split][count]) != expected:
                logging.warning("%s: %d %s, published are %d (%+d)", split, found, count, expected, found - expected)
