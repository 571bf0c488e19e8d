"""Converts MSMT17, version 1 or 2, to TFRecords.

    python -m data_prep.msmt17 --raw_dir=MSMT17_V1 --out_dir=data/msmt17

Wei et al., "Person Transfer GAN to Bridge Domain Gap for Person Re-Identification" (CVPR 2018). List files name the
images of each split and their identities, such as `0000/0000_000_01_0303morning_0015_0.jpg 0`, where the third field of
the file name is the camera; images are in the folders train and test, or mask_train_v2 and mask_test_v2 in version 2.
Training and test people are numbered from 0 each: here test people continue the numbers of the training people, and all
count from 1. Published results train on the images of list_train.txt and list_val.txt together.
"""

import functools
import os
import pathlib
import re

from data_prep.crops import Crop
from data_prep.output import list_all
from data_prep.source import Source, convert_source, run_converter
from lrdnn_base.errors import InputError

_LISTS = {"train": ("list_train.txt", "list_val.txt"), "query": ("list_query.txt",), "gallery": ("list_gallery.txt",)}
_FOLDERS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))  # of version 1 and of version 2
_LINE = re.compile(r"(?P<path>\S+/\d+_\d+_(?P<camera>\d+)_\S+) (?P<identity>\d+)")


def list_crops(raw_dir: str | os.PathLike) -> dict[str, list[Crop]]:
    """Lists the images of each split, in the order of the list files.

    Raises:
        InputError: A folder or list file is missing, or a line of one does not parse.
    """
    raw_dir = pathlib.Path(raw_dir)
    found = [folders for folders in _FOLDERS if all((raw_dir / folder).is_dir() for folder in folders)]
    if not found:
        expected = " or ".join(f"{train} and {test}" for train, test in _FOLDERS)
        raise InputError(f"{raw_dir}: no folders {expected}; --raw_dir must be the folder MSMT17_V1 or MSMT17_V2")
    train_folder, test_folder = found[0]
    train = _read_lists(raw_dir, "train", train_folder, first_identity=1)
    first_test_identity = 1 + max((crop.identity for crop in train), default=0)
    tested = {split: _read_lists(raw_dir, split, test_folder, first_test_identity) for split in ("query", "gallery")}
    return {"train": train, **tested}


def _read_lists(raw_dir: pathlib.Path, split: str, folder: str, first_identity: int) -> list[Crop]:
    crops, unparsed = [], []
    for name in _LISTS[split]:
        try:
            lines = (raw_dir / name).read_text().splitlines()
        except OSError as error:
            raise InputError(f"{raw_dir / name}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{raw_dir / name}: not a text file") from error
        for number, line in enumerate(lines, start=1):
            if match := _LINE.fullmatch(line.strip()):
                identity = first_identity + int(match["identity"])
                crops.append(Crop(f"{folder}/{match['path']}", identity, int(match["camera"])))
            elif line.strip():
                unparsed.append(f"{line!r} in line {number} of {name}")
    if unparsed:
        raise InputError(f"{raw_dir}: {list_all(unparsed, 'lines without path, camera and identity')}")
    return crops


MSMT17 = Source(
    name="msmt17",
    list_crops=list_crops,
    published_counts={
        "train": {"examples": 32621, "identities": 1041},
        "query": {"examples": 11659, "identities": 3060},
        "gallery": {"examples": 82161, "identities": 3060},
    },
)

convert = functools.partial(convert_source, MSMT17)

if __name__ == "__main__":
    run_converter(convert)
