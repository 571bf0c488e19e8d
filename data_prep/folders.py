"""Raw datasets with one folder per split, whose image names tell identity and camera."""

import os
import pathlib
import re
from collections.abc import Mapping

from absl import logging

from data_prep.crops import Crop
from data_prep.output import list_all
from lrdnn_base.errors import InputError
from lrdnn_base.files import listing

# The folders of Market-1501, which DukeMTMC-reID and others adopted.
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


def list_folders(
    raw_dir: str | os.PathLike, file_name: re.Pattern, example: str, folders: Mapping[str, str] = FOLDERS
) -> dict[str, list[Crop]]:
    """Lists the images of each split, sorted by file name.

    Args:
        raw_dir: Holds the folders.
        file_name: Pattern of the image names, with the groups `identity` and `camera`.
        example: A name that fits the pattern, for messages.
        folders: Folder of each split.

    Raises:
        InputError: A folder is missing or holds no image, or the name of an image does not fit the pattern.
    """
    raw_dir = pathlib.Path(raw_dir)
    crops, unparsed = {}, []
    for split, folder in folders.items():
        if not (raw_dir / folder).is_dir():
            raise InputError(f"{raw_dir}: no folder {folder!r}; --raw_dir must hold {', '.join(folders.values())}")
        images = _images(raw_dir / folder)
        matches = {name: file_name.fullmatch(name) for name in images}
        if not any(matches.values()):  # another dataset: one line for all images instead of one for each
            found = f"none of its {len(images)} images is named like {example} ({images[0]}, ...)"
            raise InputError(f"{raw_dir / folder}: {found}; is it the raw folder of another dataset?")
        unparsed += [f"{folder}/{name}" for name, match in matches.items() if match is None]
        crops[split] = [
            Crop(f"{folder}/{name}", int(match["identity"]), int(match["camera"]))
            for name, match in matches.items()
            if match is not None
        ]
    if unparsed:
        raise InputError(f"{raw_dir}: {list_all(unparsed, 'image names that do not parse')}")
    return crops


def _images(folder: pathlib.Path) -> list[str]:
    """The names of the images in a folder, with a warning about other files."""
    names = sorted(entry.name for entry in os.scandir(folder))
    images = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    if not images:
        raise InputError(f"{folder}: no image in it")
    if others := sorted(set(names) - set(images)):
        logging.warning("%s: ignored %s", folder, listing(others, "other files"))
    return images
