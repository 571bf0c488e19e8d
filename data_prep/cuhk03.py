"""Converts CUHK03 in its new protocol to TFRecords.

    python -m data_prep.cuhk03 --raw_dir=cuhk03-np --out_dir=data/cuhk03
    python -m data_prep.cuhk03 --raw_dir=cuhk03_release --boxes=labeled --out_dir=data/cuhk03_labeled

Images: Li et al., "DeepReID" (CVPR 2014). Split into 767 training and 700 test people: Zhong et al., "Re-ranking Person
Re-identification with k-reciprocal Encoding" (CVPR 2017). raw_dir is one of the two forms in which both are published:

folders      detected/ and labeled/, each with the folders of Market-1501; files are named `0001_c1_01.jpg`:
             identity, camera, running number
cuhk-03.mat  the images as their authors publish them, and beside it the split files
             cuhk03_new_protocol_config_detected.mat and cuhk03_new_protocol_config_labeled.mat
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

import cv2
import h5py
import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from data_prep.crops import Crop, ImageSource
from data_prep.folders import list_folders
from data_prep.output import list_all
from data_prep.source import Source, convert_source, run_converter
from lrdnn_base.errors import InputError
from lrdnn_base.options import check_options, option

IMAGES_FILE = "cuhk-03.mat"
PUBLISHED_COUNTS = {
    "detected": {
        "train": {"examples": 7365, "identities": 767},
        "query": {"examples": 1400, "identities": 700},
        "gallery": {"examples": 5332, "identities": 700},
    },
    "labeled": {
        "train": {"examples": 7368, "identities": 767},
        "query": {"examples": 1400, "identities": 700},
        "gallery": {"examples": 5328, "identities": 700},
    },
}
_FILE_NAME = re.compile(r"(?P<identity>\d+)_c(?P<camera>[12])_\d+\.(jpg|jpeg|png)", re.IGNORECASE)
_IMAGE_NAME = "{pair}_{person:03}_{view}_{image:02}.png"  # in the split files
_IMAGES_OF_VIEW = 5  # of each person: five columns of one camera, then five of the other one
_SPLIT_FIELDS = {"train": "train_idx", "query": "query_idx", "gallery": "gallery_idx"}


@dataclasses.dataclass(frozen=True)
class Input:
    """The raw dataset to read."""

    raw_dir: str = option(help=f"Folder with the folders detected and labeled, or with {IMAGES_FILE}.")
    boxes: str = option("detected", "Crops of a detector, or crops that people drew.", choices=tuple(PUBLISHED_COUNTS))

    def __post_init__(self):
        check_options(self)


@dataclasses.dataclass(frozen=True)
class MatImage:
    """An image in cuhk-03.mat, as a file: `read_bytes` gives a PNG."""

    dataset: h5py.Dataset
    name: str

    def __str__(self) -> str:
        return f"{self.dataset.file.filename}: {self.name}"

    def read_bytes(self) -> bytes:
        pixels = self.dataset[()].T  # MATLAB stores columns first: [channels, width, height]
        return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def convert(
    raw_dir: str | os.PathLike, out_dir: str | os.PathLike, boxes: str = "detected", **options: Any
) -> dict[str, Any]:
    """Converts CUHK03; options and return value as for `data_prep.source.convert_source`.

    The dataset is called cuhk03, and cuhk03_labeled with the boxes that people drew.

    Raises:
        InputError: raw_dir holds neither form of the dataset, its files do not belong together, or as raised by
            convert_source.
    """
    Input(raw_dir, boxes)
    name = "cuhk03" if boxes == "detected" else f"cuhk03_{boxes}"
    source = Source(
        name=name,
        module="cuhk03",
        list_crops=lambda raw_dir: list_crops(raw_dir, boxes),
        image_files=lambda raw_dir: _image_files(raw_dir, boxes),
        flags={"boxes": boxes},
        published_counts=PUBLISHED_COUNTS[boxes],
    )
    return convert_source(source, raw_dir, out_dir, **options)


def list_crops(raw_dir: str | os.PathLike, boxes: str) -> dict[str, list[Crop]]:
    """Lists the images of each split.

    Args:
        raw_dir: Folder of either form.
        boxes: "detected" or "labeled".

    Raises:
        InputError: raw_dir holds neither form of the dataset, or its files do not belong together.
    """
    raw_dir = pathlib.Path(raw_dir)
    if (raw_dir / IMAGES_FILE).is_file():
        return _list_mat(raw_dir, boxes)
    if not (raw_dir / boxes).is_dir():
        raise InputError(f"{raw_dir}: neither a folder {boxes} in it nor a file {IMAGES_FILE}")
    crops = list_folders(raw_dir / boxes, _FILE_NAME, "0001_c1_01.jpg")
    return {split: [crop._replace(path=f"{boxes}/{crop.path}") for crop in found] for split, found in crops.items()}


def _list_mat(raw_dir: pathlib.Path, boxes: str) -> dict[str, list[Crop]]:
    path = raw_dir / f"cuhk03_new_protocol_config_{boxes}.mat"
    names, identities, cameras, numbers = _read_split_file(path)
    stored = _stored_images(raw_dir / IMAGES_FILE, boxes)
    if missing := sorted(set(names) ^ set(stored)):
        raise InputError(
            f"{path}: {list_all(missing, f'images that only one of it and {IMAGES_FILE} has')}; "
            f"is it the split file of the {boxes} boxes?"
        )
    return {
        split: [Crop(names[number], int(identities[number]), int(cameras[number])) for number in numbers[split]]
        for split in _SPLIT_FIELDS
    }


def _read_split_file(path: pathlib.Path) -> tuple[list[str], np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Names, identities and cameras of all images, and the numbers of the images of each split, from 0."""
    if not path.is_file():
        raise InputError(f"{path}: missing; it is the split file of the new protocol for {IMAGES_FILE}")
    try:
        content = scipy.io.loadmat(path)
    except (OSError, ValueError, NotImplementedError, MatReadError) as error:
        raise InputError(f"{path}: not a split file of MATLAB ({error})") from error
    fields = ("filelist", "labels", "camId", *_SPLIT_FIELDS.values())
    if missing := [field for field in fields if field not in content]:
        raise InputError(f"{path}: no {', '.join(missing)} in it; is it a split file of CUHK03's new protocol?")
    names = [str(np.squeeze(entry)) for entry in content["filelist"].ravel()]
    identities, cameras = content["labels"].ravel(), content["camId"].ravel()
    numbers = {split: content[field].ravel().astype(np.int64) - 1 for split, field in _SPLIT_FIELDS.items()}
    used = np.concatenate(list(numbers.values()))
    if not len(names) == len(identities) == len(cameras) or not np.isin(used, np.arange(len(names))).all():
        raise InputError(f"{path}: its lists differ in length, or a split names images beyond their end")
    return names, identities, cameras, numbers


def _stored_images(path: pathlib.Path, boxes: str) -> dict[str, h5py.Dataset]:
    """The images of cuhk-03.mat by the names that the split files give them. The file stays open."""
    try:
        file = h5py.File(path, "r")
        pairs = [file[reference] for reference in file[boxes][()].ravel()]
        images = {}
        for pair, people in enumerate(pairs, start=1):
            for (image, person), reference in np.ndenumerate(people[()]):
                if file[reference].ndim == 3:  # MATLAB's empty cells have two dimensions
                    view = 1 + image // _IMAGES_OF_VIEW
                    name = _IMAGE_NAME.format(pair=pair, person=person + 1, view=view, image=image + 1)
                    images[name] = file[reference]
    except (OSError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: not the images of CUHK03, in MATLAB's format 7.3 ({error})") from error
    return images


def _image_files(raw_dir: str | os.PathLike, boxes: str) -> Callable[[str], ImageSource]:
    path = pathlib.Path(raw_dir) / IMAGES_FILE
    if not path.is_file():
        return pathlib.Path(raw_dir).joinpath
    images = _stored_images(path, boxes)
    return lambda name: MatImage(images[name], name)


if __name__ == "__main__":
    run_converter(convert, Input)
