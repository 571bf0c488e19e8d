"""Pose input pipeline with its targets at 368x368, on JPEGs of COCO's size, beside a plain OpenCV loop."""

import itertools
import math
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import tensorflow as tf

from experiments.benchmarks.compare import compare, run_as_command
from experiments.measure import consume
from lrdnn_base.files import write_json
from pose_pretrain.network import STRIDE
from pose_pretrain.pipeline import default_sigma, read_pose_dataset, training_batches
from pose_pretrain.records import decode_ignore_mask, encode_example, parse_example
from pose_pretrain.skeleton import FLIP, LIMBS, from_coco

_IMAGE_HEIGHT, _IMAGE_WIDTH = 480, 640
_LIMB_WIDTH = 1.0  # from the axis of a limb to its edge, in cells of the maps
_DISTINCT = 64  # JPEGs; the records repeat them


def make_pictures(count: int, rng: np.random.Generator) -> list[bytes]:
    """JPEGs of 640x480 pixels, about as large as COCO's files (160 kB): coloured shapes with fine noise."""
    pictures = []
    for _ in range(count):
        shapes = cv2.resize(rng.integers(0, 256, (24, 32, 3), np.uint8), (_IMAGE_WIDTH, _IMAGE_HEIGHT))
        noise = rng.normal(0, 9, (_IMAGE_HEIGHT, _IMAGE_WIDTH, 1))
        picture = np.clip(shapes + noise, 0, 255).astype(np.uint8)
        pictures.append(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
    return pictures


def make_dataset(folder: pathlib.Path, images: int) -> float:
    """Writes a converted pose dataset, and returns the mean size of its JPEGs in kB.

    An image has one to five people; every fourth has a region to ignore.
    """
    rng = np.random.default_rng(0)
    pictures = make_pictures(min(_DISTINCT, images), rng)
    ignored = np.zeros((_IMAGE_HEIGHT, _IMAGE_WIDTH), bool)
    ignored[:100, :200] = True
    shard = "train-00000-of-00001.tfrecord"
    total = 0
    with tf.io.TFRecordWriter(str(folder / shard)) as writer:
        for number in range(images):
            people = int(rng.integers(1, 6))
            total += people
            size = rng.uniform([60, 120], [200, 400], (people, 2))
            corner = rng.uniform(0, 1, (people, 2)) * ([_IMAGE_WIDTH, _IMAGE_HEIGHT] - size)
            keypoints = np.full((people, 17, 3), 2.0)
            keypoints[..., :2] = corner[:, None] + size[:, None] * rng.uniform(size=(people, 17, 2))
            boxes, areas = np.concatenate([corner, size], axis=1), size.prod(axis=1)
            picture, mask = pictures[number % len(pictures)], ignored if number % 4 == 0 else None
            writer.write(encode_example(picture, number, _IMAGE_HEIGHT, _IMAGE_WIDTH, keypoints, boxes, areas, mask))
    split = {"examples": images, "people": total, "shards": [{"file": shard, "examples": images}]}
    write_json(folder / "dataset.json", {"kind": "pose", "name": "generated", "splits": {"train": split}})
    return statistics.mean(len(pictures[number % len(pictures)]) for number in range(images)) / 1000


def plain_loop(examples: list[dict], height: int, width: int, batch_size: int, seed: int) -> Iterator[tuple]:
    """The reference: one epoch, example after example, person after person, keypoint after keypoint."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(examples))
    for start in range(0, len(order) - batch_size + 1, batch_size):
        crops = [_plain_example(examples[number], height, width, rng) for number in order[start : start + batch_size]]
        yield tuple(np.stack(part) for part in zip(*crops, strict=True))


def _plain_example(example: dict, height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(example["image"], np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    x, y, box_width, box_height = example["boxes"][rng.integers(len(example["boxes"]))]
    scale = rng.uniform(0.5, 1.1) * min(width / box_width, height / box_height)
    warp = cv2.getRotationMatrix2D((float(x + box_width / 2), float(y + box_height / 2)), rng.uniform(-40, 40), scale)
    warp[:, 2] += [width / 2 - x - box_width / 2, height / 2 - y - box_height / 2]
    mirrored = rng.random() < 0.5
    if mirrored:
        warp[0] = -warp[0] + [0, 0, width - 1]
    crop = cv2.warpAffine(image, warp, (width, height), borderValue=(128, 128, 128)).astype(np.float32)
    ignored = cv2.warpAffine(example["ignored"], warp, (width, height))
    people = from_coco(example["keypoints"]).copy()
    people[..., :2] = people[..., :2] @ warp[:, :2].T + warp[:, 2]
    people = people[:, list(FLIP)] if mirrored else people
    cells = (width // STRIDE, height // STRIDE)
    weight = (cv2.resize(ignored, cells, interpolation=cv2.INTER_AREA) < 0.5).astype(np.float32)[..., None]
    return crop, *_plain_targets(people, *cells[::-1], default_sigma(height, width)), weight


def _plain_targets(people: np.ndarray, rows: int, columns: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:rows, :columns] * STRIDE + (STRIDE - 1) / 2
    confidence = np.zeros((rows, columns, 19), np.float32)
    affinity, count = np.zeros((rows, columns, 38), np.float32), np.zeros((rows, columns, 19), np.float32)
    for person in people:
        for part, (px, py, v) in enumerate(person):
            if v > 0:
                near = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
                confidence[..., part] = np.maximum(confidence[..., part], near)
        for limb, (start, end) in enumerate(LIMBS):
            along_x, along_y = person[end, :2] - person[start, :2]
            length = math.hypot(along_x, along_y)
            if person[start, 2] > 0 and person[end, 2] > 0 and length > 0:
                along_x, along_y = along_x / length, along_y / length
                from_x, from_y = x - person[start, 0], y - person[start, 1]
                along, across = from_x * along_x + from_y * along_y, from_x * along_y - from_y * along_x
                on_limb = (along >= 0) & (along <= length) & (np.abs(across) <= _LIMB_WIDTH * STRIDE)
                affinity[on_limb, 2 * limb : 2 * limb + 2] += (along_x, along_y)
                count[on_limb, limb] += 1
    confidence[..., 18] = 1 - confidence[..., :18].max(axis=-1)
    return confidence, affinity / np.maximum(np.repeat(count, 2, axis=-1), 1)


def read_examples(shards: list[str]) -> list[dict]:
    """The parsed records and their decoded ignore masks, for the plain loop."""
    parsed = (parse_example(record) for record in tf.data.TFRecordDataset(shards))
    return [
        {
            "image": example["image"].numpy(),
            "boxes": example["boxes"].numpy(),
            "keypoints": example["keypoints"].numpy(),
            "ignored": decode_ignore_mask(example).numpy()[..., 0],
        }
        for example in parsed
    ]


def run_benchmark(
    images: int = 640, height: int = 368, width: int = 368, batch_size: int = 16, repeats: int = 3
) -> dict:
    """Compares the time of an epoch."""
    size, steps = (height, width, batch_size), images // batch_size
    with tempfile.TemporaryDirectory() as scratch:
        jpeg_kb = make_dataset(pathlib.Path(scratch), images)
        dataset = read_pose_dataset(scratch, needed=("train",))

        def prepare_ours() -> Callable[[], None]:
            batches = iter(training_batches(dataset, *size, seed=0, limb_width=_LIMB_WIDTH))
            return lambda: consume(batches, steps)

        def prepare_plain_loop() -> Callable[[], None]:
            examples, seeds = read_examples(dataset.shards("train")), itertools.count()
            return lambda: consume(plain_loop(examples, *size, next(seeds)), steps)

        comparison = compare("pose_pipeline", prepare_ours, prepare_plain_loop, repeats=repeats, warm_up=1)
    examples = steps * batch_size
    rates = {f"{variant}_examples_per_s": examples / comparison.median(variant) for variant in comparison.seconds}
    return comparison.report(examples=examples, batch_size=batch_size, jpeg_kb=jpeg_kb, **rates)


if __name__ == "__main__":
    run_as_command(run_benchmark)
