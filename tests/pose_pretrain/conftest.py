"""Small pose datasets in the converter's format."""

import json

import cv2
import numpy as np
import pytest
import tensorflow as tf

from pose_pretrain.pipeline import read_pose_dataset
from pose_pretrain.records import encode_example


def random_keypoints(rng, people, height, width):
    """Random COCO keypoints [people, 17, 3] in the image, of which a fifth are unlabelled."""
    xy = rng.uniform(0, [width - 1, height - 1], (people, 17, 2))
    v = rng.choice([0, 1, 2, 2, 2], (people, 17, 1))
    return np.concatenate([xy * (v > 0), v], axis=-1).astype(np.float32)


def random_example(rng, image_id, height, width, people, masked=False):
    image = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    keypoints = random_keypoints(rng, people, height, width)
    box = np.array([0, 0, width, height], np.float32)
    mask = np.zeros((height, width), bool)
    mask[: height // 2] = True
    return encode_example(
        cv2.imencode(".png", image)[1].tobytes(),
        image_id,
        height,
        width,
        keypoints,
        np.tile(box, (people, 1)),
        np.full(people, height * width / 3, np.float32),
        mask if masked else None,
    )


def write_dataset(folder, splits):
    """Writes {"train": [serialized, ...], ...} in two shards each, and dataset.json."""
    described = {}
    for split, examples in splits.items():
        shards = []
        for number, part in enumerate((examples[::2], examples[1::2])):
            name = f"{split}-{number:05d}-of-00002.tfrecord"
            with tf.io.TFRecordWriter(str(folder / name)) as writer:
                for example in part:
                    writer.write(example)
            shards.append({"file": name, "examples": len(part), "sha256": "-"})
        described[split] = {"examples": len(examples), "people": len(examples), "shards": shards}
    stored = {"format_version": 1, "kind": "pose", "name": "test", "splits": described, "command": "-"}
    (folder / "dataset.json").write_text(json.dumps(stored))
    return read_pose_dataset(folder, needed=list(splits))


@pytest.fixture(scope="session")
def pose_dataset(tmp_path_factory):
    """11 training images of one to three people, some with an ignore mask, and 4 validation images."""
    rng = np.random.default_rng(0)

    def examples(first_id, count):
        sizes = rng.integers(40, 120, (count, 2))
        people = rng.integers(1, 4, count)
        return [
            random_example(rng, first_id + i, int(h), int(w), int(p), masked=i % 3 == 0)
            for i, ((h, w), p) in enumerate(zip(sizes, people, strict=True))
        ]

    return write_dataset(tmp_path_factory.mktemp("pose"), {"train": examples(1, 11), "val": examples(100, 4)})


@pytest.fixture
def make_example():
    return random_example


@pytest.fixture
def make_dataset():
    return write_dataset


@pytest.fixture
def make_keypoints():
    return random_keypoints
