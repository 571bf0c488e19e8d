"""A split in memory: labels, image files and batches of it, and errors that name the damaged file or label."""

import numpy as np
import pytest
import tensorflow as tf

from lrdnn_base.errors import InputError
from lrdnn_tf.data.split import read_split


def test_evaluation_is_in_record_order(make_dataset):
    batches = list(read_split(make_dataset(18), "query").batches(32, 16, batch_size=4).as_numpy_iterator())
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 2]
    images = np.concatenate(batches)
    assert images.shape == (18, 32, 16, 3) and images.dtype == np.float32
    expected = np.broadcast_to(4.0 * np.arange(18)[:, None, None, None], images.shape)
    np.testing.assert_allclose(images, expected, atol=1e-4)


def test_labels_are_in_record_order(make_dataset):
    split = read_split(make_dataset(18), "query")
    table = split.labels
    assert (split.name, len(split), split.tasks) == ("query", 18, ("hat", "age"))
    number = np.arange(18)
    assert table.columns.tolist() == ["path", "identity", "label", "camera", "hat", "age"]
    assert table.path.tolist() == [f"query/{i}.png" for i in number]
    np.testing.assert_array_equal(table.identity, 10 + number % 5)
    np.testing.assert_array_equal(table.camera, 1 + number % 2)
    np.testing.assert_array_equal(table.hat, number % 3 - 1)
    assert (table.label == -1).all()
    assert all(dtype == np.int64 for dtype in table.dtypes[1:])


def test_original_bytes_by_index(make_dataset):
    split = read_split(make_dataset(18), "query")
    everything = split.image_files(range(18))
    assert len(set(everything)) == 18 and all(image.startswith(b"\x89PNG") for image in everything)
    assert split.image_files([17, 3, 3]) == [everything[17], everything[3], everything[3]]
    assert split.image_files([]) == []


def _flip_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def _cut_whole_record(path):
    """TensorFlow reports no error for a file that ends between two records."""
    content = path.read_bytes()
    first = 16 + int.from_bytes(content[:8], "little")
    path.write_bytes(content[:first])


def _append_other_record(path):
    content = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in [*content[:-1], b"no example"]:
            writer.write(record)


@pytest.mark.parametrize(
    "damage, words",
    [
        (_flip_bit, "record 3 is damaged"),
        (_cut, "record 6 is damaged"),
        (_cut_whole_record, "1 records, but dataset.json states 7"),
        (_append_other_record, "record 6 is damaged"),
        (lambda path: path.unlink(), "missing"),
    ],
)
def test_damaged_shard_is_named(make_dataset, damage, words):
    dataset = make_dataset(20)
    path = dataset.path / "train-7.tfrecord"
    damage(path)
    with pytest.raises(InputError, match=words) as error:
        read_split(dataset, "train")
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"label": 5}, "label is 5, not in 0..4"),
        ({"label": -1}, "label is -1, not in 0..4"),
        ({"attributes": [0, 4]}, "age is 4, not in -1..3"),
        ({"attributes": [-2, 0]}, "hat is -2, not in -1..1"),
    ],
)
def test_label_out_of_range_is_named(make_dataset, changes, words):
    with pytest.raises(InputError, match=rf"record 3 \(train/3.png\): {words}"):
        read_split(make_dataset(20, **changes), "train")


def test_missing_split_is_named(make_dataset):
    with pytest.raises(InputError, match="no split 'gallery', only train, query"):
        read_split(make_dataset(5), "gallery")


def test_empty_split_is_named(make_dataset):
    with pytest.raises(InputError, match="'train' is empty"):
        read_split(make_dataset(0), "train")
