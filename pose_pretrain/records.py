"""Pose examples: encoding and parsing of an image, its labelled people, and the mask of unlabelled people."""

import cv2
import numpy as np
import tensorflow as tf


def encode_example(
    image: bytes,
    image_id: int,
    height: int,
    width: int,
    keypoints: np.ndarray,
    boxes: np.ndarray,
    areas: np.ndarray,
    ignore_mask: np.ndarray | None,
) -> bytes:
    """Serializes one image and its labelled people as a tf.train.Example; the same input gives the same bytes.

    Args:
        image: Content of the image file (JPEG or PNG), not re-encoded.
        image_id: COCO's id of the image.
        height, width: Size of the image in pixels.
        keypoints: float32 [people, 17, 3] in COCO's order: x, y in pixels, visibility 0, 1 or 2.
        boxes: float32 [people, 4], x, y, width, height in pixels.
        areas: float32 [people], area of each person's mask in square pixels, for OKS.
        ignore_mask: bool or uint8 [height, width], 1 on people without keypoint labels, where W(p) of equation 3 is
            0; None without such people.
    """
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                "image": _bytes_feature(image),
                "image_id": _int_feature(image_id),
                "height": _int_feature(height),
                "width": _int_feature(width),
                "keypoints": _float_feature(np.asarray(keypoints).reshape(-1, 17, 3)),
                "boxes": _float_feature(np.asarray(boxes).reshape(-1, 4)),
                "areas": _float_feature(np.asarray(areas)),
                "ignore_mask": _bytes_feature(b"" if ignore_mask is None else _png(ignore_mask)),
            }
        )
    ).SerializeToString(deterministic=True)


def parse_example(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses the result of encode_example with TensorFlow ops.

    Args:
        serialized: string scalar.

    Returns:
        image: string scalar, image_id, height, width: int64 scalars, keypoints: float32 [people, 17, 3],
        boxes: float32 [people, 4], areas: float32 [people], ignore_mask: string scalar (PNG, or empty).
    """
    floats = tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True)
    example = tf.io.parse_single_example(
        serialized,
        {
            "image": tf.io.FixedLenFeature([], tf.string),
            "image_id": tf.io.FixedLenFeature([], tf.int64),
            "height": tf.io.FixedLenFeature([], tf.int64),
            "width": tf.io.FixedLenFeature([], tf.int64),
            "keypoints": floats,
            "boxes": floats,
            "areas": floats,
            "ignore_mask": tf.io.FixedLenFeature([], tf.string),
        },
    )
    example["keypoints"] = tf.reshape(example["keypoints"], [-1, 17, 3])
    example["boxes"] = tf.reshape(example["boxes"], [-1, 4])
    return example


def decode_ignore_mask(example: dict[str, tf.Tensor]) -> tf.Tensor:
    """Decodes the ignore mask of a parsed example: float32 [height, width, 1], 1 where W(p) is 0."""

    def stored():
        return tf.cast(tf.io.decode_png(example["ignore_mask"], channels=1) > 0, tf.float32)

    def empty():
        return tf.zeros([example["height"], example["width"], 1])

    return tf.cond(tf.strings.length(example["ignore_mask"]) > 0, stored, empty)


def _png(mask: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.asarray(mask, bool).astype(np.uint8) * 255)[1].tobytes()


def _bytes_feature(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int_feature(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def _float_feature(values: np.ndarray) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=np.asarray(values, np.float32).ravel()))
