"""The training input pipeline beside a plain PIL loop: decode, resize to 256x128, flip, pad and crop, batch."""

import io
import itertools
import json
import pathlib
import statistics
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np
from absl import flags
from PIL import Image

from data_prep import market1501
from experiments.benchmarks.conversion import make_raw_folder
from experiments.measure import peak_mb, timed
from lrdnn_base import command
from lrdnn_tf.data.batches import training_batches
from lrdnn_tf.data.dataset import read_dataset
from lrdnn_tf.data.split import read_split

FLAGS = flags.FLAGS
HEIGHT, WIDTH, PADDING = 256, 128, 10


def pil_batches(crops: list[bytes], batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """One epoch as float32 [batch_size, 256, 128, 3]: what people write first, one image after the other."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(crops))
    for start in range(0, len(crops) - batch_size + 1, batch_size):
        yield np.stack([_augmented(crops[index], rng) for index in order[start : start + batch_size]])


def _augmented(crop: bytes, rng: np.random.Generator) -> np.ndarray:
    image = Image.open(io.BytesIO(crop)).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    padded = Image.new("RGB", (WIDTH + 2 * PADDING, HEIGHT + 2 * PADDING))
    padded.paste(image, (PADDING, PADDING))
    left, top = rng.integers(0, 2 * PADDING + 1, 2).tolist()
    return np.asarray(padded.crop((left, top, left + WIDTH, top + HEIGHT)), np.float32)


def take_all(batches: Iterable) -> None:
    for _ in batches:
        pass


def run_benchmark(images: int = 13000, batch_size: int = 32, repeats: int = 5, seed: int = 0) -> dict:
    """Times an epoch of both in turn, prints a table and one JSON line, and returns what it printed."""
    with tempfile.TemporaryDirectory() as scratch:
        make_raw_folder(pathlib.Path(scratch) / "raw", round(images / 0.36), seed)
        market1501.convert(pathlib.Path(scratch) / "raw", pathlib.Path(scratch) / "out", name="generated")
        dataset = read_dataset(pathlib.Path(scratch) / "out")
        split = read_split(dataset, "train")
        crops = split.image_files(range(len(split)))
        steps = len(crops) // batch_size
        ours = iter(training_batches(split, HEIGHT, WIDTH, batch_size, seed))
        next(ours)
        take_all(itertools.islice(ours, steps))
        peak = peak_mb()  # before the others add their own
        cached = iter(training_batches(split, HEIGHT, WIDTH, batch_size, seed, cache_images=True))
        next(cached)
        ours_s, cached_s, reference_s = [], [], []
        for run in range(repeats):
            ours_s.append(timed(lambda: take_all(itertools.islice(ours, steps)))[0])
            cached_s.append(timed(lambda: take_all(itertools.islice(cached, steps)))[0])
            reference_s.append(timed(lambda run=run: take_all(pil_batches(crops, batch_size, seed + run)))[0])
    result = {
        "benchmark": "input_pipeline",
        "ours_s": statistics.median(ours_s),
        "reference_s": statistics.median(reference_s),
        "speedup": statistics.median(reference_s) / statistics.median(ours_s),
        "peak_mb": peak,
        "ours_images_per_s": steps * batch_size / statistics.median(ours_s),
        "reference_images_per_s": steps * batch_size / statistics.median(reference_s),
        "cached_images_per_s": steps * batch_size / statistics.median(cached_s),
        "cached_speedup": statistics.median(reference_s) / statistics.median(cached_s),
        "images": len(crops),
        "batch_size": batch_size,
    }
    print(f"an epoch of {steps} batches of {batch_size}, {HEIGHT}x{WIDTH}, median of {repeats}")
    print(f"  lrdnn_tf.data.batches  {result['ours_images_per_s']:8.0f} images/s")
    print(f"  with --cache_images    {result['cached_images_per_s']:8.0f} images/s")
    print(f"  plain PIL loop         {result['reference_images_per_s']:8.0f} images/s")
    print(f"  ours / PIL {result['speedup']:.1f}, cached / PIL {result['cached_speedup']:.1f}")
    print(json.dumps(result))
    return result


def main() -> None:
    run_benchmark(FLAGS.images, FLAGS.batch_size, FLAGS.repeats, FLAGS.seed)


if __name__ == "__main__":
    flags.DEFINE_integer("images", 13000, "Training images; the default is about Market-1501's.", lower_bound=100)
    flags.DEFINE_integer("batch_size", 32, "Images in a batch.", lower_bound=1)
    flags.DEFINE_integer("repeats", 5, "Epochs of each, of which the median counts.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the images and of the shuffling.")
    command.run(main)
