"""Converts folders of images, one folder per person, to TFRecords.

    python -m data_prep.from_folders --raw_dir=people --out_dir=data/people --held_out=20

    people/alice/1.jpg              all people for training; --held_out makes query and gallery of some

    people/train/alice/1.jpg        or a folder for each split; without train, the dataset can be evaluated on
    people/query/bob/1.jpg
    people/gallery/bob/2.jpg

The name of a folder names the person. If all are integers they are numbers, with -1 for junk and 0 for distractors as
in Market-1501. Cameras are unknown, unless --camera_pattern finds them in the paths below a person's folder.
"""

import dataclasses
import os
import pathlib
import posixpath
import re
from typing import Any

from absl import logging

from data_prep.crops import NO_NAMES, SPLITS, Crop, are_numbers, number_names
from data_prep.folders import IMAGE_SUFFIXES
from data_prep.held_out import hold_out, split_options
from data_prep.output import Output, command_line, list_all
from data_prep.source import run_converter
from lrdnn_base.errors import InputError
from lrdnn_base.files import listing
from lrdnn_base.options import option
from lrdnn_tf.data.dataset import UNKNOWN_CAMERA


@dataclasses.dataclass(frozen=True)
class Input:
    """The raw dataset to read."""

    raw_dir: str = option(help="Folder with a folder per person, or with such a folder for each split.")
    camera_pattern: str | None = option(
        None, r"Regular expression whose first group is the number of the camera in an image's path, such as _c(\d+)."
    )


def convert(
    raw_dir: str | os.PathLike, out_dir: str | os.PathLike, camera_pattern: str | None = None, **options: Any
) -> dict[str, Any]:
    """Converts a folder per person.

    Args:
        raw_dir: Folder as described above.
        out_dir: Folder to create; must not exist.
        camera_pattern: Regular expression that is searched in the path of each image below its person's folder; its
            first group is the number of the camera, from 1. When None, cameras are unknown.
        options: The other fields of data_prep.output.Output, and those of data_prep.held_out.HeldOut; the default of
            `name` is the name of the folder.

    Returns:
        The `splits` of dataset.json.

    Raises:
        InputError: There is no such folder, it has no image, a path has no camera, or as raised by hold_out and
            data_prep.reid.convert.
    """
    from data_prep import reid  # imports TensorFlow, after lrdnn_base.command has suppressed its start-up messages

    raw_dir = pathlib.Path(raw_dir)
    crops, identity_names = list_crops(raw_dir, camera_pattern)
    held_out, options = split_options(options)
    output = Output(out_dir, **options)
    values = {"raw_dir": raw_dir, "camera_pattern": camera_pattern, **vars(output), **vars(held_out)}
    return reid.convert(
        raw_dir,
        output.name or raw_dir.resolve().name,
        (),
        hold_out(crops, held_out),
        output,
        identity_names=identity_names,
        command=command_line("data_prep.from_folders", values),
    )


def list_crops(
    raw_dir: pathlib.Path, camera_pattern: str | None = None
) -> tuple[dict[str, list[Crop]], dict[str, int]]:
    """The images of each split, sorted by path, and the numbers of the people's names; none if they have numbers.

    Raises:
        InputError: There is no such folder, it has no image, or a path has no camera.
    """
    if not raw_dir.is_dir():
        raise InputError(f"{raw_dir}: no such folder; --raw_dir is the folder with a folder per person")
    pattern = _compiled(camera_pattern) if camera_pattern else None
    folders = {split: split for split in SPLITS if (raw_dir / split).is_dir()} or {"train": ""}
    images = {split: _images(raw_dir / folder) for split, folder in folders.items()}
    people = {person for found in images.values() for person, _ in found}
    if not people:
        raise InputError(f"{raw_dir}: no folder of a person with an image in it ({', '.join(IMAGE_SUFFIXES)})")
    names = {} if are_numbers(people) else number_names(people)
    number_of = names | NO_NAMES if names else {person: int(person) for person in people}
    crops = {split: [] for split in SPLITS}
    for split, found in images.items():
        for person, image in found:
            camera = _camera(image, pattern) if pattern else UNKNOWN_CAMERA
            crops[split].append(Crop(posixpath.join(folders[split], person, image), number_of[person], camera))
    everything = [crop for found in crops.values() for crop in found]
    if unknown := [crop.path for crop in everything if crop.camera == UNKNOWN_CAMERA]:
        if pattern:
            what = f"paths in which --camera_pattern={camera_pattern} finds no number from 1"
            raise InputError(f"{raw_dir}: {list_all(unknown, what)}")
        logging.warning("%s: cameras are unknown; results are not of the cross-camera protocol", raw_dir)
    return crops, names


def _images(folder: pathlib.Path) -> list[tuple[str, str]]:
    """The images of every person, sorted: name of the folder, and path below it."""
    people = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    images, others = [], sorted(entry.name for entry in os.scandir(folder) if not entry.is_dir())
    for person in people:
        for path in sorted(path for path in (folder / person).rglob("*") if path.is_file()):
            below = path.relative_to(folder / person).as_posix()
            if path.suffix.lower() in IMAGE_SUFFIXES:
                images.append((person, below))
            else:
                others.append(f"{person}/{below}")
    if others:
        logging.warning("%s: ignored %s", folder, listing(others, "other files"))
    return images


def _compiled(pattern: str) -> re.Pattern:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--camera_pattern={pattern}: not a regular expression ({error})") from error
    if not compiled.groups:
        raise InputError(rf"--camera_pattern={pattern}: no group for the number of the camera, such as _c(\d+)")
    return compiled


def _camera(image: str, pattern: re.Pattern) -> int:
    match = pattern.search(image)
    return int(match[1]) if match and re.fullmatch(r"\d{1,9}", match[1] or "") else UNKNOWN_CAMERA


if __name__ == "__main__":
    run_converter(convert, Input)
