"""Writes a converted re-identification dataset from lists of crops and their attribute tasks."""

import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import logging

from data_prep import shards as shard_files
from data_prep.crops import SPLITS, Crop, ImageSource
from data_prep.output import Output
from lrdnn_base.errors import InputError
from lrdnn_base.files import listing
from lrdnn_tf.attributes import AttributeTask
from lrdnn_tf.data import records
from lrdnn_tf.data.dataset import DISTRACTOR, JUNK, LARGEST_IDENTITY


def convert(
    raw_dir: str | os.PathLike,
    name: str,
    tasks: Sequence[AttributeTask],
    crops: Mapping[str, Sequence[Crop]],
    output: Output,
    *,
    image_file: Callable[[str], ImageSource] | None = None,
    identity_names: Mapping[str, int] | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Writes a converted dataset. The same input gives the same shards, byte by byte.

    Junk is counted and left out. Distractors are kept in query and gallery and left out of train.

    Args:
        raw_dir: Folder that the paths of the crops are relative to.
        name: Name of the dataset; replaces `output.name`.
        tasks: The tasks of the crops' attributes; empty for a dataset without attributes.
        crops: The images of train, query and gallery, in the order in which they are written.
        output: Where and how the dataset is written.
        image_file: Returns the image file of a path; when None, paths are files in raw_dir.
        identity_names: The numbers of the identities by their names, for a dataset that names them.
        command: Recorded in dataset.json.

    Returns:
        The `splits` of dataset.json.

    Raises:
        InputError: out_dir exists or cannot be written, there is neither a person to train on nor one to search for, a
            person is in both, an identity is not between JUNK and LARGEST_IDENTITY, or images do not decode.
    """
    raw_dir = pathlib.Path(raw_dir)
    image_file = image_file or raw_dir.joinpath
    _check_identities(raw_dir, crops)
    kept = {split: [crop for crop in crops[split] if _is_kept(split, crop)] for split in SPLITS}
    _check_splits(raw_dir, kept, identity_names or {})
    identities = _identities(kept["train"])
    _warn_of_left_out(crops, kept)
    with shard_files.new_dataset(output.out_dir) as folder:

        def write(split: str, crops: Sequence[Crop], identities: Sequence[int]) -> shard_files.WrittenSplit:
            label_of = {identity: label for label, identity in enumerate(identities)} if split == "train" else {}
            encode = functools.partial(_encode, label_of=label_of)
            return shard_files.write_split(
                folder, split, crops, lambda crop: image_file(crop.path), encode, output.shards
            )

        written = {split: write(split, kept[split], identities) for split in SPLITS}
        bad_images = [image for part in written.values() for image in part.bad_images]
        shard_files.check_bad_images(bad_images, output.skip_bad_images)
        if identities and not written["train"].items:
            raise InputError(f"{raw_dir}: no good image of a person in train")
        left = _identities(written["train"].items)
        if left != identities:  # identities without an image must not keep a label
            lost = listing(sorted(set(identities) - set(left)), "identities without a single good image")
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


def _check_identities(raw_dir: pathlib.Path, crops: Mapping[str, Sequence[Crop]]) -> None:
    everything = (crop for found in crops.values() for crop in found)
    if bad := [crop.path for crop in everything if not JUNK <= crop.identity <= LARGEST_IDENTITY]:
        raise InputError(f"{raw_dir}: {listing(bad, f'images of identities outside {JUNK} to 2**63 - 1')}")


def _is_kept(split: str, crop: Crop) -> bool:
    return crop.identity > DISTRACTOR or (crop.identity == DISTRACTOR and split != "train")


def _check_splits(raw_dir: pathlib.Path, kept: Mapping[str, Sequence[Crop]], identity_names: Mapping[str, int]) -> None:
    can_be_evaluated = kept["query"] and kept["gallery"]
    if not kept["train"] and not can_be_evaluated:
        raise InputError(f"{raw_dir}: no person to train on, and no query and gallery to evaluate on")
    if not kept["train"]:
        logging.warning("%s: no person in train; the dataset can be used for evaluation only", raw_dir)
    if not can_be_evaluated:
        empty = " and ".join(split for split in ("query", "gallery") if not kept[split])
        logging.warning("%s: no image in %s; the dataset can be used for training only", raw_dir, empty)
    tested = {crop.identity for split in ("query", "gallery") for crop in kept[split]} - {DISTRACTOR}
    name_of = {number: name for name, number in identity_names.items()}
    if both := [name_of.get(identity, identity) for identity in _identities(kept["train"]) if identity in tested]:
        raise InputError(
            f"{raw_dir}: {listing(both, 'people in both train and query or gallery')}; "
            "remove them from one side, since finding people who were seen in training says little"
        )


def _identities(crops: Sequence[Crop]) -> list[int]:
    """The identities of training images, in the order of their labels."""
    return sorted({crop.identity for crop in crops})


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
            logging.warning("%s: left out %d images of junk and distractors", split, dropped)
