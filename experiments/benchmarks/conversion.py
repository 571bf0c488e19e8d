"""Conversion of a dataset of Market-1501's size, beside a plain loop that writes one record after the other."""

import itertools
import pathlib
import tempfile
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import tensorflow as tf

from data_prep import market1501
from data_prep.folders import FOLDERS
from experiments.benchmarks.compare import compare, run_as_command
from lrdnn_tf.data import records
from lrdnn_tf.data.dataset import Dataset, read_dataset

# Market-1501's own split of its 36,036 files.
SHARES = {"train": 0.36, "query": 0.09, "gallery": 0.55}
_FIRST_PERSON = {"train": 1, "query": 5001, "gallery": 5001}  # nobody is in both train and test
_DISTINCT = 500  # JPEGs; the files repeat them
_convert = partial(market1501.convert, name="generated")


def make_crops(count: int) -> list[bytes]:
    """JPEGs of 128x64 pixels, about as large as Market-1501's."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (16, 8, 3), dtype=np.uint8) for _ in range(count)]
    pictures = [cv2.resize(image, (64, 128), interpolation=cv2.INTER_CUBIC) for image in noise]
    return [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]


def make_raw_folder(folder: pathlib.Path, images: int) -> None:
    """A raw dataset in Market-1501's layout with this many images."""
    crops = make_crops(min(_DISTINCT, images))
    for split, share in SHARES.items():
        (folder / FOLDERS[split]).mkdir(parents=True)
        for number in range(max(round(share * images), 1)):
            name = f"{_FIRST_PERSON[split] + number // 17:04}_c{1 + number % 6}s1_{number:06}_00.jpg"
            (folder / FOLDERS[split] / name).write_bytes(crops[number % len(crops)])


def make_dataset(folder: pathlib.Path, images: int) -> Dataset:
    """A converted dataset with this many images in all splits together."""
    make_raw_folder(folder / "raw", images)
    _convert(folder / "raw", folder / "converted")
    return read_dataset(folder / "converted")


def plain_loop(raw_dir: pathlib.Path, out_dir: pathlib.Path) -> None:
    """The reference: reads, decodes and writes file after file, without hashes and without parallel work."""
    out_dir.mkdir()
    for split, folder in FOLDERS.items():
        with tf.io.TFRecordWriter(str(out_dir / f"{split}.tfrecord")) as writer:
            for path in sorted((raw_dir / folder).iterdir()):
                image = path.read_bytes()
                tf.io.decode_image(image, channels=3)
                writer.write(records.encode_example(image, path.name, int(path.name[:4]), -1, int(path.name[6]), []))


def run_benchmark(images: int = 36000, repeats: int = 3) -> dict:
    """Compares the time for about as many images as Market-1501 has; every image is decoded."""
    with tempfile.TemporaryDirectory() as scratch:
        raw_dir = pathlib.Path(scratch) / "raw"
        make_raw_folder(raw_dir, images)
        out_dirs = (pathlib.Path(scratch) / f"converted-{number}" for number in itertools.count())

        def prepare(method: Callable) -> Callable:
            return lambda: method(raw_dir, next(out_dirs))

        comparison = compare("conversion", partial(prepare, _convert), partial(prepare, plain_loop), repeats=repeats)
    splits = comparison.results["ours"].values()
    return comparison.report(images=sum(split["examples"] for split in splits))


if __name__ == "__main__":
    run_as_command(run_benchmark)
