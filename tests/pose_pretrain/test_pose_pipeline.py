import json
import shutil

import cv2
import numpy as np
import pytest
import tensorflow as tf

from lrdnn_base.errors import InputError
from pose_pretrain.evaluate import evaluate
from pose_pretrain.network import build_pose_network
from pose_pretrain.pipeline import (
    default_sigma,
    evaluation_people,
    read_pose_dataset,
    steps_per_epoch,
    training_batches,
    with_neck,
)
from pose_pretrain.records import encode_example
from pose_pretrain.skeleton import from_coco


def take(dataset, count, **options):
    batches = training_batches(dataset, 64, 48, batch_size=4, **({"seed": 0} | options)).take(count)
    return [(images.numpy(), {name: maps.numpy() for name, maps in y.items()}) for images, y in batches]


def assert_same(one, other):
    for (images, maps), (images2, maps2) in zip(one, other, strict=True):
        np.testing.assert_array_equal(images, images2)
        for name, values in maps.items():
            np.testing.assert_array_equal(values, maps2[name])


def test_shapes_and_ranges(pose_dataset):
    for images, maps in take(pose_dataset, 2):
        assert images.shape == (4, 64, 48, 3) and images.dtype == np.float32
        assert images.min() > -0.01 and images.max() < 255.01 and images.std() > 10
        assert {name: values.shape for name, values in maps.items()} == {
            "confidence": (4, 8, 6, 19),
            "affinity": (4, 8, 6, 38),
            "weight": (4, 8, 6, 1),
        }
        assert all(np.isfinite(values).all() for values in maps.values())


def test_batches_depend_on_the_seed_and_not_on_the_global_seed(pose_dataset):
    tf.random.set_seed(1)
    one = take(pose_dataset, 3)
    tf.random.set_seed(2)
    assert_same(one, take(pose_dataset, 3))
    assert not np.array_equal(one[0][0], take(pose_dataset, 1, seed=1)[0][0])


def test_resuming_at_an_epoch_gives_the_batches_of_an_uninterrupted_run(pose_dataset):
    steps = steps_per_epoch(pose_dataset, 4)
    assert steps == 11 // 4
    assert_same(take(pose_dataset, 3 * steps)[2 * steps :], take(pose_dataset, steps, first_epoch=2))


def test_resuming_within_an_epoch_gives_the_batches_of_an_uninterrupted_run(pose_dataset):
    steps = steps_per_epoch(pose_dataset, 4)
    whole = take(pose_dataset, 3 * steps)
    assert_same(whole[steps + 1 :], take(pose_dataset, 2 * steps - 1, first_epoch=1, first_step=1))


def test_workers_share_each_batch(pose_dataset):
    one, other = (take(pose_dataset, 3, part=(index, 2)) for index in range(2))
    joined = [
        (np.concatenate([a[0], b[0]]), {name: np.concatenate([a[1][name], b[1][name]]) for name in a[1]})
        for a, b in zip(one, other, strict=True)
    ]
    assert_same(joined, take(pose_dataset, 3))


def test_epochs_differ_in_order_and_augmentation(pose_dataset):
    steps = steps_per_epoch(pose_dataset, 4)
    batches = take(pose_dataset, 2 * steps)
    assert not np.array_equal(batches[0][0], batches[steps][0])


def test_a_dataset_smaller_than_a_batch_fills_a_smaller_batch(pose_dataset):
    images, _ = next(iter(training_batches(pose_dataset, 32, 32, batch_size=100, seed=0)))
    assert len(images) == 11 and steps_per_epoch(pose_dataset, 100) == 1


def test_ignore_masks_become_position_weights(pose_dataset):
    weights = np.concatenate([maps["weight"] for _, maps in take(pose_dataset, 4)])
    assert set(np.unique(weights)) == {0, 1}
    assert 0.5 < weights.mean() < 1


def test_with_neck_equals_from_coco(make_keypoints):
    for people in (0, 1, 7):
        keypoints = make_keypoints(np.random.default_rng(people), people, 50, 60)
        np.testing.assert_allclose(with_neck(keypoints), from_coco(keypoints), rtol=1e-6)


def test_evaluation_crops_are_centred_on_the_people_of_the_records(pose_dataset):
    batches = list(evaluation_people(pose_dataset, "val", 64, 48, 3))
    assert len(batches[0]["image"]) == 3
    images = np.concatenate([batch["image"] for batch in batches])
    warps = np.concatenate([batch["warp"] for batch in batches])
    boxes = np.concatenate([batch["box"] for batch in batches])
    assert len(images) == len(warps) and images.shape[1:] == (64, 48, 3)
    centres = np.concatenate([boxes[:, :2] + (boxes[:, 2:] - 1) / 2, np.ones((len(boxes), 1))], axis=1)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", warps, centres)[:, :2], [[23.5, 31.5]] * len(boxes), atol=1e-2)


def degenerate_examples():
    pixel = cv2.imencode(".png", np.full((1, 1, 3), 90, np.uint8))[1].tobytes()
    image = cv2.imencode(".png", np.full((40, 30, 3), 90, np.uint8))[1].tobytes()
    unlabelled, outside = np.zeros((1, 17, 3), np.float32), np.full((1, 17, 3), 1e7, np.float32)
    labelled = np.full((2, 17, 3), 5, np.float32)
    box = np.array([[2, 2, 20, 30]], np.float32)
    nobody = (np.zeros((0, 17, 3), np.float32), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    return [
        encode_example(pixel, 1, 1, 1, np.full((1, 17, 3), [0, 0, 2]), box * 0, np.zeros(1), np.ones((1, 1))),
        encode_example(image, 2, 40, 30, unlabelled, box, np.ones(1), None),
        encode_example(image, 3, 40, 30, outside, box, np.ones(1), None),
        encode_example(image, 4, 40, 30, labelled, np.repeat(box * [1, 1, 0, 0], 2, axis=0), np.zeros(2), None),
        encode_example(image, 5, 40, 30, *nobody, None),
        encode_example(image, 6, 40, 30, np.full((1, 17, 3), np.nan), box * np.nan, np.ones(1), None),
    ]


def test_degenerate_records_give_finite_batches(tmp_path, make_dataset):
    dataset = make_dataset(tmp_path, {"train": degenerate_examples(), "val": degenerate_examples()})
    for images, maps in training_batches(dataset, 32, 32, 3, seed=0).take(4):
        assert np.isfinite(images).all() and all(np.isfinite(values).all() for values in maps.values())
    for batch in evaluation_people(dataset, "val", 32, 32, 4):
        assert np.isfinite(batch["image"]).all() and np.isfinite(batch["warp"]).all()
        assert np.isfinite(batch["keypoints"]).all()
        assert (batch["keypoints"].numpy()[..., :2] < 41).all()  # keypoints outside their image are unlabelled


def test_degenerate_records_give_finite_scores(tmp_path, make_dataset):
    dataset = make_dataset(tmp_path, {"val": degenerate_examples()})
    scores = evaluate(build_pose_network(32, 32, 0.125), dataset, "val", batch_size=4)
    assert np.isfinite([scores.pck, *scores.oks.values()]).all()


def test_keypoints_outside_the_image_do_not_contribute_to_maps(tmp_path, make_dataset):
    dataset = make_dataset(tmp_path, {"train": degenerate_examples()[2:3]})
    _, maps = next(iter(training_batches(dataset, 32, 32, 1, seed=0)))
    assert (maps["confidence"].numpy()[..., :18] == 0).all() and (maps["affinity"].numpy() == 0).all()


def test_folders_without_a_complete_pose_dataset_are_refused(tmp_path, pose_dataset):
    with pytest.raises(InputError, match=r"data_prep\.coco"):
        read_pose_dataset(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(pose_dataset.path, copy)
    next(copy.glob("val-*")).unlink()
    with pytest.raises(InputError, match="missing"):
        read_pose_dataset(copy)
    stored = json.loads((copy / "dataset.json").read_text())
    for damage, message in (
        (stored | {"kind": "reid"}, "'reid'"),
        (stored | {"splits": {"train": stored["splits"]["train"]}}, "no people in split 'val'"),
        ({"kind": "pose"}, "no entry 'name'"),
        ([], "not a JSON object"),
    ):
        (copy / "dataset.json").write_text(json.dumps(damage))
        with pytest.raises(InputError, match=message):
            read_pose_dataset(copy)


def test_default_sigma_is_that_of_openpose_at_its_input_size():
    assert default_sigma(368, 368) == 7
    assert default_sigma(736, 368) == 14
    assert default_sigma(64, 64) == 6
