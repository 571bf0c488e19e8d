"""Conversion of a Market-1501 of full size, beside a plain loop that writes the same records one after the other."""

import json
import pathlib
import statistics
import tempfile

import cv2
import numpy as np
import tensorflow as tf
from absl import flags

from data_prep import market1501
from data_prep.folders import FOLDERS
from experiments.measure import peak_mb, timed
from lrdnn_base import command
from lrdnn_tf.data import records

FLAGS = flags.FLAGS
# Market-1501's own split of its 36,036 files.
SHARES = {"train": 0.36, "query": 0.09, "gallery": 0.55}
_DISTINCT = 500  # JPEGs; files repeat them


def make_crops(count: int, seed: int) -> list[bytes]:
    """JPEGs of 128x64 pixels, of about the size of Market-1501's."""
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


def plain_loop(raw_dir: pathlib.Path, out_dir: pathlib.Path) -> None:
    """The reference: reads, decodes and writes file after file, without hashes and with nothing in parallel."""
    out_dir.mkdir()
    for split, folder in FOLDERS.items():
        with tf.io.TFRecordWriter(str(out_dir / f"{split}.tfrecord")) as writer:
            for path in sorted((raw_dir / folder).iterdir()):
                image = path.read_bytes()
                tf.io.decode_image(image, channels=3)
                writer.write(records.encode_example(image, path.name, int(path.name[:4]), -1, int(path.name[6]), []))


def run_benchmark(images: int = 36000, repeats: int = 3, seed: int = 0) -> dict:
    """Times both in turn, prints a table and one JSON line, and returns what it printed."""
    ours_s, reference_s, peaks = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        raw_dir = pathlib.Path(scratch) / "raw"
        make_raw_folder(raw_dir, images, seed)
        for run in range(repeats):
            ours, reference = (pathlib.Path(scratch) / f"{name}-{run}" for name in ("ours", "reference"))
            seconds, splits = timed(lambda out=ours: market1501.convert(raw_dir, out, name="generated"))
            ours_s.append(seconds)
            peaks.append(peak_mb())
            reference_s.append(timed(lambda out=reference: plain_loop(raw_dir, out))[0])
    result = {
        "benchmark": "conversion",
        "ours_s": statistics.median(ours_s),
        "reference_s": statistics.median(reference_s),
        "speedup": statistics.median(reference_s) / statistics.median(ours_s),
        "peak_mb": peaks[0],  # before the reference added its own
        "images": sum(split["examples"] for split in splits.values()),
    }
    print(f"{result['images']} crops of 128x64, every one decoded, median of {repeats}")
    print(f"  data_prep.market1501, hashes included {result['ours_s']:8.2f} s")
    print(f"  plain loop                            {result['reference_s']:8.2f} s")
    print(json.dumps(result))
    return result


def main() -> None:
    run_benchmark(FLAGS.images, FLAGS.repeats, FLAGS.seed)


if __name__ == "__main__":
    flags.DEFINE_integer("images", 36000, "Files to convert; the default is about Market-1501's.", lower_bound=10)
    flags.DEFINE_integer("repeats", 3, "Runs of each, of which the median counts.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the images.")
    command.run(main)
