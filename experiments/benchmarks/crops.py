"""Synthetic crops: JPEGs, raw datasets in Market-1501's layout, and converted datasets."""

import pathlib
from typing import Any

import cv2
import numpy as np

from data_prep import market1501
from data_prep.reid import FOLDERS
from lrdnn_tf.data.dataset import Dataset, read_dataset

# Market-1501's own split of its 36,036 files.
SHARES = {"train": 0.36, "query": 0.09, "gallery": 0.55}
_DISTINCT = 500  # JPEGs; the files repeat them


def make_crops(count: int, seed: int) -> list[bytes]:
    """JPEGs of 128x64 pixels, about as large as Market-1501's."""
    rng = np.random.default_rng(seed)
    noise = [rng.integers(0, 256, (16, 8, 3), dtype=np.uint8) for _ in range(count)]
    pictures = [cv2.resize(image, (64, 128), interpolation=cv2.INTER_CUBIC) for image in noise]
    return [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]


def make_raw_folder(folder: pathlib.Path, images: int, seed: int) -> None:
    """A raw dataset in Market-1501's layout with this many images."""
    crops = make_crops(min(_DISTINCT, images), seed)
    for split, share in SHARES.items():
        (folder / FOLDERS[split]).mkdir(parents=True)
        for number in range(max(round(share * images), 1)):
            name = f"{1 + number // 17:04}_c{1 + number % 6}s1_{number:06}_00.jpg"
            (folder / FOLDERS[split] / name).write_bytes(crops[number % len(crops)])


def convert(raw_dir: pathlib.Path, out_dir: pathlib.Path) -> dict[str, Any]:
    """Converts such a raw dataset; returns the counts of each split, as dataset.json holds them."""
    return market1501.convert(raw_dir, out_dir, name="generated")


def make_dataset(folder: pathlib.Path, images: int, seed: int) -> Dataset:
    """A converted dataset with this many images in all splits together."""
    make_raw_folder(folder / "raw", images, seed)
    convert(folder / "raw", folder / "converted")
    return read_dataset(folder / "converted")
