"""The format of a re-identification example in a TFRecord file: writing and parsing."""

from collections.abc import Sequence

import tensorflow as tf


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _ints(values: Sequence[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def encode_example(image: bytes, path: str, identity: int, label: int, camera: int, attributes: Sequence[int]) -> bytes:
    """One crop as a serialized tf.train.Example; the same input gives the same bytes.

    Args:
        image: Original bytes of the image file.
        path: Path of the file, relative to the root of the raw dataset.
        identity: The dataset's own number of the person; 0 for a distractor.
        label: Class index 0..identities-1 in the training split, -1 elsewhere.
        camera: Counted from 1, UNKNOWN_CAMERA where it is unknown.
        attributes: One class index per attribute task of the dataset; -1 for unknown.
    """
    feature = {
        "image": _bytes(image),
        "path": _bytes(path.encode()),
        "identity": _ints([identity]),
        "label": _ints([label]),
        "camera": _ints([camera]),
        "attributes": _ints(attributes),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def parse_examples(serialized: tf.Tensor, tasks: int) -> dict[str, tf.Tensor]:
    """The inverse of encode_example for a batch.

    Args:
        serialized: string [n].
        tasks: Number of attribute tasks of the dataset.

    Returns:
        image and path, string [n]; identity, label and camera, int64 [n]; attributes, int64 [n, tasks].
    """
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "path": tf.io.FixedLenFeature([], tf.string),
        "identity": tf.io.FixedLenFeature([], tf.int64),
        "label": tf.io.FixedLenFeature([], tf.int64),
        "camera": tf.io.FixedLenFeature([], tf.int64),
        "attributes": tf.io.FixedLenFeature([tasks], tf.int64),
    }
    return tf.io.parse_example(serialized, features)
