"""What the converters of re-identification datasets share: raw folders to lists of crops, and those to a dataset."""

# First, so that TensorFlow's start-up notes stay off the screen.
from lrdnn_base import command  # isort: skip

import functools
import os
import pathlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags, logging

from data_prep import shards as shard_files
from data_prep.attribute_labels import read_attribute_labels
from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import UNKNOWN, AttributeTask
from lrdnn_tf.data import records
from lrdnn_tf.data.dataset import DISTRACTOR, JUNK

SPLITS = ("train", "query", "gallery")
# The folders of Market-1501, which DukeMTMC-reID took over.
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


class Crop(NamedTuple):
    """One image of one person.

    Attributes:
        path: Relative to the raw dataset.
        identity: -1 is junk, 0 a distractor.
        camera: Counted from 1.
        attributes: One class index per attribute task, -1 unknown.
    """

    path: str
    identity: int
    camera: int
    attributes: tuple[int, ...] = ()


class Source(NamedTuple):
    """A published dataset in Market-1501's folder layout.

    Attributes:
        name: Name of the dataset, as read_attribute_labels knows it, and of the module that converts it.
        file_name: Pattern of the image names with the groups `identity` and `camera`.
        file_name_example: A name that fits, for people.
        label_file: Name of the file with the attribute labels.
        tasks: Its attribute tasks.
        published_counts: For each split the counts to expect, named as in dataset.json.
    """

    name: str
    file_name: re.Pattern
    file_name_example: str
    label_file: str
    tasks: tuple[AttributeTask, ...]
    published_counts: Mapping[str, Mapping[str, int]]


def convert_folders(
    source: Source,
    raw_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    attributes: str | os.PathLike | None = None,
    name: str | None = None,
    shards: int = 4,
    skip_bad_images: bool = False,
) -> dict[str, Any]:
    """Converts a dataset in Market-1501's folder layout, and says where its counts are not the published ones.

    Args:
        source: Which dataset.
        raw_dir: Folder with bounding_box_train, query and bounding_box_test.
        out_dir: Folder to make; must not exist.
        attributes: The label file; None looks for it in raw_dir and its subfolders, and goes on without.
        name: Name of the new dataset, by default the source's; any other is not held to the published counts.
        shards: TFRecord files per split.
        skip_bad_images: Whether to leave out images that do not decode, and list them in dataset.json.

    Returns:
        The `splits` of dataset.json.

    Raises:
        InputError: See find_crops, read_attribute_labels and convert.
    """
    name = name or source.name
    crops = find_crops(raw_dir, source)
    tasks = ()
    if label_path := attributes or _find_labels(pathlib.Path(raw_dir), source.label_file):
        tasks = source.tasks
        crops = _add_attributes(crops, read_attribute_labels(label_path, source.name), len(tasks))
    splits = convert(
        raw_dir,
        out_dir,
        name,
        tasks,
        crops,
        shards=shards,
        skip_bad_images=skip_bad_images,
        command=command_line(
            f"data_prep.{source.name}",
            raw_dir=raw_dir,
            out_dir=out_dir,
            attributes=attributes,
            name=name,
            shards=shards,
            skip_bad_images=skip_bad_images,
        ),
    )
    if name == source.name:
        _warn_of_other_counts(splits, source.published_counts)
    return splits


def run_converter(source: Source) -> None:
    """The binary of a published dataset: its flags, then one call."""
    flags.DEFINE_string("raw_dir", None, "folder with bounding_box_train, query, bounding_box_test", required=True)
    flags.DEFINE_string("out_dir", None, "folder to make; must not exist", required=True)
    flags.DEFINE_string("attributes", None, f"{source.label_file}; looked for in raw_dir when not given")
    flags.DEFINE_string("name", source.name, "name of the dataset; another one is not held to published counts")
    flags.DEFINE_integer("shards", 4, "TFRecord files per split", lower_bound=1)
    flags.DEFINE_bool("skip_bad_images", False, "leave out images that do not decode, and list them in dataset.json")

    def main() -> None:
        options = ("raw_dir", "out_dir", "attributes", "name", "shards", "skip_bad_images")
        print(table(convert_folders(source, **{option: flags.FLAGS[option].value for option in options})))

    command.run(main)


def find_crops(raw_dir: str | os.PathLike, source: Source) -> dict[str, list[Crop]]:
    """Lists the images of a dataset in Market-1501's folder layout, sorted by file name.

    Args:
        raw_dir: Folder with bounding_box_train, query and bounding_box_test.
        source: Which dataset.

    Raises:
        InputError: A folder is missing or holds no image, or the name of an image does not fit the pattern.
    """
    raw_dir = pathlib.Path(raw_dir)
    crops, unparsed = {}, []
    for split, folder in FOLDERS.items():
        if not (raw_dir / folder).is_dir():
            raise InputError(f"{raw_dir}: no folder {folder!r}; --raw_dir must hold {', '.join(FOLDERS.values())}")
        names = sorted(entry.name for entry in os.scandir(raw_dir / folder))
        images = [name for name in names if name.lower().endswith(_IMAGE_SUFFIXES)]
        if not images:
            raise InputError(f"{raw_dir / folder}: no image in it")
        if others := sorted(set(names) - set(images)):
            logging.warning("%s: ignored %s", raw_dir / folder, shard_files.summarize(others, "other files"))
        matches = {name: source.file_name.fullmatch(name) for name in images}
        if not any(matches.values()):  # another dataset: one line says it better than one for each image
            found = f"none of its {len(images)} images is named like {source.file_name_example} ({images[0]}, ...)"
            raise InputError(f"{raw_dir / folder}: {found}; is it a dataset of data_prep.{source.name}?")
        unparsed += [f"{folder}/{name}" for name, match in matches.items() if match is None]
        crops[split] = [
            Crop(f"{folder}/{name}", int(match["identity"]), int(match["camera"]))
            for name, match in matches.items()
            if match is not None
        ]
    if unparsed:
        raise InputError(f"{raw_dir}: {shard_files.list_all(unparsed, 'image names that do not parse')}")
    return crops


def convert(
    raw_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    name: str,
    tasks: Sequence[AttributeTask],
    crops: Mapping[str, Sequence[Crop]],
    *,
    identity_names: Mapping[str, int] | None = None,
    shards: int = 4,
    skip_bad_images: bool = False,
    command: str = "",
) -> dict[str, Any]:
    """Writes a converted dataset. The same input gives the same shards, byte by byte.

    Junk is counted and left out; distractors stay in query and gallery and have no place in train.

    Args:
        raw_dir: What the paths of the crops are relative to.
        out_dir: Folder to make; must not exist.
        name: Name of the dataset.
        tasks: The attribute tasks that the crops have classes of; empty for a dataset without.
        crops: The images of train, query and gallery, in the order in which they are written.
        identity_names: The numbers of the identities by their names, for a dataset that names them.
        shards: TFRecord files per split.
        skip_bad_images: Whether to leave out images that do not decode, and list them in dataset.json.
        command: Recorded in dataset.json.

    Returns:
        The `splits` of dataset.json.

    Raises:
        InputError: out_dir exists or cannot be written, there is nobody in train, or images do not decode.
    """
    raw_dir = pathlib.Path(raw_dir)
    kept = {split: [crop for crop in crops[split] if _is_kept(split, crop)] for split in SPLITS}
    identities = _train_identities(raw_dir, kept["train"])
    _warn_of_left_out(crops, kept)
    with shard_files.new_dataset(out_dir) as folder:
        write = functools.partial(_write_split, folder, raw_dir, shards)
        written = {split: write(split, kept[split], identities) for split in SPLITS}
        bad_images = [image for part in written.values() for image in part.bad_images]
        shard_files.check_bad_images(bad_images, skip_bad_images)
        left = _train_identities(raw_dir, written["train"].items)
        if left != identities:  # somebody has no image any more, and the labels must not keep their place
            lost = shard_files.summarize(sorted(set(identities) - set(left)), "identities without a single good image")
            logging.warning("train: left out %s", lost)
            identities = left
            written["train"] = write("train", written["train"].items, identities)
        splits = {split: _describe(crops[split], part) for split, part in written.items()}
        shard_files.write_description(
            folder,
            "reid",
            name,
            attributes=[{"name": task.name, "classes": list(task.classes)} for task in tasks],
            identities=identities,
            identity_names=dict(identity_names or {}),
            cameras=sorted({crop.camera for part in written.values() for crop in part.items}),
            splits=splits,
            skipped=bad_images,
            command=command,
        )
    return splits


def table(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """The counts of a converted dataset as text for people."""
    columns = ("examples", "identities", "junk", "distractors")
    lines = [f"{'':10}" + "".join(f"{column:>14}" for column in columns)]
    for split, counts in splits.items():
        lines.append(f"{split:10}" + "".join(f"{counts[column]:>14,}" for column in columns))
    return "\n".join(lines)


def command_line(module: str, **values: Any) -> str:
    """The command that makes a dataset, from the values of its flags; False and None are left out."""
    given = {flag: value for flag, value in values.items() if value not in (None, False)}
    arguments = [f"--{flag}" if value is True else f"--{flag}={value}" for flag, value in given.items()]
    return shlex.join(["python", "-m", module, *arguments])


def _is_kept(split: str, crop: Crop) -> bool:
    return crop.identity > DISTRACTOR or (crop.identity == DISTRACTOR and split != "train")


def _train_identities(raw_dir: pathlib.Path, crops: Sequence[Crop]) -> list[int]:
    """The identities that training tells apart, in the order of their labels."""
    if not crops:
        raise InputError(f"{raw_dir}: the training split has no person in it")
    return sorted({crop.identity for crop in crops})


def _write_split(
    folder: pathlib.Path,
    raw_dir: pathlib.Path,
    shards: int,
    split: str,
    crops: Sequence[Crop],
    identities: Sequence[int],
) -> shard_files.WrittenSplit:
    label_of = {identity: label for label, identity in enumerate(identities)} if split == "train" else {}
    encode = functools.partial(_encode, label_of=label_of)
    return shard_files.write_split(folder, split, crops, lambda crop: raw_dir / crop.path, encode, shards)


def _encode(crop: Crop, image: shard_files.ImageFile, label_of: Mapping[int, int]) -> bytes:
    label = label_of.get(crop.identity, -1)
    return records.encode_example(image.content, crop.path, crop.identity, label, crop.camera, crop.attributes)


def _describe(crops: Sequence[Crop], written: shard_files.WrittenSplit) -> dict[str, Any]:
    """The entry of a split in dataset.json."""
    return {
        "examples": len(written.items),
        "identities": len({crop.identity for crop in written.items if crop.identity > DISTRACTOR}),
        "junk": sum(crop.identity == JUNK for crop in crops),
        "distractors": sum(crop.identity == DISTRACTOR for crop in written.items),
        "shards": written.shards,
    }


def _warn_of_left_out(crops: Mapping[str, Sequence[Crop]], kept: Mapping[str, Sequence[Crop]]) -> None:
    for split in ("train", "query"):
        if dropped := len(crops[split]) - len(kept[split]):
            logging.warning("%s: left out %d images that show no known person (junk, distractors)", split, dropped)


def _warn_of_other_counts(splits: Mapping[str, Mapping[str, Any]], published: Mapping[str, Mapping[str, int]]) -> None:
    for split, counts in published.items():
        for count, expected in counts.items():
            found = splits[split][count]
            if found != expected:
                difference = f"{found - expected:+d}"
                logging.warning("%s: %d %s, published are %d (%s)", split, found, count, expected, difference)


def _find_labels(raw_dir: pathlib.Path, file: str) -> pathlib.Path | None:
    found = [path for path in (raw_dir / file, *sorted(raw_dir.glob(f"*/{file}"))) if path.is_file()]
    if not found:
        logging.warning("no %s in %s: the dataset gets no attributes; --attributes names the file", file, raw_dir)
        return None
    return found[0]


def _add_attributes(
    crops: Mapping[str, Sequence[Crop]], labels: Mapping[str, Mapping[int, tuple[int, ...]]], tasks: int
) -> dict[str, list[Crop]]:
    """The crops with the classes of their identities, unknown without a row; warns where rows and images differ.

    The label files know train and test; query and gallery are both of test.
    """
    unknown = (UNKNOWN,) * tasks
    labelled = {}
    for split, found in crops.items():
        rows = labels["train" if split == "train" else "test"]
        seen = {crop.identity for crop in found if crop.identity > DISTRACTOR}
        if without := sorted(seen - set(rows)):
            what = "identities without a row of attributes, all unknown"
            logging.warning("%s: %s", split, shard_files.summarize(without, what))
        if split != "query" and (unused := sorted(set(rows) - seen)):
            what = "identities with a row of attributes and no image"
            logging.warning("%s: %s", split, shard_files.summarize(unused, what))
        labelled[split] = [crop._replace(attributes=rows.get(crop.identity, unknown)) for crop in found]
    return labelled
