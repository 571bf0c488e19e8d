import numpy as np
import pytest

from lrdnn_base.errors import InputError
from pose_pretrain import evaluate as pose_evaluate
from pose_pretrain.evaluate import (
    People,
    boxes_in_crops,
    evaluate,
    find_people,
    keypoint_table,
    oks_ap,
    overall_pck,
    report,
    to_image,
    torso_lengths,
    unflip_affinity,
    unflip_confidence,
)
from pose_pretrain.network import build_pose_network
from pose_pretrain.skeleton import FLIP, KEYPOINTS, from_coco
from pose_pretrain.targets import affinity_maps, confidence_maps

HEIGHT, WIDTH = 10, 8  # cells


def one_person(rng, count):
    """Keypoints [count, 18, 3], all labelled, at a distance from the edge of the maps."""
    keypoints = np.full((count, 18, 3), 2, np.float32)
    keypoints[..., :2] = rng.uniform(8, [8 * WIDTH - 9, 8 * HEIGHT - 9], (count, 18, 2))
    return keypoints


def test_unflipping_inverts_the_effect_of_mirroring_the_image():
    rng = np.random.default_rng(3)
    people = one_person(rng, 6).reshape(2, 3, 18, 3)
    mirrored = people[:, :, list(FLIP)] * [-1, 1, 1] + [8 * WIDTH - 1, 0, 0]
    size = (HEIGHT, WIDTH)
    np.testing.assert_allclose(
        unflip_confidence(confidence_maps(mirrored.astype(np.float32), *size, 7.0)),
        confidence_maps(people, *size, 7.0),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        unflip_affinity(affinity_maps(mirrored.astype(np.float32), *size, 1.0)),
        affinity_maps(people, *size, 1.0),
        atol=1e-4,
    )


def test_to_image_inverts_the_warp():
    rng = np.random.default_rng(4)
    keypoints = one_person(rng, 3)
    warps = np.tile(np.eye(3, dtype=np.float32), (3, 1, 1))
    warps[:, :2] = rng.normal(size=(3, 2, 3)) + np.array([[2, 0, 0], [0, 2, 0]])
    moved = np.einsum("nij,nkj->nki", warps[:, :2, :2], keypoints[..., :2]) + warps[:, None, :2, 2]
    back = to_image(np.concatenate([moved, keypoints[..., 2:]], axis=-1), warps)
    np.testing.assert_allclose(back, keypoints, rtol=1e-3, atol=1e-2)


def test_boxes_in_crops_are_scaled_and_shifted():
    warp = np.array([[[2, 0, 5], [0, 2, -3], [0, 0, 1]]], np.float32)
    np.testing.assert_array_equal(boxes_in_crops(np.array([[1, 2, 3, 4]], np.float32), warp), [[7, 1, 6, 8]])


def people_of(keypoints, found, images=None):
    count = len(keypoints)
    return People(
        image_id=np.arange(count) if images is None else images,
        image_size=np.full((count, 2), 400),
        box=np.tile(np.array([50, 50, 150, 250], np.float32), (count, 1)),
        area=np.full(count, 20000, np.float32),
        keypoints=keypoints,
        found=found,
    )


def test_oks_ap_is_one_for_the_labels_and_zero_for_distant_keypoints(make_keypoints):
    rng = np.random.default_rng(5)
    keypoints = from_coco(make_keypoints(rng, 6, 300, 300))
    images = np.array([7, 7, 7, 8, 8, 9])
    exact = oks_ap(people_of(keypoints, keypoints.copy(), images))
    assert exact["AP"] == pytest.approx(1) and exact["AR"] == pytest.approx(1)
    elsewhere = keypoints + np.array([1000, 1000, 0], np.float32)
    assert oks_ap(people_of(keypoints, elsewhere, images))["AP"] == 0


def test_oks_ap_decreases_with_distance(make_keypoints):
    rng = np.random.default_rng(6)
    keypoints = from_coco(make_keypoints(rng, 8, 300, 300))
    ap = [oks_ap(people_of(keypoints, keypoints + np.array([error, 0, 0])))["AP"] for error in (0, 8, 16)]
    assert ap[0] > ap[1] > ap[2]


def test_pck_equals_a_count_by_hand():
    names = {name: number for number, name in enumerate(KEYPOINTS)}
    keypoints, found = np.zeros((2, 18, 3), np.float32), np.zeros((2, 18, 3), np.float32)
    keypoints[:, names["left_shoulder"]] = [0, 0, 2]
    keypoints[:, names["right_hip"]] = [30, 40, 1]  # the torso is 50 long, so the tolerance is 10 pixels
    keypoints[:, names["nose"]] = [100, 100, 2]
    found[:, names["right_hip"], :2] = [30, 40]
    found[0, names["nose"], :2] = [100, 109.9]
    found[1, names["nose"], :2] = [100, 110.1]
    table = keypoint_table(keypoints, found)
    assert table.loc["nose"].tolist() == [2, 1, 0.5]
    assert table.loc["right_hip"].tolist() == [2, 2, 1]
    assert table.loc["left_eye", "labelled"] == 0 and np.isnan(table.loc["left_eye", "pck"])
    assert overall_pck(table) == pytest.approx(5 / 6)


def test_people_without_a_torso_are_excluded():
    keypoints = np.zeros((3, 18, 3), np.float32)
    keypoints[:, 0] = [5, 5, 2]
    keypoints[1, [KEYPOINTS.index("left_shoulder"), KEYPOINTS.index("right_hip")]] = [7, 7, 2]  # torso of length 0
    np.testing.assert_array_equal(torso_lengths(keypoints), 0)
    table = keypoint_table(keypoints, keypoints)
    assert table["labelled"].sum() == 0 and overall_pck(table) == 0


def test_evaluate_gives_full_scores_for_the_true_maps(pose_dataset, monkeypatch):
    """Crops, decoding and scores agree on coordinates, from records to scores."""
    network = build_pose_network(128, 128, 0.125)
    found = find_people(network, pose_dataset, "val")
    truth = iter([found.keypoints])

    def true_maps(network, images, flip):
        crops = np.concatenate([b["warp"] for b in pose_evaluate.evaluation_people(pose_dataset, "val", 128, 128, 99)])
        keypoints = next(truth)
        xy = np.einsum("nij,nkj->nki", crops[:, :2, :2], keypoints[..., :2]) + crops[:, None, :2, 2]
        people = np.concatenate([xy, keypoints[..., 2:]], axis=-1).astype(np.float32)
        return confidence_maps(people[:, None], 16, 16, 7.0), affinity_maps(people[:, None], 16, 16, 1.0)

    monkeypatch.setattr(pose_evaluate, "final_maps", true_maps)
    scores = evaluate(network, pose_dataset, "val", batch_size=99)
    assert scores.oks["AP"] > 0.99
    assert scores.pck == pytest.approx(1)
    assert "PCK@0.2 1.000" in report(scores) and "nan" not in report(scores).lower()


def test_flip_averaging_makes_mirrored_images_equal(pose_dataset):
    """With averaging, an image and its mirror image give mirrored maps, for any network."""
    network = build_pose_network(32, 32, 0.125)
    images = np.random.default_rng(7).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    confidence, affinity = pose_evaluate.final_maps(network, images, flip=True)
    confidence_m, affinity_m = pose_evaluate.final_maps(network, images[:, :, ::-1], flip=True)
    np.testing.assert_allclose(unflip_confidence(confidence_m), confidence, atol=1e-4)
    np.testing.assert_allclose(unflip_affinity(affinity_m), affinity, atol=1e-4)


def test_a_split_without_people_is_refused(tmp_path, make_dataset, make_example):
    rng = np.random.default_rng(8)
    dataset = make_dataset(tmp_path, {"val": [make_example(rng, 1, 40, 40, 0)]})
    with pytest.raises(InputError, match="no people with labelled keypoints"):
        evaluate(build_pose_network(32, 32, 0.125), dataset, "val")
