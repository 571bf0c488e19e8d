"""The two synthetic raw datasets: layouts, names, labels, determinism."""

import collections
import dataclasses
import hashlib
import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
import scipy.io
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from data_prep.market1501 import MARKET1501
from data_prep.rendered.backdrops import backdrop
from data_prep.rendered.cameras import CAMERAS
from data_prep.rendered.contact_sheet import contact_sheet, write_contact_sheet
from data_prep.rendered.dataset import write_dataset
from data_prep.rendered.looks import CLASSES
from data_prep.rendered.pose_set import Picture, draw_picture, run_lengths
from data_prep.rendered.reid_set import plan_reid_set, write_market_attributes
from lrdnn_base.errors import InputError

TINY = {"train_identities": 4, "test_identities": 4, "images_per_identity": 6, "pose_images": 10, "pose_val_images": 3}
NAME = re.compile(r"(-1|\d{4})_c([1-6])s(\d)_(\d{6})_(\d{2})\.jpg")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("rendered") / "set", seed=1, workers=1, **TINY)


def hashes(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def names(dataset, folder):
    """Identity and camera of each file in a folder of Market-1501."""
    paths = sorted((dataset / "market1501" / folder).iterdir())
    return [tuple(int(value) for value in NAME.fullmatch(path.name).groups()[:2]) for path in paths]


def test_same_seed_gives_same_bytes_in_other_processes(dataset, tmp_path):
    again = write_dataset(tmp_path / "again", seed=1, workers=2, **TINY)
    assert hashes(again) == hashes(dataset)


def test_another_seed_gives_other_people_and_scenes(dataset, tmp_path):
    tiniest = {name: min(size, 4) for name, size in TINY.items()}
    other = write_dataset(tmp_path / "other", seed=2, workers=1, **tiniest)
    assert not set(hashes(other).values()) & set(hashes(dataset).values())
    assert (backdrop(CAMERAS[0], 1) != backdrop(CAMERAS[0], 2)).any()


def test_market_layout_and_protocol(dataset):
    train, query, gallery = (names(dataset, name) for name in ("bounding_box_train", "query", "bounding_box_test"))
    train_people, query_people = {identity for identity, _ in train}, {identity for identity, _ in query}
    gallery_people = {identity for identity, _ in gallery}
    assert len(train_people) == TINY["train_identities"] and len(query_people) == TINY["test_identities"]
    assert not train_people & query_people
    assert gallery_people == query_people | {-1, 0}
    for people, images in ((train_people, train), (query_people, query)):
        for person in people:
            assert len({camera for identity, camera in images if identity == person}) >= 2
    assert max(collections.Counter(query).values()) == 1  # one query for each camera
    for person, camera in query:  # there is a match in another camera
        assert any(identity == person and other != camera for identity, other in gallery)
    images = sum(identity > 0 for identity, _ in query + gallery)
    assert images == TINY["test_identities"] * TINY["images_per_identity"]


def test_crops_have_the_size_of_market(dataset):
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        for path in (dataset / "market1501" / folder).iterdir():
            assert cv2.imread(str(path)).shape == (128, 64, 3)


def test_attribute_file_reads_back(dataset):
    plan = plan_reid_set(1, *(TINY[name] for name in ("train_identities", "test_identities", "images_per_identity")))
    labels = MARKET1501.read_labels(dataset / "market1501" / "attribute" / "market_attribute.mat")
    assert labels["train"] == {identity: look.attributes for identity, look in plan.train.items()}
    assert labels["test"] == {identity: look.attributes for identity, look in plan.test.items()}
    assert set(labels["train"]) == {identity for identity, _ in names(dataset, "bounding_box_train")}
    assert set(labels["test"]) == {identity for identity, _ in names(dataset, "query")}


def test_attribute_file_has_the_published_structure(dataset, shared_data):
    ours = scipy.io.loadmat(dataset / "market1501" / "attribute" / "market_attribute.mat")["market_attribute"]
    published = scipy.io.loadmat(shared_data / "attributes" / "market_attribute.mat")["market_attribute"]
    assert ours.shape == published.shape
    for split in ("train", "test"):
        table, expected = ours[split].item(), published[split].item()
        assert set(table.dtype.names) == set(expected.dtype.names)
        for field in table.dtype.names:
            values, example = table[field].item(), expected[field].item()
            assert values.dtype == example.dtype and values.ndim == example.ndim and len(values) == 1
        assert re.fullmatch(r"\d{4}", table["image_index"].item()[0, 0].item())
    assert ours["train"].item().dtype.names != ours["test"].item().dtype.names


def test_attribute_values_count_from_one_and_unknown_colours_have_no_yes(tmp_path):
    known = [0] * len(CLASSES)
    unknown = [len(classes) - 1 for classes in CLASSES.values()]
    unknown[list(CLASSES).index("upper_colour")] = -1
    path = tmp_path / "labels.mat"
    write_market_attributes(path, {7: known, 31: unknown}, {})
    table = scipy.io.loadmat(path)["market_attribute"]["train"].item().item()
    table = dict(zip(scipy.io.loadmat(path)["market_attribute"]["train"].item().dtype.names, table, strict=True))
    assert table["gender"].tolist() == [[1, 2]] and table["age"].tolist() == [[1, 4]]
    assert table["upblack"].tolist() == [[2, 1]] and table["upgreen"].tolist() == [[1, 1]]
    assert table["downbrown"].tolist() == [[1, 2]]
    assert [cell.item() for cell in table["image_index"][0]] == ["0007", "0031"]


def test_half_of_the_people_have_a_near_twin_of_the_same_colours():
    plan = plan_reid_set(0, 20, 20, 4)
    for people in (plan.train, plan.test):
        looks = list(people.values())
        twins = [
            (look, other)
            for look in looks
            for other in looks
            if other is not look and dataclasses.replace(other, attributes=look.attributes) == look
        ]
        assert len(twins) == len(looks) / 2
        assert all(1 <= sum(look[task] != other[task] for task in CLASSES) <= 2 for look, other in twins)


def test_file_names_are_unique():
    plan = plan_reid_set(0, 30, 30, 12)
    assert len({shot.path for shot in plan.shots}) == len(plan.shots)


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_coco_annotations_are_consistent(dataset, split):
    path = dataset / "coco" / "annotations" / f"person_keypoints_{split}.json"
    coco = COCO(str(path))
    assert {image["file_name"] for image in coco.imgs.values()} == {
        file.name for file in (dataset / "coco" / split).iterdir()
    }
    assert len(coco.anns) == len(json.loads(path.read_text())["annotations"])  # ids are unique
    for image in coco.imgs.values():
        assert cv2.imread(str(dataset / "coco" / split / image["file_name"])).shape[:2] == (
            image["height"],
            image["width"],
        )
    for annotation in coco.anns.values():
        image = coco.imgs[annotation["image_id"]]
        x, y, v = np.array(annotation["keypoints"]).reshape(17, 3).T
        assert annotation["num_keypoints"] == (v > 0).sum()
        assert ((x >= 0) & (x < image["width"]) & (y >= 0) & (y < image["height"])).all()
        left, top, width, height = annotation["bbox"]
        assert left >= 0 and top >= 0 and width > 0 and height > 0
        assert left + width <= image["width"] and top + height <= image["height"]
        outline = coco.annToMask(annotation)
        assert outline.shape == (image["height"], image["width"])
        if annotation["area"] > 300:
            assert outline.sum() == pytest.approx(annotation["area"], rel=0.1)
        seen = v == 2
        if seen.any():  # a visible keypoint lies on the person, up to rounding
            near = cv2.dilate(outline, np.ones((5, 5), np.uint8))
            assert near[y[seen].astype(int), x[seen].astype(int)].all()


def test_perfect_detections_score_one(dataset):
    coco = COCO(str(dataset / "coco" / "annotations" / "person_keypoints_train2017.json"))
    people = [person for person in coco.anns.values() if person["num_keypoints"] > 0]
    assert len(people) >= 10
    results = coco.loadRes(
        [{key: person[key] for key in ("image_id", "category_id", "keypoints")} | {"score": 1.0} for person in people]
    )
    evaluation = COCOeval(coco, results, "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def test_the_pose_set_has_crowds_unannotated_people_and_hidden_keypoints():
    people = [person for image_id in range(1, 36) for person in draw_picture(Picture(image_id, 0))[3]]
    crowds = [person for person in people if person["iscrowd"]]
    assert crowds
    for crowd in crowds:
        rle = coco_mask.frPyObjects(crowd["segmentation"], *crowd["segmentation"]["size"])
        assert coco_mask.area(rle) == crowd["area"]
        assert np.allclose(coco_mask.toBbox(rle), crowd["bbox"])
    assert any(not person["iscrowd"] and person["num_keypoints"] == 0 for person in people)
    visibility = np.concatenate([person["keypoints"][2::3] for person in people])
    assert {0, 1, 2} == set(visibility.tolist())


@pytest.mark.parametrize("first", [0, 1])
def test_run_lengths_are_cocos(first):
    mask = np.random.default_rng(0).random((13, 7)) < 0.4
    mask[0, 0] = first
    rle = coco_mask.frPyObjects({"counts": run_lengths(mask), "size": [13, 7]}, 13, 7)
    assert (coco_mask.decode(rle) == mask).all()


def test_cameras_differ():
    means = [backdrop(camera, 0).reshape(-1, 3).mean(axis=0) for camera in CAMERAS]
    distances = [np.linalg.norm(a - b) for number, a in enumerate(means) for b in means[:number]]
    assert len(CAMERAS) == 6 and min(distances) > 5
    for field in ("backdrop", "elevation", "flow", "gain", "cast", "blur", "noise", "quality"):
        assert len({getattr(camera, field) for camera in CAMERAS}) == 6


def test_an_existing_folder_is_not_touched(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="mine: exists"):
        write_dataset(tmp_path / "mine", **TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "sizes",
    [
        {"train_identities": 1},
        {"test_identities": 0},
        {"train_identities": 9999},
        {"images_per_identity": 3},
        {"pose_val_images": 0},
    ],
)
def test_message_names_the_wrong_size(tmp_path, sizes):
    with pytest.raises(InputError, match=next(iter(sizes))):
        write_dataset(tmp_path / "set", **{**TINY, **sizes})
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("data_prep.rendered.dataset.write_pose_set", stop)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", workers=1, **TINY)
    assert not list(tmp_path.iterdir())


def test_contact_sheet_shows_people_by_cameras(tmp_path):
    sheet = contact_sheet(seed=0, people=2)
    assert sheet.dtype == np.uint8 and sheet.shape[1] > 6 * 64 and sheet.shape[0] > 2 * 128
    red = (sheet[..., 0] > 150) & (sheet[..., 1:] < 90).all(axis=2)
    text = red[:, 6 * 96 :]  # where the second twin differs
    assert text[len(text) // 2 :].sum() > 20 > text[: len(text) // 2].sum()
    write_contact_sheet(tmp_path / "sheet.png", people=1)
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None
    with pytest.raises(InputError, match="people"):
        write_contact_sheet(tmp_path / "none.png", people=0)
    with pytest.raises(InputError, match="nowhere"):
        write_contact_sheet(tmp_path / "nowhere" / "sheet.png", people=1)


@pytest.mark.slow
def test_error_of_the_command_line_tool_is_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "data_prep.rendered", f"--out_dir={tmp_path}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == done.stderr.splitlines()[-1:]
    assert str(tmp_path) in done.stderr
