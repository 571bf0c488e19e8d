"""CUHK03 in both forms in which it is published, and in its real folders."""

import tarfile

import cv2
import h5py
import numpy as np
import pytest
import scipy.io

from data_prep import cuhk03
from data_prep.verify import verify
from lrdnn_base.errors import InputError
from lrdnn_tf.data.dataset import read_dataset
from lrdnn_tf.data.split import read_split

# Camera pair, person, camera and image of the stored images; the first two people are for training.
STORED = [
    (1, 1, 1, 1),
    (1, 1, 1, 3),
    (1, 1, 2, 6),
    (1, 2, 1, 1),
    (1, 2, 2, 6),
    (5, 1, 1, 2),
    (5, 1, 2, 7),
    (5, 1, 2, 8),
]
NAMES = ["{}_{:03}_{}_{:02}.png".format(*image) for image in STORED]
SPLIT = {
    "filelist": np.array(NAMES, object)[:, None],
    "labels": np.array([1, 1, 1, 2, 2, 1467, 1467, 1467]),
    "camId": np.array([image[2] for image in STORED]),
    "train_idx": np.array([1, 2, 3, 4, 5]),
    "query_idx": np.array([7]),
    "gallery_idx": np.array([6, 8]),
}


def _pixels(number):
    """RGB; higher than wide, with another colour in each corner."""
    return np.random.default_rng(number).integers(0, 256, (20 + number, 9, 3), dtype=np.uint8)


def _write_images(path, boxes="detected", stored=STORED):
    """A file of MATLAB's format 7.3: a cell per pair of cameras, with a cell per person and image."""
    with h5py.File(path, "w") as file:
        pairs = file.create_dataset(boxes, (1, 5), h5py.ref_dtype)
        empty = file.create_dataset("#refs#/empty", data=np.zeros(2, np.uint64))
        for pair in range(1, 6):
            cells = file.create_dataset(f"#refs#/pair{pair}", (10, 2), h5py.ref_dtype)
            cells[...] = empty.ref
            for number, (of_pair, person, _, image) in enumerate(stored):
                if of_pair == pair:
                    pixels = file.create_dataset(f"#refs#/image{number}", data=_pixels(number).T)
                    cells[image - 1, person - 1] = pixels.ref
            pairs[0, pair - 1] = cells.ref


@pytest.fixture
def release(tmp_path):
    raw_dir = tmp_path / "release"
    raw_dir.mkdir()
    _write_images(raw_dir / "cuhk-03.mat")
    scipy.io.savemat(raw_dir / "cuhk03_new_protocol_config_detected.mat", SPLIT)
    return raw_dir


def test_the_published_mat_file_becomes_records(release, tmp_path):
    cuhk03.convert(release, tmp_path / "out", name="small")
    dataset = read_dataset(tmp_path / "out")
    assert dataset.identities == (1, 2) and dataset.cameras == (1, 2)
    labels = {split: read_split(dataset, split).labels for split in dataset.splits}
    assert labels["train"].path.tolist() == NAMES[:5] and labels["train"].camera.tolist() == [1, 1, 2, 1, 2]
    assert labels["query"].path.tolist() == [NAMES[6]] and labels["gallery"].path.tolist() == [NAMES[5], NAMES[7]]
    assert labels["gallery"].identity.tolist() == [1467, 1467]
    assert verify(tmp_path / "out").problems == []
    for number, content in zip((5, 7), read_split(dataset, "gallery").image_files([0, 1]), strict=True):
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        np.testing.assert_array_equal(pixels, _pixels(number))


@pytest.mark.parametrize("boxes", ["detected", "labeled"])
def test_folders_become_records(crop_folder, tmp_path, boxes):
    raw_dir = crop_folder(
        {
            f"{boxes}/bounding_box_train": ["0001_c1_01.jpg", "0001_c2_06.jpg", "0003_c1_02.png"],
            f"{boxes}/query": ["0002_c1_01.jpg"],
            f"{boxes}/bounding_box_test": ["0002_c2_06.jpg", "0002_c2_07.jpg"],
        }
    )
    cuhk03.convert(raw_dir, tmp_path / "out", boxes)
    dataset = read_dataset(tmp_path / "out")
    assert dataset.name == {"detected": "cuhk03", "labeled": "cuhk03_labeled"}[boxes]
    assert dataset.identities == (1, 3)
    assert read_split(dataset, "gallery").labels.path.tolist()[0] == f"{boxes}/bounding_box_test/0002_c2_06.jpg"
    assert read_split(dataset, "gallery").labels.camera.tolist() == [2, 2]


def test_the_recorded_command_names_the_boxes(release, tmp_path):
    (release / "cuhk03_new_protocol_config_detected.mat").rename(release / "cuhk03_new_protocol_config_labeled.mat")
    _write_images(release / "cuhk-03.mat", "labeled")
    cuhk03.convert(release, tmp_path / "out", "labeled")
    command = (tmp_path / "out/dataset.json").read_text()
    assert f"data_prep.cuhk03 --raw_dir={release} --boxes=labeled --out_dir={tmp_path / 'out'}" in command


def _without_field(release):
    path = release / "cuhk03_new_protocol_config_detected.mat"
    scipy.io.savemat(path, {name: values for name, values in SPLIT.items() if name != "query_idx"})


def _of_another_dataset(release):
    scipy.io.savemat(release / "cuhk-03.mat", {"market_attribute": np.zeros(3)})


def _beyond_the_end(release):
    scipy.io.savemat(
        release / "cuhk03_new_protocol_config_detected.mat", SPLIT | {"query_idx": np.array([len(NAMES) + 1])}
    )


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda raw: (raw / "cuhk-03.mat").unlink(), r"neither a folder detected in it nor a file cuhk-03\.mat"),
        (
            lambda raw: (raw / "cuhk03_new_protocol_config_detected.mat").unlink(),
            r"config_detected\.mat: missing; it is the split file of the new protocol",
        ),
        (
            lambda raw: (raw / "cuhk03_new_protocol_config_detected.mat").write_bytes(b"text"),
            r"config_detected\.mat: not a split file of MATLAB",
        ),
        (_without_field, r"no query_idx in it; is it a split file of CUHK03's new protocol\?"),
        (_beyond_the_end, "a split names images beyond their end"),
        (
            lambda raw: _write_images(raw / "cuhk-03.mat", stored=STORED[:-1]),
            rf"1 images that only one of it and cuhk-03\.mat has: {NAMES[-1]}; is it the split",
        ),
        (
            lambda raw: _write_images(raw / "cuhk-03.mat", stored=[*STORED, (2, 1, 1, 1)]),
            r"1 images that only one of it and cuhk-03\.mat has: 2_001_1_01\.png",
        ),
        (_of_another_dataset, r"cuhk-03\.mat: not the images of CUHK03, in MATLAB's format 7\.3"),
        (
            lambda raw: _write_images(raw / "cuhk-03.mat", boxes="labeled"),
            r"cuhk-03\.mat: not the images of CUHK03, .*detected",
        ),
    ],
)
def test_bad_files_are_one_line(release, tmp_path, damage, words):
    damage(release)
    with pytest.raises(InputError, match=words) as error:
        cuhk03.convert(release, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_real_folders_have_the_published_counts(shared_data, tmp_path, caplog):
    with tarfile.open(shared_data / "cuhk03" / "cuhk03-np.tar") as tar:
        tar.extractall(tmp_path, filter="data")
    splits = cuhk03.convert(tmp_path / "cuhk03-np", tmp_path / "out")
    for split, counts in cuhk03.PUBLISHED_COUNTS["detected"].items():
        assert counts.items() <= splits[split].items()
    assert "published are" not in caplog.text
    assert set(read_split(read_dataset(tmp_path / "out"), "gallery").labels.camera) == {1, 2}
