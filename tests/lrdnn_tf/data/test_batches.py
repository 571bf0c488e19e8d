"""Training batches: their content, and that they are a function of (seed, epoch)."""

import itertools

import cv2
import numpy as np
import pytest

from lrdnn_base.errors import InputError
from lrdnn_tf.data import batches as training
from lrdnn_tf.data.split import read_split

SIZE = {"height": 32, "width": 16}


def _take(dataset, count, **arguments):
    """The first batches as (images, labels) of NumPy arrays."""
    arguments = SIZE | {"batch_size": 4, "seed": 0} | arguments
    batches = training.training_batches(read_split(dataset, "train"), **arguments)
    return list(itertools.islice(batches.as_numpy_iterator(), count))


def _numbers(images):
    """Index of the example that each image shows: its colour is 4 * index, except in the black padding."""
    return np.rint(images.max(axis=(1, 2, 3)) / 4).astype(int)


def _epoch(batches):
    return np.concatenate([_numbers(images) for images, _ in batches])


def _assert_same(left, right):
    assert len(left) == len(right)
    for (left_images, left_labels), (right_images, right_labels) in zip(left, right, strict=True):
        np.testing.assert_array_equal(left_images, right_images)
        assert left_labels.keys() == right_labels.keys()
        for name, values in left_labels.items():
            np.testing.assert_array_equal(values, right_labels[name])


def test_shapes_and_types(make_dataset):
    ((images, labels),) = _take(make_dataset(20), 1)
    assert images.shape == (4, 32, 16, 3) and images.dtype == np.float32
    assert list(labels) == ["identity", "hat", "age"]
    assert all(values.shape == (4,) and values.dtype == np.int32 for values in labels.values())


def test_labels_stay_with_their_images(make_dataset):
    """Through shuffling, flips and crops, over several epochs."""
    for images, labels in _take(make_dataset(20), 15):
        numbers = _numbers(images)
        np.testing.assert_array_equal(labels["identity"], numbers % 5)
        np.testing.assert_array_equal(labels["hat"], numbers % 3 - 1)
        np.testing.assert_array_equal(labels["age"], numbers % 4)


def test_every_epoch_is_a_permutation(make_dataset):
    batches = _take(make_dataset(20), 15)
    epochs = [_epoch(batches[start : start + 5]) for start in (0, 5, 10)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(20))
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_shuffling_reaches_over_the_whole_split(make_dataset):
    """Not only within a buffer: over many epochs, the first example occurs in both halves."""
    batches = _take(make_dataset(20), 100)
    positions = [int(np.flatnonzero(_epoch(batches[start : start + 5]) == 0)[0]) for start in range(0, 100, 5)]
    assert min(positions) < 5 and max(positions) >= 15


def test_left_over_examples_change_from_epoch_to_epoch(make_dataset):
    """22 examples give 5 batches of 4; every example occurs within a few epochs."""
    batches = _take(make_dataset(22), 40)
    epochs = [_epoch(batches[start : start + 5]) for start in range(0, 40, 5)]
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert set(np.concatenate(epochs)) == set(range(22))


def test_same_seed_same_batches(make_dataset):
    dataset = make_dataset(20)
    _assert_same(_take(dataset, 12, seed=7), _take(dataset, 12, seed=7))
    first, other = _take(dataset, 5, seed=7), _take(dataset, 5, seed=8)
    assert _epoch(first).tolist() != _epoch(other).tolist()


@pytest.mark.parametrize("examples, first_epoch", [(20, 1), (20, 3), (22, 2)])
def test_a_resumed_run_sees_the_same_batches(make_dataset, examples, first_epoch):
    dataset = make_dataset(examples)
    uninterrupted = _take(dataset, 5 * (first_epoch + 2))
    _assert_same(_take(dataset, 10, first_epoch=first_epoch), uninterrupted[5 * first_epoch :])


def test_a_run_resumed_within_an_epoch_sees_the_same_batches(make_dataset):
    """An epoch of 20 images has 5 steps."""
    dataset = make_dataset(20)
    _assert_same(_take(dataset, 9, first_epoch=1, first_step=3), _take(dataset, 17)[8:])


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_each_batch(make_dataset, workers):
    dataset = make_dataset(20)
    parts = [_take(dataset, 7, first_step=2, part=(index, workers)) for index in range(workers)]
    joined = [
        (
            np.concatenate([images for images, _ in batch]),
            {name: np.concatenate([labels[name] for _, labels in batch]) for name in batch[0][1]},
        )
        for batch in zip(*parts, strict=True)
    ]
    _assert_same(joined, _take(dataset, 9)[2:])


def test_augmentation_differs_between_epochs_and_examples(make_dataset):
    """An image of height 32 is padded by 1 pixel: black borders are on different sides."""
    batches = _take(make_dataset(20), 50)
    borders = {tuple((image.sum(axis=(1, 2)) == 0)[[0, -1]]) for images, _ in batches for image in images[1:]}
    assert len(borders) >= 3


def test_cached_pixels_give_the_same_batches(make_dataset):
    dataset = make_dataset(20)
    _assert_same(_take(dataset, 12, cache_images=True), _take(dataset, 12))


def _photo(number, height=16, width=8):
    noise = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def test_images_of_one_size_are_resized_together_to_the_same_pixels(make_dataset, monkeypatch):
    dataset = make_dataset(20, draw=_photo)
    together = _take(dataset, 5)
    monkeypatch.setattr(training, "_shared_shape", lambda images: None)
    _assert_same(together, _take(dataset, 5))


def test_images_of_many_sizes_make_a_batch(make_dataset):
    dataset = make_dataset(20, draw=lambda number: _photo(number, height=10 + 3 * number, width=40 - number))
    images = np.concatenate([images for images, _ in _take(dataset, 5)])
    assert images.shape == (20, 32, 16, 3)
    assert len(np.unique(images.mean(axis=(1, 2, 3)))) == 20


@pytest.mark.parametrize(
    ("draw", "shape"),
    [
        (_photo, (16, 8, 3)),
        (lambda number: _photo(number, width=8 + number // 19), None),
        (lambda number: cv2.imencode(".png" if number else ".jpg", np.zeros((16, 8, 3)))[1].tobytes(), None),
    ],
)
def test_shape_is_shared_by_all_or_none(make_dataset, draw, shape):
    images = read_split(make_dataset(20, draw=draw), "train").images
    assert training._shared_shape(images) == shape


@pytest.mark.usefixtures("needs_addons")
def test_erasing_works_on_batches(make_dataset):
    """A part of every image is erased, at most the largest rectangle."""
    dataset = make_dataset(20, draw=_photo)
    plain, erased = _take(dataset, 5), _take(dataset, 5, random_erasing=1.0)
    for (before, _), (after, _) in zip(plain, erased, strict=True):
        changed = (before != after).any(axis=-1).mean(axis=(1, 2))
        assert ((changed > 0) & (changed < 0.5)).all()


def test_balanced_batches_hold_as_many_images_of_each_identity(make_dataset):
    batches = _take(make_dataset(23), 30, batch_size=6, images_per_identity=3)
    for images, labels in batches:
        identities, counts = np.unique(labels["identity"], return_counts=True)
        assert len(identities) == 2
        assert set(counts) == {3}
        np.testing.assert_array_equal(labels["identity"], _numbers(images) % 5)
        assert len(set(_numbers(images))) == 6  # every identity has at least four images, so none repeats
    assert set(_epoch(batches)) == set(range(23))


def test_identities_with_too_few_images_repeat_all_of_them():
    labels = np.array([0, 0, 0, 1, 2, 2])
    order = training.balanced_order(labels, batch_size=6, images_per_identity=3)
    for seed in range(5):
        for start in range(0, 6, 3):
            images = order(np.array([seed, 1]))[start : start + 3].numpy()
            identity = labels[images[0]]
            assert set(labels[images]) == {identity}
            assert len(set(images)) == min(3, np.count_nonzero(labels == identity))


@pytest.mark.usefixtures("needs_addons")
def test_balanced_batches_are_the_same_after_resuming(make_dataset):
    dataset = make_dataset(20)
    options = {"images_per_identity": 2, "random_erasing": 0.5}
    uninterrupted = _take(dataset, 15, **options)
    _assert_same(_take(dataset, 10, first_epoch=1, **options), uninterrupted[5:])


@pytest.mark.parametrize("images_per_identity", [3, 5])
def test_balanced_batches_that_cannot_be_filled(make_dataset, images_per_identity):
    with pytest.raises(InputError, match="must be a multiple"):
        _take(make_dataset(20), 1, batch_size=4, images_per_identity=images_per_identity)
    with pytest.raises(InputError, match="at most the 5 training identities"):
        _take(make_dataset(20), 1, batch_size=12, images_per_identity=2)


@pytest.mark.parametrize("batch_size", [0, -1, 21])
def test_batch_that_cannot_be_filled(make_dataset, batch_size):
    with pytest.raises(InputError, match=f"batch_size={batch_size}: .* 20 training images"):
        _take(make_dataset(20), 1, batch_size=batch_size)
