"""MSMT17's list files and folders, of both versions."""

import pytest

from data_prep import msmt17
from data_prep.verify import verify
from lrdnn_base.errors import InputError
from lrdnn_tf.data.dataset import read_dataset
from lrdnn_tf.data.split import read_split

LISTS = {
    "train": "0000/0000_000_01_0303morning_0015_0.jpg 0\n0002/0002_001_15_0114afternoon_0008_0.jpg 2\n",
    "val": "0000/0000_002_09_0303noon_0015_1.jpg 0\n",
    "query": "0000/0000_000_01_0303morning_0024_0.jpg 0\n",
    "gallery": "0000/0000_010_05_0303morning_0024_2.jpg 0\n0001/0001_000_13_0303evening_0001_0.jpg 1\n",
}


@pytest.fixture(params=["V1", "V2"])
def raw_dir(request, tmp_path, jpeg):
    raw_dir = tmp_path / f"MSMT17_{request.param}"
    folders = ("train", "test") if request.param == "V1" else ("mask_train_v2", "mask_test_v2")
    for number, (name, lines) in enumerate(LISTS.items()):
        (tmp_path / raw_dir.name).mkdir(exist_ok=True)
        (raw_dir / f"list_{name}.txt").write_text(lines)
        for line in lines.splitlines():
            path = raw_dir / folders[name in ("query", "gallery")] / line.split()[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(number))
    return raw_dir


def test_lists_become_records_and_test_people_are_others_than_training_people(raw_dir, tmp_path):
    msmt17.convert(raw_dir, tmp_path / "out", name="small")
    dataset = read_dataset(tmp_path / "out")
    assert dataset.identities == (1, 3)
    labels = {split: read_split(dataset, split).labels for split in dataset.splits}
    assert labels["train"].identity.tolist() == [1, 3, 1] and labels["train"].camera.tolist() == [1, 15, 9]
    assert labels["query"].identity.tolist() == [4] and labels["query"].camera.tolist() == [1]
    assert labels["gallery"].identity.tolist() == [4, 5] and labels["gallery"].camera.tolist() == [5, 13]
    assert verify(tmp_path / "out").problems == []


def test_images_that_a_list_names_and_that_are_missing_are_named_in_one_line(raw_dir, tmp_path):
    missing = next(raw_dir.glob("*t*/0002/*.jpg"))
    missing.unlink()
    with pytest.raises(InputError, match=rf"1 bad images: .*{missing.name} \(No such file or directory\)") as error:
        msmt17.convert(raw_dir, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda raw: (raw / "list_query.txt").unlink(), r"list_query\.txt: cannot be read \(No such file"),
        (lambda raw: (raw / "list_val.txt").write_bytes(b"\xff\xfe"), r"list_val\.txt: not a text file"),
        (
            lambda raw: (raw / "list_val.txt").write_text("0001.jpg 1\n"),
            r"1 lines without path, camera and identity: '0001\.jpg 1' in line 1 of list_val\.txt",
        ),
        (lambda raw: next(raw.glob("*test*")).rename(raw / "other"), "no folders train and test or mask_train_v2 and"),
    ],
)
def test_a_bad_raw_folder_is_one_line(raw_dir, tmp_path, damage, words):
    damage(raw_dir)
    with pytest.raises(InputError, match=words) as error:
        msmt17.convert(raw_dir, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
