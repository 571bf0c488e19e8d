"""Folders of images, one per person."""

import json

import pytest

from data_prep import from_folders
from data_prep.verify import verify
from lrdnn_base.errors import InputError
from lrdnn_tf.data.dataset import read_dataset
from lrdnn_tf.data.split import read_split


@pytest.fixture
def people(tmp_path, jpeg):
    """people("alice/1.jpg", ...): writes these images below a folder and returns it."""

    def make(*paths):
        for number, path in enumerate(paths):
            (tmp_path / "people" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "people" / path).write_bytes(jpeg(number))
        return tmp_path / "people"

    return make


def _convert(raw_dir, out_dir, **options):
    from_folders.convert(raw_dir, out_dir, **options)
    assert verify(out_dir).problems == []
    return read_dataset(out_dir)


def test_a_folder_per_person_is_a_training_set_of_unknown_cameras(people, tmp_path, caplog):
    dataset = _convert(people("zoe/2.jpg", "zoe/1.png", "Ann/x/3.jpg", "Ann/notes.txt", "a.jpg"), tmp_path / "out")
    assert dataset.name == "people" and dataset.identities == (1, 2) and dataset.cameras == (0,)
    assert json.loads((tmp_path / "out/dataset.json").read_text())["identity_names"] == {"Ann": 1, "zoe": 2}
    train = read_split(dataset, "train").labels
    assert train.path.tolist() == ["Ann/x/3.jpg", "zoe/1.png", "zoe/2.jpg"] and train.identity.tolist() == [1, 2, 2]
    for words in ("ignored 2 other files: a.jpg, Ann/notes.txt", "cameras are unknown", "for training only"):
        assert words in caplog.text


def test_a_folder_per_split(people, tmp_path, caplog):
    raw_dir = people("query/7/c1.jpg", "gallery/7/c2.jpg", "gallery/0/c3.jpg", "gallery/-1/c1.jpg")
    dataset = _convert(raw_dir, tmp_path / "out", camera_pattern=r"c(\d+)")
    assert dataset.identities == () and dataset.cameras == (1, 2, 3)
    gallery = read_split(dataset, "gallery").labels
    assert gallery.path.tolist() == ["gallery/0/c3.jpg", "gallery/7/c2.jpg"] and gallery.identity.tolist() == [0, 7]
    assert dataset.splits["gallery"].junk == 1
    assert "cameras are unknown" not in caplog.text


def test_held_out_people_are_recorded(people, tmp_path):
    raw_dir = people("zoe/1.jpg", "zoe/2.jpg", "Ann/1.jpg", "Ann/2.jpg", "mia/1.jpg")
    dataset = _convert(raw_dir, tmp_path / "out", held_out=1, held_out_seed=3)
    assert len(dataset.identities) == 2 and dataset.splits["query"].examples == 1
    command = json.loads((tmp_path / "out/dataset.json").read_text())["command"]
    assert command.endswith("--held_out=1 --held_out_seed=3")


@pytest.mark.parametrize(
    ("paths", "options", "words"),
    [
        ((), {}, "no such folder; --raw_dir is the folder with a folder per person"),
        (("a.jpg",), {}, r"no folder of a person with an image in it \(\.jpg, "),
        (("zoe/1.jpg",), {"camera_pattern": "c("}, "not a regular expression"),
        (("zoe/1.jpg",), {"camera_pattern": "c"}, "no group for the number of the camera"),
        (("zoe/c0.jpg",), {"camera_pattern": r"c(\d)"}, r"1 paths in which .* finds no number from 1: zoe/c0\.jpg"),
        (("zoe/1.jpg",), {"camera_pattern": r"c(\d)"}, r"1 paths in which .* finds no number from 1: zoe/1\.jpg"),
        (("train/zoe/1.jpg", "query/zoe/2.jpg", "gallery/zoe/3.jpg"), {}, "in both train and query or gallery: zoe"),
        (("zoe/1.jpg", "Ann/1.jpg", "Ann/2.jpg"), {"held_out": 2}, "--held_out=2: 1 of the 2 training people"),
    ],
)
def test_bad_input_is_one_line(people, tmp_path, paths, options, words):
    people(*paths)
    with pytest.raises(InputError, match=words) as error:
        from_folders.convert(tmp_path / "people", tmp_path / "out", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
