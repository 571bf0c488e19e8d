"""A small converted dataset whose images can be identified: all pixels of image i have the value 4 * i."""

import json
import pathlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import tensorflow as tf

from lrdnn_tf.attributes import AttributeTask
from lrdnn_tf.data import records
from lrdnn_tf.data.dataset import Dataset, read_dataset

TASKS = (AttributeTask("hat", ("no", "yes")), AttributeTask("age", ("young", "teenager", "adult", "old")))


def plain_image(number: int, height: int = 16, width: int = 8) -> bytes:
    return cv2.imencode(".png", np.full((height, width, 3), 4 * number, np.uint8))[1].tobytes()


@pytest.fixture
def make_dataset(tmp_path) -> Callable[..., Dataset]:
    """make_dataset(examples, per_shard=7, draw=plain_image, **changes of example 3): splits train and query.

    Each has `examples` images; draw(i) returns the image file of example i.
    Example i has identity 10 + i % 5 (label i % 5), camera 1 + i % 2, hat i % 3 - 1 and age i % 4.
    """

    def make(
        examples: int,
        per_shard: int = 7,
        draw: Callable[[int], bytes] = plain_image,
        **changes: int | list[int],
    ) -> Dataset:
        description = {
            "format_version": 1,
            "kind": "reid",
            "name": "small",
            "attributes": [{"name": task.name, "classes": task.classes} for task in TASKS],
            "identities": list(range(10, 15)),
            "cameras": [1, 2],
            "splits": {
                split: _write_split(tmp_path, split, examples, per_shard, draw, changes) for split in ("train", "query")
            },
        }
        (tmp_path / "dataset.json").write_text(json.dumps(description))
        return read_dataset(tmp_path)

    return make


def _write_split(
    folder: pathlib.Path, split: str, examples: int, per_shard: int, draw: Callable, changes: dict
) -> dict:
    shards = []
    for start in range(0, examples, per_shard):
        numbers = range(start, min(start + per_shard, examples))
        file = f"{split}-{start}.tfrecord"
        with tf.io.TFRecordWriter(str(folder / file)) as writer:
            for number in numbers:
                example = {
                    "image": draw(number),
                    "path": f"{split}/{number}.png",
                    "identity": 10 + number % 5,
                    "label": number % 5 if split == "train" else -1,
                    "camera": 1 + number % 2,
                    "attributes": [number % 3 - 1, number % 4],
                }
                writer.write(records.encode_example(**example | (changes if number == 3 else {})))
        shards.append({"file": file, "examples": len(numbers), "sha256": ""})
    return {"examples": examples, "identities": 5, "junk": 0, "distractors": 0, "shards": shards}
