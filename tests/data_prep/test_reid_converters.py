"""Conversion of Market-1501 and DukeMTMC-reID."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from data_prep import dukemtmc, market1501
from data_prep.verify import verify
from lrdnn_base.errors import InputError
from lrdnn_tf.data.dataset import read_dataset
from lrdnn_tf.data.split import read_split


def _convert(raw_dir, out_dir, **arguments):
    market1501.convert(raw_dir, out_dir, name="small", **arguments)
    return read_dataset(out_dir)


def test_market_counts_and_records(crop_folder, tmp_path):
    raw_dir = crop_folder()
    dataset = _convert(raw_dir, tmp_path / "out", shards=2)
    assert dataset.name == "small" and dataset.attributes == ()
    assert dataset.identities == (2, 7) and dataset.cameras == (1, 2, 3, 6)
    counts = {
        name: (split.examples, split.identities, split.junk, split.distractors)
        for name, split in dataset.splits.items()
    }
    assert counts == {"train": (3, 2, 0, 0), "query": (2, 2, 0, 0), "gallery": (3, 2, 2, 1)}

    train = read_split(dataset, "train").labels
    assert train.label.tolist() == [0, 0, 1] and train.camera.tolist() == [1, 2, 3]
    gallery = read_split(dataset, "gallery").labels
    assert gallery.identity.tolist() == [0, 1, 3] and gallery.label.tolist() == [-1, -1, -1]
    assert gallery.path.tolist()[0] == "bounding_box_test/0000_c1s1_000151_01.jpg"


def test_image_bytes_are_kept(crop_folder, tmp_path):
    raw_dir = crop_folder()
    dataset = _convert(raw_dir, tmp_path / "out")
    for split in dataset.splits:
        paths = read_split(dataset, split).labels.path
        images = read_split(dataset, split).image_files(range(len(paths)))
        assert images == [(raw_dir / path).read_bytes() for path in paths]


def test_conversion_is_deterministic(crop_folder, tmp_path):
    raw_dir = crop_folder()
    _convert(raw_dir, tmp_path / "a")
    _convert(raw_dir, tmp_path / "b")
    shards = [path.name for path in (tmp_path / "a").glob("*.tfrecord")]
    assert len(shards) == 12
    for shard in shards:
        assert (tmp_path / "a" / shard).read_bytes() == (tmp_path / "b" / shard).read_bytes()
    first, second = ((tmp_path / name / "dataset.json").read_text() for name in "ab")
    assert first.replace("out_dir=" + str(tmp_path / "a"), "out_dir=" + str(tmp_path / "b")) == second


def test_description_is_complete(crop_folder, write_market_mat, tmp_path):
    raw_dir, out_dir = crop_folder(), tmp_path / "out"
    write_market_mat(raw_dir / "market_attribute.mat", {"train": {2: {}, 7: {}}, "test": {1: {}, 3: {}}})
    _convert(raw_dir, out_dir, shards=2)
    description = json.loads((out_dir / "dataset.json").read_text())
    splits = description.pop("splits")
    assert description == {
        "format_version": 1,
        "kind": "reid",
        "name": "small",
        "attributes": [{"name": task.name, "classes": list(task.classes)} for task in market1501.TASKS],
        "identities": [2, 7],
        "identity_names": {},
        "cameras": [1, 2, 3, 6],
        "skipped": [],
        "command": f"python -m data_prep.market1501 --raw_dir={raw_dir} --out_dir={out_dir} --name=small --shards=2",
    }
    files = [shard for split in splits.values() for shard in split["shards"]]
    assert {shard["file"] for shard in files} == {path.name for path in out_dir.glob("*.tfrecord")}
    for shard in files:
        content = (out_dir / shard["file"]).read_bytes()
        assert shard["sha256"] == hashlib.sha256(content).hexdigest()
        assert shard["examples"] == sum(1 for _ in tf.data.TFRecordDataset(str(out_dir / shard["file"])))


@pytest.mark.parametrize("location", ["market_attribute.mat", "attribute/market_attribute.mat", "given"])
def test_attributes_are_found_and_joined(crop_folder, write_market_mat, tmp_path, location, caplog):
    raw_dir = crop_folder()
    path = tmp_path / "labels.mat" if location == "given" else raw_dir / location
    path.parent.mkdir(exist_ok=True)
    labels = {"train": {7: {"age": 4, "upred": 2}, 999: {}}, "test": {1: {"gender": 2}, 3: {"hat": 2}}}
    write_market_mat(path, labels)
    dataset = _convert(raw_dir, tmp_path / "out", attributes=path if location == "given" else None)
    assert dataset.attributes == market1501.TASKS

    train = read_split(dataset, "train").labels
    assert train.age.tolist() == [-1, -1, 3] and train.upper_colour.tolist() == [-1, -1, 2]
    assert read_split(dataset, "query").labels.gender.tolist() == [1, 0]
    assert read_split(dataset, "gallery").labels.hat.tolist() == [-1, 0, 1]  # the distractor has none
    assert "train: 1 identities without a row of attributes, all unknown: 2" in caplog.text
    assert "train: 1 identities with a row of attributes and no image: 999" in caplog.text


def test_missing_attributes_are_logged(crop_folder, tmp_path, caplog):
    _convert(crop_folder(), tmp_path / "out")
    assert "no market_attribute.mat" in caplog.text


def test_real_market_labels_join(crop_folder, shared_data, tmp_path):
    """Identity 2, the first row of the published training labels: a man in red and blue."""
    dataset = _convert(crop_folder(), tmp_path / "out", attributes=shared_data / "attributes" / "market_attribute.mat")
    row = read_split(dataset, "train").labels.iloc[0]
    named = {task.name: task.classes[row[task.name]] for task in dataset.attributes if row[task.name] >= 0}
    assert row.identity == 2
    assert named["gender"] == "male" and named["hair"] == "short" and named["age"] == "teenager"
    assert named["upper_colour"] == "red" and named["lower_colour"] == "blue"


def test_duke(crop_folder, shared_data, tmp_path):
    raw_dir = crop_folder(
        {
            "bounding_box_train": ["0001_c2_f0046182.jpg", "0008_c8_f0000001.jpg"],
            "query": ["0005_c2_f0046985.jpg"],
            "bounding_box_test": ["0005_c5_f0051341.jpg", "0002_c1_f0044158.jpg"],
        }
    )
    out_dir = tmp_path / "out"
    dukemtmc.convert(raw_dir, out_dir, attributes=shared_data / "attributes" / "duke_attribute.mat", name="small")
    dataset = read_dataset(out_dir)
    assert dataset.attributes == dukemtmc.TASKS and dataset.identities == (1, 8)
    assert read_split(dataset, "train").labels.camera.tolist() == [2, 8]
    assert read_split(dataset, "train").labels.backpack.tolist() == [1, 1]
    assert read_split(dataset, "gallery").labels.identity.tolist() == [2, 5]


def test_other_files_are_ignored_with_a_warning(crop_folder, tmp_path, caplog):
    raw_dir = crop_folder()
    (raw_dir / "query" / "Thumbs.db").write_bytes(b"x")
    dataset = _convert(raw_dir, tmp_path / "out")
    assert dataset.splits["query"].examples == 2
    assert "1 other files: Thumbs.db" in caplog.text


def test_junk_in_train_is_left_out_with_a_warning(crop_folder, jpeg, tmp_path, caplog):
    raw_dir = crop_folder()
    for name in ("-1_c1s1_000001_00.jpg", "0000_c1s1_000001_00.jpg"):
        (raw_dir / "bounding_box_train" / name).write_bytes(jpeg(5))
    dataset = _convert(raw_dir, tmp_path / "out")
    assert dataset.splits["train"].examples == 3 and dataset.identities == (2, 7)
    assert dataset.splits["train"].junk == 1 and dataset.splits["train"].distractors == 0
    assert "train: left out 2 images" in caplog.text


def test_published_counts_are_compared_by_name_only(crop_folder, tmp_path, caplog):
    raw_dir = crop_folder()
    _convert(raw_dir, tmp_path / "small")
    assert "published are" not in caplog.text
    market1501.convert(raw_dir, tmp_path / "real")
    assert "train: 3 examples, published are 12936 (-12933)" in caplog.text
    assert "gallery: 2 junk, published are 3819 (-3817)" in caplog.text


def test_bad_images_stop_the_conversion(crop_folder, tmp_path):
    raw_dir = crop_folder()
    truncated = raw_dir / "bounding_box_train" / "0002_c2s1_000501_01.jpg"
    truncated.write_bytes(truncated.read_bytes()[:-100])
    empty = raw_dir / "bounding_box_test" / "0003_c6s4_000301_00.jpg"
    empty.write_bytes(b"")
    with pytest.raises(InputError, match="2 bad images") as error:
        _convert(raw_dir, tmp_path / "out")
    assert str(truncated) in str(error.value) and str(empty) in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]

    dataset = _convert(raw_dir, tmp_path / "out", skip_bad_images=True)
    assert dataset.splits["train"].examples == 2 and dataset.splits["gallery"].examples == 2
    skipped = json.loads((tmp_path / "out" / "dataset.json").read_text())["skipped"]
    assert len(skipped) == 2 and str(truncated) in skipped[0] and str(empty) in skipped[1]


def test_more_bad_images_than_a_message_lists_are_all_logged(crop_folder, tmp_path, caplog):
    raw_dir = crop_folder()
    for path in (bad := sorted(raw_dir.glob("*/*c[12]*.jpg"))):
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="6 bad images"):
        _convert(raw_dir, tmp_path / "out")
    listed = [f"bad images: {path} " for path in bad if "-1_" not in path.name]  # junk is not read
    assert len(listed) == 6 and all(words in caplog.text for words in listed)


def test_identity_without_a_good_image_has_no_label(crop_folder, tmp_path, caplog):
    raw_dir = crop_folder()
    for path in (raw_dir / "bounding_box_train").glob("0002_*"):
        path.write_bytes(b"")
    dataset = _convert(raw_dir, tmp_path / "out", skip_bad_images=True)
    assert dataset.identities == (7,)
    train = read_split(dataset, "train").labels
    assert train.identity.tolist() == [7] and train.label.tolist() == [0]
    assert "1 identities without a single good image: 2" in caplog.text
    assert len(json.loads((tmp_path / "out" / "dataset.json").read_text())["skipped"]) == 2
    assert verify(tmp_path / "out").problems == []


def test_no_identity_with_a_good_image(crop_folder, tmp_path):
    raw_dir = crop_folder()
    for path in (raw_dir / "bounding_box_train").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no good image of a person in train"):
        _convert(raw_dir, tmp_path / "out", skip_bad_images=True)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_failure_in_the_middle_leaves_nothing(crop_folder, tmp_path, monkeypatch):
    """The second shard cannot be opened."""
    opened = []

    def open_once(path):
        opened.append(path)
        if len(opened) == 2:
            raise RuntimeError("power cut")
        return writer(path)

    writer = tf.io.TFRecordWriter
    monkeypatch.setattr(tf.io, "TFRecordWriter", open_once)
    raw_dir = crop_folder()
    with pytest.raises(RuntimeError, match="power cut"):
        _convert(raw_dir, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def _no_folder(raw_dir):
    os.rename(raw_dir / "query", raw_dir / "queries")


def _no_image(raw_dir):
    for path in (raw_dir / "query").iterdir():
        path.unlink()


def _unparsed_name(raw_dir):
    os.rename(raw_dir / "query" / "0001_c1s1_001051_00.jpg", raw_dir / "query" / "person_one.jpg")


def _another_layout(raw_dir):
    for path in (raw_dir / "query").iterdir():
        path.rename(path.with_name(path.name.replace("_c", "-cam")))


def _camera_zero(raw_dir):
    os.rename(raw_dir / "query" / "0001_c1s1_001051_00.jpg", raw_dir / "query" / "0001_c0s1_001051_00.jpg")


def _nobody_in_train_and_query(raw_dir):
    for folder in ("bounding_box_train", "query"):
        for number, path in enumerate((raw_dir / folder).iterdir()):
            path.rename(path.with_name(f"-1_c1s1_00000{number}_00.jpg"))


@pytest.mark.parametrize(
    "damage, words",
    [
        (_no_folder, "no folder 'query'"),
        (_no_image, "query: no image"),
        (_unparsed_name, "query/person_one.jpg"),
        (_another_layout, r"query: none of its \d+ images is named like 0002_c1s1_000451_03.jpg"),
        (_camera_zero, "query/0001_c0s1_001051_00.jpg"),
        (_nobody_in_train_and_query, "no person to train on, and no query and gallery"),
    ],
)
def test_message_names_the_bad_raw_folder(crop_folder, tmp_path, damage, words):
    raw_dir = crop_folder()
    damage(raw_dir)
    with pytest.raises(InputError, match=words) as error:
        _convert(raw_dir, tmp_path / "out")
    assert str(raw_dir) in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_killed_conversion_can_be_repeated(crop_folder, jpeg, tmp_path):
    """kill -9 while the conversion waits for an image; then the same command again."""
    raw_dir, out_dir = crop_folder(), tmp_path / "out"
    image = raw_dir / "query" / "0003_c2s1_000001_00.jpg"
    image.unlink()
    os.mkfifo(image)  # reading it waits for a writer
    command = [sys.executable, "-m", "data_prep.market1501", f"--raw_dir={raw_dir}", f"--out_dir={out_dir}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
        partial = tmp_path / f".out.partial-{process.pid}"
        deadline = time.monotonic() + 60
        while not list(partial.glob("query-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert list(partial.glob("train-*")) and not out_dir.exists()

    image.unlink()
    image.write_bytes(jpeg(0))
    again = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert again.returncode == 0, again.stderr
    assert f"removing {partial}" in again.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]
    assert read_dataset(out_dir).splits["query"].examples == 2


@pytest.mark.slow
def test_command_line_tool(crop_folder, tmp_path):
    """The second run finds the folder of the first: one line, exit code 1, no traceback."""
    command = [sys.executable, "-m", "data_prep.market1501"]
    command += [f"--raw_dir={crop_folder()}", f"--out_dir={tmp_path / 'out'}", "--name=small", "--shards=1"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert first.returncode == 0, first.stderr
    assert first.stdout.split("\n")[3].split() == ["gallery", "3", "2", "2", "1"]
    recorded = json.loads((tmp_path / "out" / "dataset.json").read_text())["command"]
    assert recorded == "python -m data_prep.market1501 " + " ".join(command[3:])

    again = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert again.returncode == 1
    assert again.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'out'}: exists already")
    assert "Traceback" not in again.stderr
