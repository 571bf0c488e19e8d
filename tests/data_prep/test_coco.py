"""COCO person keypoints to pose records: the four real images, and hand-made annotations."""

import json

import cv2
import numpy as np
import pytest
import tensorflow as tf
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from data_prep import coco
from lrdnn_base.errors import InputError
from pose_pretrain.records import parse_example

SAMPLE = "coco_val2017_sample"


def _examples(out_dir, split):
    """image id -> parsed record, as NumPy, in record order."""
    files = sorted(str(path) for path in out_dir.glob(f"{split}-*.tfrecord"))
    records = [parse_example(serialized) for serialized in tf.data.TFRecordDataset(files)]
    return {int(record["image_id"]): {name: value.numpy() for name, value in record.items()} for record in records}


def _mask(example):
    return cv2.imdecode(np.frombuffer(example["ignore_mask"], np.uint8), cv2.IMREAD_GRAYSCALE) > 0


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory):
    """The four real images converted, and their annotations as pycocotools reads them."""
    folder = shared_data / SAMPLE
    out_dir = tmp_path_factory.mktemp("coco") / "out"
    splits = coco.convert({"train": (folder, folder / "person_keypoints.json")}, out_dir, shards=2)
    return splits, _examples(out_dir, "train"), COCO(str(folder / "person_keypoints.json")), folder


def test_real_images_hold_12_people(real):
    splits, examples, reference, folder = real
    assert splits["train"]["examples"] == 4 and splits["train"]["people"] == 12
    assert len(reference.anns) == 14
    assert list(examples) == [785, 40083, 196141, 197388]
    for image_id, example in examples.items():
        assert example["image"] == (folder / reference.imgs[image_id]["file_name"]).read_bytes()
        assert (example["height"], example["width"]) == tf.io.decode_image(example["image"]).shape[:2]


def test_real_labels_are_those_of_the_file(real):
    _, examples, reference, _ = real
    for image_id, example in examples.items():
        people = [person for person in reference.imgToAnns[image_id] if person["num_keypoints"]]
        keypoints = [np.reshape(person["keypoints"], (17, 3)) for person in people]
        np.testing.assert_array_equal(example["keypoints"], np.array(keypoints, np.float32))
        np.testing.assert_array_equal(example["boxes"], np.array([person["bbox"] for person in people], np.float32))
        np.testing.assert_array_equal(example["areas"], np.array([person["area"] for person in people], np.float32))


def test_real_masks_are_those_of_pycocotools(real):
    _, examples, reference, _ = real
    masked = 0
    for image_id, example in examples.items():
        ignored = [person for person in reference.imgToAnns[image_id] if not person["num_keypoints"]]
        if ignored:
            expected = np.any([reference.annToMask(person) for person in ignored], axis=0)
            np.testing.assert_array_equal(_mask(example), expected)
            masked += 1
        else:
            assert example["ignore_mask"] == b""
    assert masked == 2


# Hand-made annotations, in images of 48x64 pixels.
SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]


def _person(number, image_id, visible=17, iscrowd=0, segmentation=SQUARE):
    keypoints = np.zeros((17, 3), int)
    keypoints[:visible] = (5, 6, 2)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": iscrowd,
        "num_keypoints": visible,
        "keypoints": keypoints.ravel().tolist(),
        "bbox": [10, 10, 10, 10],
        "area": 100,
        "segmentation": segmentation,
    }


@pytest.fixture
def hand_made(tmp_path, jpeg):
    """(annotations, convert): change the annotations, then call convert(**arguments) -> its splits and records."""
    images = tmp_path / "images"
    images.mkdir()
    for number in (1, 2, 3):
        (images / f"{number}.jpg").write_bytes(jpeg(number, 48, 64))
    content = {
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": 48, "width": 64} for n in (3, 1, 2)],
        "annotations": [_person(10, 1), _person(11, 2, visible=0), _person(12, 3, visible=1)],
    }

    def convert(**arguments):
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps(content))
        splits = coco.convert({"train": (images, path)}, tmp_path / "out", shards=1, **arguments)
        return splits["train"], _examples(tmp_path / "out", "train")

    return content, convert


def test_images_without_keypoints_are_left_out(hand_made):
    content, convert = hand_made
    content["annotations"].append(_person(13, 2) | {"category_id": 2})  # a dog is not a person
    split, examples = convert()
    assert list(examples) == [1, 3]
    assert (split["examples"], split["people"]) == (2, 2)


@pytest.mark.parametrize("form", ["polygon", "plain run lengths", "compressed run lengths"])
def test_mask_in_every_format_of_segmentation(hand_made, form):
    """The same square in each of the formats that COCO's files and tools use."""
    expected = np.zeros((48, 64), bool)
    expected[10:20, 10:20] = True
    compressed = coco_mask.encode(np.asfortranarray(expected.astype(np.uint8)))
    columns = np.flatnonzero(np.diff(expected.ravel(order="F").astype(int), prepend=0)).tolist()
    plain = {"size": [48, 64], "counts": np.diff([0, *columns, expected.size]).tolist()}
    segmentation = {
        "polygon": SQUARE,
        "plain run lengths": plain,
        "compressed run lengths": {"size": [48, 64], "counts": compressed["counts"].decode()},
    }[form]
    content, convert = hand_made
    content["annotations"].append(_person(13, 1, visible=0, iscrowd=1, segmentation=segmentation))
    example = convert()[1][1]
    np.testing.assert_array_equal(_mask(example), expected)


def test_mask_is_the_union(hand_made):
    content, convert = hand_made
    other = [[40, 30, 50, 30, 50, 40, 40, 40]]
    content["annotations"] += [
        _person(13, 1, visible=0),
        _person(14, 1, visible=5, iscrowd=1, segmentation=[*other, *SQUARE]),
        _person(15, 1, visible=0, segmentation=[]),
    ]
    example = convert()[1][1]
    assert _mask(example).sum() == 200
    assert len(example["keypoints"]) == 1  # a crowd is not a person, even with keypoints


def test_conversion_is_deterministic(hand_made, tmp_path):
    _, convert = hand_made
    convert()
    before = (tmp_path / "out" / "train-00000-of-00001.tfrecord").read_bytes()
    (tmp_path / "out").rename(tmp_path / "first")
    convert()
    assert (tmp_path / "out" / "train-00000-of-00001.tfrecord").read_bytes() == before


def test_all_bad_images_are_listed(hand_made, tmp_path, jpeg):
    content, convert = hand_made
    content["annotations"].append(_person(13, 2))
    (tmp_path / "images" / "1.jpg").unlink()
    (tmp_path / "images" / "3.jpg").write_bytes(jpeg(3, 64, 64))
    with pytest.raises(InputError, match=r"2 bad images: .*1.jpg.*No such file.*3.jpg.*64x64 pixels.*64x48"):
        convert()
    assert not (tmp_path / "out").exists()
    split, examples = convert(skip_bad_images=True)
    assert list(examples) == [2] and split["people"] == 1
    assert len(json.loads((tmp_path / "out" / "dataset.json").read_text())["skipped"]) == 2


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda content: content.pop("annotations"), "no annotations"),
        (lambda content: content.pop("images"), "no images"),
        (lambda content: content.update(annotations=[]), "no person in it has keypoints"),
        (lambda content: content["annotations"][0].update(keypoints=[1, 2, 2]), "10 does not have 17 keypoints"),
        (lambda content: content["annotations"][0].pop("segmentation"), "annotation 10 has no segmentation"),
        (lambda content: content["annotations"][0].update(image_id=99), "1 image ids that only annotations have: 99"),
        (lambda content: content["images"][1].pop("file_name"), "file_name"),
    ],
)
def test_message_names_bad_annotations(hand_made, tmp_path, damage, words):
    content, convert = hand_made
    damage(content)
    with pytest.raises(InputError, match=words) as error:
        convert()
    assert str(tmp_path / "annotations.json") in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text, words", [("{", "Expecting property"), ("[1, 2]", "not a JSON object"), (None, "No such file")]
)
def test_file_that_is_not_coco(tmp_path, text, words):
    path = tmp_path / "annotations.json"
    if text:
        path.write_text(text)
    with pytest.raises(InputError, match=rf"cannot read {path} \(.*{words}"):
        coco.read_scenes(tmp_path, path)


def test_folders_of_coco_2017(tmp_path):
    folders = coco.coco_folders(tmp_path)
    assert folders["train"] == (tmp_path / "train2017", tmp_path / "annotations" / "person_keypoints_train2017.json")
    assert list(folders) == ["train", "val"]
