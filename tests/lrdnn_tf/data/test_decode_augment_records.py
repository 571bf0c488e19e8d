"""Decoding, augmentation and the record format."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from lrdnn_tf.data import augment, records
from lrdnn_tf.data.decode import decode_image


def _noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def _png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.mark.parametrize("height, width", [(128, 64), (300, 150), (300, 40), (100, 200), (256, 128), (1, 1)])
def test_decode_is_antialiased_bilinear(height, width):
    """Also for sizes that use the faster kernel."""
    pixels = _noise(height, width)
    expected = tf.image.resize(pixels[:, :, ::-1], (256, 128), method="bilinear", antialias=True)
    np.testing.assert_allclose(decode_image(tf.constant(_png(pixels)), 256, 128), expected, atol=1e-3)


def test_decode_keeps_an_image_of_the_right_size():
    pixels = _noise(32, 16)
    decoded = decode_image(tf.constant(_png(pixels)), 32, 16)
    assert decoded.dtype == tf.float32
    np.testing.assert_array_equal(decoded, pixels[:, :, ::-1].astype(np.float32))


def test_decode_converts_gray_images_to_rgb():
    pixels = _noise(32, 16, 1)
    np.testing.assert_array_equal(decode_image(tf.constant(_png(pixels)), 32, 16), np.repeat(pixels, 3, axis=2))


def test_decode_is_the_same_in_a_graph():
    image = tf.constant(_png(_noise(100, 50)))
    graph = tf.function(lambda content: decode_image(content, 64, 32))
    np.testing.assert_array_equal(graph(image), decode_image(image, 64, 32))
    assert graph.get_concrete_function(tf.TensorSpec([], tf.string)).output_shapes == (64, 32, 3)


def _reference_flip_and_crop(image, flip, row, column, padding):
    image = image[:, ::-1] if flip else image
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    return padded[row : row + image.shape[0], column : column + image.shape[1]]


@pytest.mark.parametrize("height, width, padding", [(256, 128, 10), (128, 64, 5), (64, 32, 2)])
def test_flip_and_crop_against_numpy(height, width, padding):
    image = _noise(height, width).astype(np.float32)
    for flip, row, column in [(0.0, 0.0, 0.0), (0.49, 0.999999, 0.5), (0.5, 0.3, 0.999999), (0.99, 0.5, 0.5)]:
        rows, columns = int(row * (2 * padding + 1)), int(column * (2 * padding + 1))
        expected = _reference_flip_and_crop(image, flip < 0.5, rows, columns, padding)
        draws = tf.constant([flip, row, column], tf.float32)
        np.testing.assert_array_equal(augment.flip_and_crop(tf.constant(image), draws), expected)


def test_flip_and_crop_can_leave_an_image_alone():
    image = tf.constant(_noise(256, 128).astype(np.float32))
    np.testing.assert_array_equal(augment.flip_and_crop(image, tf.constant([0.7, 0.5, 0.5])), image)


@pytest.mark.usefixtures("needs_addons")
def test_erasing_fills_one_rectangle_of_the_drawn_size():
    image = np.zeros((64, 32, 3), np.float32)
    draws = tf.constant([[0.0, 0.5, 0.5, 0.5, 0.5]])
    # Area 0.02 + 0.5 * 0.38 = 0.21 of 2048 pixels, aspect 1: a square of about 21 pixels around (32, 16).
    erased = augment.random_erase(tf.constant([image]), draws, 1.0)[0].numpy()
    expected = image.copy()
    expected[22:42, 6:26] = erased[32, 16]
    assert erased[32, 16].min() > 0
    np.testing.assert_array_equal(erased, expected)


@pytest.mark.usefixtures("needs_addons")
def test_erasing_happens_with_its_probability():
    images = tf.constant(_noise(64, 32)[np.newaxis].astype(np.float32))
    for draw, probability, erases in [(0.3, 0.5, True), (0.5, 0.5, False), (0.0, 0.0, False), (0.99, 1.0, True)]:
        erased = augment.random_erase(images, tf.constant([[draw, 0.5, 0.5, 0.5, 0.5]]), probability)
        assert bool(tf.reduce_any(erased != images)) == erases


EXAMPLE = {"image": b"\xff\x00", "path": "train/ä.jpg", "identity": 2, "label": 0, "camera": 3}


@pytest.mark.parametrize("attributes", [[], [1], [0, -1, 8]])
def test_record_is_read_as_written(attributes):
    serialized = records.encode_example(**EXAMPLE, attributes=attributes)
    parsed = records.parse_examples(tf.constant([serialized]), tasks=len(attributes))
    found = {name: value[0].numpy() for name, value in parsed.items()}
    assert found.pop("attributes").tolist() == attributes
    assert found == EXAMPLE | {"path": EXAMPLE["path"].encode()}


def test_records_are_parsed_by_the_batch():
    serialized = [records.encode_example(**EXAMPLE | {"identity": i}, attributes=[i, -1]) for i in range(5)]
    parsed = records.parse_examples(tf.constant(serialized), tasks=2)
    assert parsed["identity"].numpy().tolist() == list(range(5))
    assert parsed["attributes"].numpy().tolist() == [[i, -1] for i in range(5)]


def test_wrong_number_of_tasks_is_an_error():
    serialized = records.encode_example(**EXAMPLE, attributes=[1, 2])
    with pytest.raises(tf.errors.InvalidArgumentError):
        records.parse_examples(tf.constant([serialized]), tasks=3)
