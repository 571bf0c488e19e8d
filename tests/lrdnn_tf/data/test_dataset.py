"""Reading of dataset.json, valid and invalid."""

import json

import pytest

from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import AttributeTask
from lrdnn_tf.data.dataset import read_dataset, shard_paths


def test_dataset_is_read_as_written(make_dataset):
    dataset = make_dataset(20)
    assert dataset.name == "small"
    assert dataset.attributes[0] == AttributeTask("hat", ("no", "yes"))
    assert dataset.identities == (10, 11, 12, 13, 14) and dataset.cameras == (1, 2)
    assert dataset.splits["train"].examples == 20 and dataset.splits["train"].shards[2].examples == 6
    assert [path.name for path in shard_paths(dataset, "train")] == [f"train-{n}.tfrecord" for n in (0, 7, 14)]
    assert all(path.is_file() for path in shard_paths(dataset, "query"))


@pytest.mark.parametrize("path", ["", "missing"])
def test_folder_without_description_is_named(tmp_path, path):
    with pytest.raises(InputError, match=r"not a converted dataset.*python -m data_prep"):
        read_dataset(tmp_path / path)


@pytest.mark.parametrize(
    "content, words",
    [
        ("{", "convert the dataset again"),
        ("[]", "not a JSON object"),
        ('{"format_version": 2, "kind": "reid"}', "not of format version 1"),
        ('{"format_version": 1, "kind": "pose"}', "kind 'pose', not 'reid'"),
        ('{"format_version": 1, "kind": "reid"}', "incomplete"),
    ],
)
def test_invalid_description_is_named(tmp_path, content, words):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=words) as error:
        read_dataset(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["name", "attributes", "identities", "cameras", "splits"])
def test_missing_entry_is_named(make_dataset, key):
    path = make_dataset(5).path / "dataset.json"
    description = json.loads(path.read_text())
    del description[key]
    path.write_text(json.dumps(description))
    with pytest.raises(InputError, match=f"incomplete .*{key}"):
        read_dataset(path.parent)


def test_missing_shard_is_named(make_dataset):
    dataset = make_dataset(20)
    (dataset.path / "query-7.tfrecord").unlink()
    with pytest.raises(InputError, match=r"query-7.tfrecord: missing"):
        shard_paths(dataset, "query")
