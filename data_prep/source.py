"""Published re-identification datasets: what the module of each one provides, and how it is converted."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from absl import flags, logging

from data_prep.crops import Crop, ImageSource
from data_prep.held_out import HeldOut, hold_out, split_options
from data_prep.output import Output, command_line, count_table
from lrdnn_base.errors import InputError
from lrdnn_base.files import listing
from lrdnn_base.options import option, options_of
from lrdnn_tf.attributes import UNKNOWN, AttributeTask
from lrdnn_tf.data.dataset import DISTRACTOR


def _files_below(raw_dir: str | os.PathLike) -> Callable[[str], pathlib.Path]:
    return pathlib.Path(raw_dir).joinpath


class Source(NamedTuple):
    """A published dataset.

    Attributes:
        name: Name of the dataset.
        list_crops: Called with raw_dir, returns the crops of each of SPLITS.
        tasks: Its attribute tasks, if labels for them were published.
        label_file: Name of the file with these labels, which is searched for in raw_dir.
        read_labels: Called with the path of that file, returns for "train" and "test" (query and gallery) a dict from
            identity to class indices; None for a dataset without labels.
        published_counts: Expected counts of splits, named as in dataset.json.
        module: Name of the module in data_prep that converts it; the name of the dataset when empty.
        image_files: Called with raw_dir, returns the function from the path of a crop to its image file, or to another
            object that gives the bytes of one.
        flags: Flags of its module beside Input, Output and HeldOut, and their values, for the recorded command.
    """

    name: str
    list_crops: Callable[[str | os.PathLike], Mapping[str, list[Crop]]]
    tasks: tuple[AttributeTask, ...] = ()
    label_file: str = ""
    read_labels: Callable[[str | os.PathLike], Mapping[str, Mapping[int, tuple[int, ...]]]] | None = None
    published_counts: Mapping[str, Mapping[str, int]] = {}
    module: str = ""
    image_files: Callable[[str | os.PathLike], Callable[[str], ImageSource]] = _files_below
    flags: Mapping[str, Any] = {}


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
        options: The other fields of data_prep.output.Output, and those of data_prep.held_out.HeldOut. With people held
            out, the default of `name` is that of the source and "_held_out". With another name than that of the
            source, counts are not compared.

    Returns:
        The `splits` of dataset.json.

    Raises:
        InputError: As raised by source.list_crops, source.read_labels, hold_out and data_prep.reid.convert.
    """
    from data_prep.reid import convert  # imports TensorFlow, which drawing the synthetic dataset does without

    held_out, options = split_options(options)
    output = Output(out_dir, **options)
    name = output.name or source.name + ("_held_out" if held_out.held_out else "")
    crops, tasks = source.list_crops(raw_dir), ()
    if label_path := attributes or _find_labels(pathlib.Path(raw_dir), source):
        if source.read_labels is None:
            raise InputError(f"{source.name} has no attribute labels: leave out --attributes")
        tasks = source.tasks
        crops = _add_attributes(crops, source.read_labels(label_path), len(tasks))
    values = {"raw_dir": raw_dir, **source.flags, "out_dir": out_dir, "attributes": attributes, **vars(output)}
    values |= {"name": name, **vars(held_out)}
    command = command_line(f"data_prep.{source.module or source.name}", values)
    crops = hold_out(crops, held_out)
    splits = convert(raw_dir, name, tasks, crops, output, image_file=source.image_files(raw_dir), command=command)
    if name == source.name:
        _warn_of_other_counts(splits, source.published_counts)
    return splits


def run_converter(convert: Callable[..., dict[str, Any]], raw: type = Input) -> None:
    """The command-line tool of a dataset: its flags and one call.

    Args:
        convert: Called with the fields of raw, Output and HeldOut, returns the `splits` of dataset.json.
        raw: Options that describe the raw dataset; those without a default are required flags.
    """
    from lrdnn_base import command  # imports TensorFlow, see convert_source

    groups = (raw, Output, HeldOut)

    def main() -> None:
        given = {}
        for options in groups:
            given |= command.read_flags(options)
        print(count_table(convert(**given)))

    for options in groups:
        command.define_flags(options)
        required = [field.name for field in options_of(options) if field.default is dataclasses.MISSING]
        flags.mark_flags_as_required(required)
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
