"""Small raw datasets: folders of noise images in the layouts that the converters read."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
import pytest
import scipy.io

from data_prep.market1501 import LABEL_FIELDS

CROP_NAMES = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c2s1_000501_01.jpg", "0007_c3s2_000001_02.jpg"],
    "query": ["0001_c1s1_001051_00.jpg", "0003_c2s1_000001_00.jpg"],
    "bounding_box_test": [
        "-1_c3s1_000401_03.jpg",
        "-1_c1s1_000001_01.jpg",
        "0000_c1s1_000151_01.jpg",
        "0001_c2s1_000301_00.jpg",
        "0003_c6s4_000301_00.jpg",
    ],
}


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """jpeg(seed, height=128, width=64): an image of smooth noise."""

    def make(seed: int, height: int = 128, width: int = 64) -> bytes:
        noise = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        return cv2.imencode(".jpg", cv2.resize(noise, (width, height)))[1].tobytes()

    return make


@pytest.fixture
def crop_folder(tmp_path, jpeg) -> Callable[..., pathlib.Path]:
    """crop_folder(names): a raw dataset in Market-1501's layout, `names` being the file names per folder."""

    def make(names: Mapping[str, Sequence[str]] = CROP_NAMES) -> pathlib.Path:
        for number, (folder, files) in enumerate(names.items()):
            (tmp_path / "raw" / folder).mkdir(parents=True)
            for index, file in enumerate(files):
                (tmp_path / "raw" / folder / file).write_bytes(jpeg(100 * number + index))
        return tmp_path / "raw"

    return make


@pytest.fixture
def write_market_mat() -> Callable[..., None]:
    """write_market_mat(path, {"train": {identity: values}, "test": ...}): a published file, values from 1.

    `values` maps some fields to their values; the others are 1, which is "no" for a colour.
    """
    fields = [field for entry in LABEL_FIELDS.values() for field in ([entry] if isinstance(entry, str) else entry)]

    def write(path: pathlib.Path, labels: Mapping[str, Mapping[int, Mapping[str, int]]], without: str = "") -> None:
        root = {}
        for split, rows in labels.items():
            table = {
                field: np.array([[row.get(field, 1) for row in rows.values()]], np.uint8)
                for field in fields
                if field != without
            }
            table["image_index"] = np.array([[f"{identity:04}" for identity in rows]], dtype=object)
            root[split] = table
        scipy.io.savemat(path, {"market_attribute": root})

    return write
