"""Every kind of damage to a converted dataset is found and reported."""

import hashlib
import itertools
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from data_prep import coco, market1501
from data_prep.verify import contact_sheet, verify
from lrdnn_base.errors import InputError
from lrdnn_tf.data import records


@pytest.fixture
def converted(crop_folder, write_market_mat, tmp_path):
    """A re-identification dataset with attributes, in one shard per split."""
    raw_dir = crop_folder()
    write_market_mat(
        raw_dir / "market_attribute.mat", {"train": {2: {"age": 2}, 7: {"hat": 2}}, "test": {1: {}, 3: {}}}
    )
    market1501.convert(raw_dir, tmp_path / "out", name="small", shards=1)
    return tmp_path / "out"


def _rewrite(path, change):
    """Overwrites a shard with changed records, and its hash in dataset.json."""
    content = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in change(content):
            writer.write(record)
    description = path.parent / "dataset.json"
    text = description.read_text()
    for shard in json.loads(text)["splits"]["train"]["shards"]:
        text = text.replace(shard["sha256"], hashlib.sha256(path.read_bytes()).hexdigest())
    description.write_text(text)


def _example(**changes):
    example = {"image": b"", "path": "x.jpg", "identity": 7, "label": 1, "camera": 3, "attributes": [0] * 12} | changes
    return records.encode_example(**example)


def test_good_dataset(converted):
    found = verify(converted)
    assert found.problems == []
    assert found.counts.loc["gallery"].to_dict() == {"examples": 3, "identities": 2, "distractors": 1}
    assert found.classes.train["age", "teenager"] == 2 and found.classes.train["hat", "yes"] == 1
    assert found.classes.gallery["hat", "unknown"] == 1
    assert [record.caption for record in found.samples["train"]] == ["2 c1", "2 c2", "7 c3"]


def test_contact_sheet_shows_every_split(converted):
    sheet = contact_sheet(verify(converted).samples, height=64)
    assert sheet.shape == (3 * (18 + 64 + 18), 3 * 32, 3)
    assert all(sheet[100 * split + 18 : 100 * split + 82, :64].std() > 10 for split in range(3))


def _flip_bit(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda path: path.unlink(), ["train-00000-of-00001.tfrecord: missing", "train: 0 examples"]),
        (_flip_bit, ["SHA-256", "tfrecord: record 2: damaged", "2 records, dataset.json says 3"]),
        (_cut, ["SHA-256", "tfrecord: record 2: damaged", "train: 1 identities, dataset.json says 2"]),
        (lambda path: path.write_bytes(b""), ["SHA-256", "0 records, dataset.json says 3", "train: 0 examples"]),
        (lambda path: _rewrite(path, lambda content: content[:2]), ["2 records, dataset.json says 3"]),
        (lambda path: _rewrite(path, lambda content: [*content[:2], b"?"]), ["record 2: not a re-id"]),
        (lambda path: _rewrite(path, lambda content: [*content[:2], _example()]), ["record 2: x.jpg", "not decode"]),
        (lambda path: _rewrite(path, lambda content: [*content[:2], _example(label=0)]), ["label 0 is not that of"]),
        (
            lambda path: _rewrite(path, lambda content: [*content[:2], _example(identity=8, label=-1)]),
            ["label -1 is not that of identity 8"],
        ),
        (lambda path: _rewrite(path, lambda content: [*content[:2], _example(camera=5)]), ["camera 5"]),
        (
            lambda path: _rewrite(path, lambda content: [*content[:2], _example(attributes=[2] + [0] * 11)]),
            ["gender has no class 2"],
        ),
    ],
)
def test_damage_is_reported(converted, damage, words):
    damage(converted / "train-00000-of-00001.tfrecord")
    found = verify(converted)
    for word in words:
        assert any(word in problem for problem in found.problems), found.problems
    assert found.counts.loc["query", "examples"] == 2


def test_every_flipped_bit_is_found_in_its_record(converted):
    """The bit may be in the length of a record, in a checksum or in the image."""
    path = converted / "train-00000-of-00001.tfrecord"
    good = path.read_bytes()
    # A record is 8 bytes of length, 4 of checksum, the content, 4 of checksum.
    starts = [0]
    while starts[-1] < len(good):
        starts.append(starts[-1] + 16 + int.from_bytes(good[starts[-1] : starts[-1] + 8], "little"))
    rng = np.random.default_rng(0)
    for record, (start, end) in enumerate(itertools.pairwise(starts)):
        for position in (start, start + 8, end - 1, *rng.integers(start, end, 3)):
            content = bytearray(good)
            content[position] ^= 1 << rng.integers(8)
            path.write_bytes(content)
            assert (
                f"{path}: record {record}: damaged; it and the records after it cannot be read"
                in verify(converted).problems
            )
    assert record == 2
    path.write_bytes(good)
    assert verify(converted).problems == []


@pytest.mark.parametrize("missing", ["splits", "shards", "sha256"])
def test_incomplete_description_is_reported(converted, missing):
    description = converted / "dataset.json"
    description.write_text(description.read_text().replace(f'"{missing}"', '"renamed"').replace('"reid"', '"pose"'))
    with pytest.raises(InputError, match=r"dataset\.json: incomplete"):
        verify(converted)


def test_real_pose_dataset(shared_data, tmp_path):
    folder = shared_data / "coco_val2017_sample"
    coco.convert({"val": (folder, folder / "person_keypoints.json")}, tmp_path / "out", shards=2)
    found = verify(tmp_path / "out")
    assert found.problems == []
    assert found.counts.loc["val"].to_dict() == {"examples": 4, "people": 12}
    assert found.classes.empty

    plain = contact_sheet({"val": [record._replace(keypoints=None) for record in found.samples["val"]]})
    drawn = contact_sheet(found.samples)
    assert cv2.absdiff(plain, drawn).any(axis=2).sum() > 12 * 13 * 5  # keypoints are visible


def test_damaged_pose_dataset(shared_data, tmp_path):
    folder = shared_data / "coco_val2017_sample"
    coco.convert({"train": (folder, folder / "person_keypoints.json")}, tmp_path / "out", shards=1)
    _rewrite(tmp_path / "out" / "train-00000-of-00001.tfrecord", lambda content: [b"?", _example(), *content[2:]])
    found = verify(tmp_path / "out")
    assert [problem for problem in found.problems if "not a pose example" in problem][1:] != []
    assert any("people, dataset.json says 12" in problem for problem in found.problems)


def test_folder_that_is_not_a_dataset(tmp_path):
    with pytest.raises(InputError, match=r"no dataset\.json"):
        verify(tmp_path)


@pytest.mark.slow
def test_command_line_tools_on_a_pose_dataset(shared_data, tmp_path):
    """Converts and verifies with the command-line tools."""
    folder, out_dir = shared_data / "coco_val2017_sample", tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def run(*arguments):
        return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, env=environment)

    files = [f"--images={folder}", f"--annotations={folder / 'person_keypoints.json'}"]
    converted = run("data_prep.coco", *files, "--split=val", f"--out_dir={out_dir}")
    assert converted.returncode == 0, converted.stderr
    assert converted.stdout.splitlines()[1].split() == ["val", "4", "12"]

    verified = run("data_prep.verify", str(out_dir))
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.splitlines()[-1] == "no problems"
    assert cv2.imread(str(out_dir / "contact_sheet.png")).shape[1] > 500

    _flip_bit(out_dir / "val-00000-of-00004.tfrecord")
    _cut(out_dir / "val-00001-of-00004.tfrecord")
    (out_dir / "val-00002-of-00004.tfrecord").unlink()
    damaged = run("data_prep.verify", str(out_dir))
    assert damaged.returncode == 1 and "Traceback" not in damaged.stderr
    for words in ("00000-of-00004.tfrecord: record 0: damaged", "00001-of-00004.tfrecord: record 0: damaged"):
        assert words in damaged.stderr
    assert "val-00002-of-00004.tfrecord: missing" in damaged.stderr
    assert damaged.stderr.splitlines()[-1].startswith(f"error: {out_dir}: ")
