"""Sources with list files, other labels or no labels; the flags of the converters."""

import os
import subprocess
import sys

import pytest

from data_prep.crops import Crop
from data_prep.source import Source, convert_source
from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import AttributeTask
from lrdnn_tf.data.dataset import read_dataset
from lrdnn_tf.data.split import read_split

LISTS = {
    "train": "a/1.jpg 4 1\na/2.jpg 9 2\n",
    "query": "a/3.jpg 5 1\n",
    "gallery": "a/4.jpg 5 2\na/5.jpg -1 2\n",
}


def _read_lists(raw_dir):
    """One list file per split, each line with a path, an identity and a camera."""
    crops = {}
    for split in LISTS:
        lines = [line.split() for line in (raw_dir / f"list_{split}.txt").read_text().splitlines()]
        crops[split] = [Crop(path, int(identity), int(camera)) for path, identity, camera in lines]
    return crops


@pytest.fixture
def raw_dir(tmp_path, jpeg):
    (tmp_path / "raw" / "a").mkdir(parents=True)
    for number in range(1, 6):
        (tmp_path / "raw" / "a" / f"{number}.jpg").write_bytes(jpeg(number))
    for split, lines in LISTS.items():
        (tmp_path / "raw" / f"list_{split}.txt").write_text(lines)
    return tmp_path / "raw"


def test_list_files_without_labels(raw_dir, tmp_path, caplog):
    convert_source(Source("listed", _read_lists), raw_dir, tmp_path / "out", shards=1)
    dataset = read_dataset(tmp_path / "out")
    assert dataset.name == "listed" and dataset.attributes == () and dataset.identities == (4, 9)
    assert {name: split.examples for name, split in dataset.splits.items()} == {"train": 2, "query": 1, "gallery": 1}
    assert read_split(dataset, "train").labels.path.tolist() == ["a/1.jpg", "a/2.jpg"]
    assert read_split(dataset, "query").image_files([0]) == [(raw_dir / "a" / "3.jpg").read_bytes()]
    assert caplog.text == ""  # nothing about labels or counts that were never published


def test_labels_of_any_format(raw_dir, tmp_path):
    tasks = (AttributeTask("hat", ("no", "yes")),)
    (raw_dir / "hats.txt").write_text("train 4 1\ntest 5 0\n")

    def read_hats(path):
        labels = {"train": {}, "test": {}}
        for split, identity, hat in (line.split() for line in path.read_text().splitlines()):
            labels[split][int(identity)] = (int(hat),)
        return labels

    source = Source("listed", _read_lists, tasks, "hats.txt", read_hats)
    convert_source(source, raw_dir, tmp_path / "out")
    dataset = read_dataset(tmp_path / "out")
    assert dataset.attributes == tasks
    assert read_split(dataset, "train").labels.hat.tolist() == [1, -1] and read_split(
        dataset, "gallery"
    ).labels.hat.tolist() == [0]


def test_labels_for_a_dataset_without_them_are_refused(raw_dir, tmp_path):
    with pytest.raises(InputError, match="listed has no attribute labels: leave out --attributes"):
        convert_source(Source("listed", _read_lists), raw_dir, tmp_path / "out", attributes=raw_dir / "hats.mat")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "module, flags",
    [
        ("data_prep.market1501", ["raw_dir", "attributes", "out_dir", "name", "shards"]),
        ("data_prep.from_csv", ["csv", "images_dir", "out_dir", "name", "shards"]),
        ("data_prep.coco", ["raw_dir", "images", "annotations", "split", "out_dir", "name", "shards"]),
    ],
)
def test_help_lists_the_flags(module, flags):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", module, "--help"]
    page = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
    assert [flag for flag in flags if f"\n  --{flag}: " not in page] == []
