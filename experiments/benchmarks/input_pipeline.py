"""Input pipeline of the training, beside a plain PIL loop: decode, resize to 256x128, flip, pad and crop, batch."""

import io
import itertools
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from PIL import Image

from experiments.benchmarks.compare import compare, run_as_command
from experiments.benchmarks.conversion import SHARES, make_dataset
from experiments.measure import consume
from lrdnn_tf.data.batches import training_batches
from lrdnn_tf.data.split import read_split

HEIGHT, WIDTH, PADDING = 256, 128, 10


def pil_batches(crops: list[bytes], batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """The reference: one epoch, float32 [batch_size, 256, 128, 3] a batch, one image after the other."""
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


def run_benchmark(images: int = 13000, batch_size: int = 32, repeats: int = 5) -> dict:
    """Compares the time of an epoch as long as Market-1501's, without and with `--cache_images`."""
    with tempfile.TemporaryDirectory() as scratch:
        dataset = make_dataset(pathlib.Path(scratch), round(images / SHARES["train"]))
        split = read_split(dataset, "train")
        images = len(split)
        steps = images // batch_size

        def prepare_ours(cache_images: bool = False) -> Callable[[], None]:
            batches = iter(training_batches(split, HEIGHT, WIDTH, batch_size, seed=0, cache_images=cache_images))
            return lambda: consume(batches, steps)

        def prepare_pil_loop() -> Callable[[], None]:
            crops = split.image_files(range(images))
            seeds = itertools.count()
            return lambda: consume(pil_batches(crops, batch_size, next(seeds)), steps)

        cached = {"cached": partial(prepare_ours, cache_images=True)}
        comparison = compare("input_pipeline", prepare_ours, prepare_pil_loop, cached, repeats=repeats, warm_up=1)
    count = steps * batch_size
    rates = {f"{variant}_images_per_s": count / comparison.median(variant) for variant in comparison.seconds}
    return comparison.report(images=images, batch_size=batch_size, **rates)


if __name__ == "__main__":
    run_as_command(run_benchmark)
