"""Datasets that a CSV file describes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from data_prep import from_csv, market1501, reid
from data_prep.crops import Crop
from data_prep.output import Output
from data_prep.verify import verify
from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import AttributeTask
from lrdnn_tf.data.batches import training_batches
from lrdnn_tf.data.dataset import read_dataset
from lrdnn_tf.data.split import read_split
from lrdnn_tf.evaluation.descriptors import ranking_labels
from lrdnn_tf.evaluation.ranking import rank_with_camera_pairs
from lrdnn_tf.train import train

ROWS = """\
path,identity,camera,split,hat,coat
a/1.jpg,12,1,train,yes,red
a/2.jpg,12,2,train,no,
a/3.jpg,5,1,train,,blue
a/4.jpg,0,3,gallery,,
a/5.jpg,-1,3,gallery,yes,green
a/6.jpg,7,1,query,yes,red
a/7.jpg,0007,2,gallery,yes,green
"""


@pytest.fixture
def people(tmp_path, jpeg):
    """people(text): writes people.csv and the images a/1.jpg ... a/7.jpg, and returns its path."""

    def make(text=ROWS):
        (tmp_path / "raw" / "a").mkdir(parents=True)
        for number in range(1, 8):
            (tmp_path / "raw" / "a" / f"{number}.jpg").write_bytes(jpeg(number))
        path = tmp_path / "raw" / "people.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def _convert(path, out_dir, **arguments):
    from_csv.convert(path, out_dir, **arguments)
    return read_dataset(out_dir)


def test_rows_become_records(people, tmp_path):
    path = people()
    dataset = _convert(path, tmp_path / "out", shards=2)
    assert dataset.name == "people" and dataset.identities == (5, 12) and dataset.cameras == (1, 2, 3)
    assert dataset.attributes == (AttributeTask("hat", ("no", "yes")), AttributeTask("coat", ("blue", "green", "red")))
    gallery = dataset.splits["gallery"]
    assert (gallery.examples, gallery.identities, gallery.junk, gallery.distractors) == (2, 1, 1, 1)

    train = read_split(dataset, "train").labels
    assert train.to_dict("list") == {
        "path": ["a/1.jpg", "a/2.jpg", "a/3.jpg"],
        "identity": [12, 12, 5],
        "label": [1, 1, 0],
        "camera": [1, 2, 1],
        "hat": [1, 0, -1],
        "coat": [2, -1, 0],
    }
    # Attributes belong to images: one person wears different clothes.
    assert read_split(dataset, "query").labels.coat.tolist() == [2]
    assert read_split(dataset, "gallery").labels.coat.tolist() == [-1, 1]
    assert read_split(dataset, "gallery").labels.identity.tolist() == [0, 7]
    assert read_split(dataset, "train").image_files([2]) == [(path.parent / "a" / "3.jpg").read_bytes()]
    assert verify(tmp_path / "out").problems == []


def test_names_of_identities_are_numbered_in_their_order(people, tmp_path):
    text = ROWS.replace(",12,", ",zoe,").replace(",5,", ",Ann,").replace(",7,", ",mia,").replace(",0007,", ",mia,")
    dataset = _convert(people(text), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["identity_names"] == {
        "Ann": 1,
        "mia": 2,
        "zoe": 3,
    }
    assert dataset.identities == (1, 3)
    assert read_split(dataset, "train").labels.identity.tolist() == [3, 3, 1]
    assert read_split(dataset, "gallery").labels.identity.tolist() == [0, 2] and dataset.splits["gallery"].junk == 1


LARGE = (1, 3_000_000_000, 4_294_967_297, 2**63 - 1)  # as int32: 1, -1294967296, 1, -1
ALSO_LARGE = (2, 3_000_000_001, 4_294_967_298, 2**63 - 2)


def test_large_identities_remain_different_people_up_to_the_ranking(tmp_path, jpeg):
    rows = ["path,identity,camera,split"]
    for number, (split, camera) in enumerate([("train", 1), ("query", 1), ("gallery", 2)]):
        for index, identity in enumerate(LARGE if split == "train" else ALSO_LARGE):
            rows.append(f"{split}{index}.jpg,{identity},{camera},{split}")
            (tmp_path / f"{split}{index}.jpg").write_bytes(jpeg(number))
    (tmp_path / "people.csv").write_text("\n".join(rows))
    dataset = _convert(tmp_path / "people.csv", tmp_path / "out")
    assert dataset.identities == LARGE
    assert verify(tmp_path / "out").problems == []
    train, query, gallery = (read_split(dataset, name) for name in ("train", "query", "gallery"))
    assert train.labels.identity.tolist() == list(LARGE)
    assert query.labels.identity.tolist() == gallery.labels.identity.tolist() == list(ALSO_LARGE)
    _, labels = next(iter(training_batches(train, 32, 16, batch_size=4, seed=0)))
    assert labels["identity"].dtype == np.int32 and sorted(labels["identity"].numpy()) == [0, 1, 2, 3]
    queries, images = ranking_labels(query), ranking_labels(gallery)
    result, _ = rank_with_camera_pairs(np.eye(4), np.eye(4), queries, images)
    assert result.match_counts.tolist() == [1, 1, 1, 1] and result.mean_ap == 1


@pytest.mark.parametrize("number", [2**63, 10**30])
def test_identity_beyond_64_bits_is_named(people, tmp_path, number):
    path = people(ROWS.replace("/3.jpg,5", f"/3.jpg,{number}"))
    with pytest.raises(InputError, match=rf"people.csv: 1 identities .* above 2\*\*63 - 1 .*: '{number}' in line 4"):
        _convert(path, tmp_path / "out")
    crops = {split: [Crop("a/1.jpg", 1, 1), Crop("a/2.jpg", number, 1)] for split in ("train", "query", "gallery")}
    with pytest.raises(InputError, match=r"raw: 3 images of identities outside -1 to 2\*\*63 - 1: a/2\.jpg"):
        reid.convert(path.parent, "people", (), crops, Output(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_same_records_as_the_converter_of_folders(crop_folder, tmp_path):
    """Market-1501's folders, converted as folders and as a list."""
    raw_dir = crop_folder()
    rows = ["path,identity,camera,split"]
    for split, folder in [("gallery", "bounding_box_test"), ("train", "bounding_box_train"), ("query", "query")]:
        for name in sorted(path.name for path in (raw_dir / folder).iterdir()):
            rows.append(f"{folder}/{name},{name.split('_')[0]},{name.split('_c')[1][0]},{split}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    market1501.convert(raw_dir, tmp_path / "folders", name="small")
    from_csv.convert(tmp_path / "list.csv", tmp_path / "list", images_dir=raw_dir, name="small")
    files = sorted(path.name for path in (tmp_path / "folders").glob("*.tfrecord"))
    assert len(files) == 12
    for file in files:
        assert (tmp_path / "list" / file).read_bytes() == (tmp_path / "folders" / file).read_bytes()
    folders, listed = (json.loads((tmp_path / name / "dataset.json").read_text()) for name in ("folders", "list"))
    assert folders | {"command": ""} == listed | {"command": ""}


def test_csv_dialects_of_spreadsheets(people):
    """A byte order mark, CRLF, quotes, blanks around values, empty lines, columns in another order."""
    path = people()
    plain = from_csv.read_crops(path)
    cells = [line.split(",") for line in ROWS.splitlines()]
    lines = [", ".join(f'"{row[column]}"' for column in (3, 0, 2, 1, 4, 5)) for row in cells]
    lines[2] = lines[2].replace('"no"', '" no "')
    path.write_bytes("\r\n".join(["\ufeff" + lines[0], *lines[1:3], "", *lines[3:], "", ""]).encode())
    assert from_csv.read_crops(path) == plain


def test_without_attributes_and_for_training_only(people, tmp_path, caplog):
    dataset = _convert(people("path,identity,camera,split\na/1.jpg,1,1,train\na/2.jpg,2,1,train\n"), tmp_path / "out")
    assert dataset.attributes == () and [split.examples for split in dataset.splits.values()] == [2, 0, 0]
    assert "no image in query and gallery; the dataset can be used for training only" in caplog.text
    assert verify(tmp_path / "out").problems == []


def test_missing_and_bad_images_are_all_listed(people, tmp_path):
    path = people()
    (path.parent / "a" / "1.jpg").unlink()
    (path.parent / "a" / "3.jpg").write_bytes(b"")
    (path.parent / "a" / "6.jpg").unlink()
    with pytest.raises(InputError, match=r"3 bad images: .*1.jpg \(No such file.*3.jpg \(empty\).*6.jpg \(No such"):
        _convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    dataset = _convert(path, tmp_path / "out", skip_bad_images=True)
    assert dataset.identities == (12,) and read_split(dataset, "train").labels.label.tolist() == [0]
    assert len(json.loads((tmp_path / "out" / "dataset.json").read_text())["skipped"]) == 3


@pytest.mark.parametrize("name", ["12", "zoe"])
def test_a_person_in_both_training_and_test_is_named(people, tmp_path, name):
    text = ROWS.replace(",12,", f",{name},").replace("a/6.jpg,7", f"a/6.jpg,{name}")
    with pytest.raises(InputError, match=f"raw: 1 people in both train and query or gallery: {name}; remove them"):
        _convert(people(text), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_query_and_gallery_alone_are_a_dataset_to_evaluate_on(people, tmp_path, caplog):
    rows = "a/4.jpg,0,3,gallery\na/5.jpg,-1,3,gallery\na/6.jpg,7,1,query\na/7.jpg,7,2,gallery\n"
    dataset = _convert(people("path,identity,camera,split\n" + rows), tmp_path / "out")
    assert dataset.identities == () and not dataset.has_images("train")
    assert [dataset.splits[split].examples for split in ("query", "gallery")] == [1, 2]
    assert "no person in train; the dataset can be used for evaluation only" in caplog.text
    assert verify(tmp_path / "out").problems == []
    with pytest.raises(InputError, match="out has no training images"):
        train("identity", tmp_path / "run", tmp_path / "out", backbone="small")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", ["no column", "empty cells"])
def test_unknown_cameras(people, tmp_path, caplog, given):
    text = _without("camera") if given == "no column" else ROWS.replace(",2,", ",,")
    dataset = _convert(people(text), tmp_path / "out")
    assert dataset.cameras == ((0,) if given == "no column" else (0, 1, 3))
    assert f"{7 if given == 'no column' else 2} images of unknown cameras" in caplog.text
    result, _ = rank_with_camera_pairs(
        np.eye(1, 2), np.eye(2), *(ranking_labels(read_split(dataset, split)) for split in ("query", "gallery"))
    )
    assert result.match_counts.tolist() == [1]
    assert verify(tmp_path / "out").problems == []


def _without(column):
    position = ROWS.splitlines()[0].split(",").index(column)
    rows = [line.split(",") for line in ROWS.splitlines()]
    return "\n".join(",".join(row[:position] + row[position + 1 :]) for row in rows)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "not a CSV file"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "not a CSV file"),
        (ROWS + "a/8.jpg,1,1,train,yes,red,surplus\n", "not a CSV file .*line 9"),
        ("path,identity,camera,split\na/1.jpg,1,1,train,surplus\n", "more values than"),
        (ROWS.replace(",", ";"), "no column path, identity, split; its first line is 'path;identity"),
        (ROWS.splitlines()[0], "no row below"),
        (_without("path"), "no column path; its first line is 'identity,"),
        (_without("split"), "no column split"),
        (ROWS.replace("12,2,train", "12,2,test"), "1 splits that are not train, query, gallery: 'test' in line 3"),
        (ROWS.replace("12,1,", "12,c1,").replace("5,1", "5,0"), "2 cameras .*: 'c1' in line 2, '0' in line 4"),
        (ROWS.replace("7,1,query", "7,1.5,query"), "1 cameras .*: '1.5' in line 7"),
        (ROWS.replace("-1,3", "-2,3"), "1 identities below -1 .*: '-2' in line 6"),
        (ROWS.replace("12,1,", f"{'9' * 5000},1,"), "1 identities .* above 2.*'99.*99' in line 2"),
        (ROWS.replace("\na/3.jpg,5", "\n\na/3.jpg,"), "1 empty identities: '' in line 5"),
        (ROWS.replace("a/3.jpg", ""), "1 empty paths: '' in line 4"),
        (ROWS.replace("a/3.jpg", "a/1.jpg"), "1 paths that an earlier row has: 'a/1.jpg' in line 4"),
        (ROWS.replace("hat", "embedding"), "'embedding' cannot name an attribute"),
        (ROWS.replace("hat", "Identity"), "'Identity' cannot name an attribute"),
        (ROWS.replace("hat", "camera"), r"'camera\.1' cannot name an attribute"),
        (ROWS.replace("hat", "has hat"), "'has hat' cannot name an attribute"),
        (ROWS.replace("yes", "no"), "attribute 'hat' has fewer than two classes"),
    ],
)
def test_message_names_the_bad_table(people, tmp_path, text, words):
    path = people(text)
    with pytest.raises(InputError, match=words) as error:
        _convert(path, tmp_path / "out")
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_missing_file_or_folder(people, tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: cannot be read \(No such file"):
        from_csv.convert(tmp_path / "none.csv", tmp_path / "out")
    with pytest.raises(InputError, match="nowhere: no such folder; --images_dir"):
        from_csv.convert(people(), tmp_path / "out", images_dir=tmp_path / "nowhere")


@pytest.mark.slow
def test_command_line_tool(people, tmp_path):
    path = people()
    command = [
        sys.executable,
        "-m",
        "data_prep.from_csv",
        f"--csv={path}",
        f"--out_dir={tmp_path / 'out'}",
        "--shards=1",
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[3].split() == ["gallery", "2", "1", "1", "1"]
    recorded = json.loads((tmp_path / "out" / "dataset.json").read_text())["command"]
    assert recorded == "python -m data_prep.from_csv " + " ".join(command[3:])
