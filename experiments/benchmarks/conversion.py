"""Conversion of a dataset of Market-1501's size, beside a plain loop that writes one record after the other."""

import dataclasses
import itertools
import pathlib
import tempfile
from collections.abc import Callable
from functools import partial

import tensorflow as tf

from data_prep.reid import FOLDERS
from experiments.benchmarks.compare import compare, run_from_flags
from experiments.benchmarks.crops import convert, make_raw_folder
from lrdnn_base.options import option
from lrdnn_tf.data import records


@dataclasses.dataclass(frozen=True)
class Options:
    images: int = option(36000, "Number of files to convert; Market-1501 has about as many.", at_least=10)
    repeats: int = option(3, "Timed calls of each, whose median counts.", at_least=1)
    seed: int = option(0, "Seed of the images.")


def plain_loop(raw_dir: pathlib.Path, out_dir: pathlib.Path) -> None:
    """The reference: reads, decodes and writes file after file, without hashes and without parallel work."""
    out_dir.mkdir()
    for split, folder in FOLDERS.items():
        with tf.io.TFRecordWriter(str(out_dir / f"{split}.tfrecord")) as writer:
            for path in sorted((raw_dir / folder).iterdir()):
                image = path.read_bytes()
                tf.io.decode_image(image, channels=3)
                writer.write(records.encode_example(image, path.name, int(path.name[:4]), -1, int(path.name[6]), []))


def run_benchmark(options: Options) -> dict:
    """Compares the time; every image is decoded."""
    with tempfile.TemporaryDirectory() as scratch:
        raw_dir = pathlib.Path(scratch) / "raw"
        make_raw_folder(raw_dir, options.images, options.seed)
        out_dirs = (pathlib.Path(scratch) / f"converted-{number}" for number in itertools.count())

        def prepare(method: Callable) -> Callable:
            return lambda: method(raw_dir, next(out_dirs))

        comparison = compare(
            "conversion", partial(prepare, convert), partial(prepare, plain_loop), repeats=options.repeats
        )
    splits = comparison.results["ours"].values()
    return comparison.report(options, images=sum(split["examples"] for split in splits))


if __name__ == "__main__":
    run_from_flags(run_benchmark, Options)
