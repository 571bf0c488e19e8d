"""Evaluates a pose network on people whose boxes are given: OKS AP, computed by pycocotools, and PCK@0.2.

Each labelled person is cropped, and decode.find_keypoints selects the person who fits the box best.
"""

import contextlib
import dataclasses
import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import tensorflow as tf
import tf_keras as keras
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tqdm import tqdm

from lrdnn_base.errors import InputError
from pose_pretrain.decode import find_keypoints
from pose_pretrain.pipeline import PoseDataset, evaluation_people
from pose_pretrain.skeleton import COCO_KEYPOINTS, FLIP, FLIP_LIMBS, KEYPOINTS, to_coco

PCK_SHARE = 0.2
_AP_NAMES = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")
_TORSO = (("left_shoulder", "right_hip"), ("right_shoulder", "left_hip"))


@dataclasses.dataclass(frozen=True)
class People:
    """Labelled people and the keypoints found for them, in pixels of their images.

    Attributes:
        image_id: int64 [N].
        image_size: int64 [N, 2], height and width.
        box: float32 [N, 4], x, y, width, height.
        area: float32 [N], in square pixels.
        keypoints: float32 [N, 18, 3], the labels: x, y, visibility.
        found: float32 [N, 18, 3], the predictions: x, y, score.
    """

    image_id: np.ndarray
    image_size: np.ndarray
    box: np.ndarray
    area: np.ndarray
    keypoints: np.ndarray
    found: np.ndarray


@dataclasses.dataclass(frozen=True)
class PoseScores:
    """Scores of a network.

    Attributes:
        oks: AP and AR, 0..1, by name ("AP", "AP50", ...); -1 where there are no people of that size.
        pck: PCK@0.2 over COCO's 17 keypoints, 0..1.
        table: `keypoint_table`.
    """

    oks: dict[str, float]
    pck: float
    table: pd.DataFrame


def evaluate(
    network: keras.Model, dataset: PoseDataset, split: str, batch_size: int = 16, flip: bool = False
) -> PoseScores:
    """Finds the keypoints of all labelled people of a split and scores them.

    Args:
        network: Network returned by build_pose_network; its input size is the size of the crops, as in training.
        dataset: Dataset returned by read_pose_dataset.
        split: Name of one of its splits.
        batch_size: People per step.
        flip: Whether maps are averaged with those of the mirrored image.

    Raises:
        InputError: The split has no people with a labelled keypoint.
    """
    people = find_people(network, dataset, split, batch_size, flip)
    table = keypoint_table(people.keypoints, people.found)
    return PoseScores(oks_ap(people), overall_pck(table), table)


def find_people(
    network: keras.Model, dataset: PoseDataset, split: str, batch_size: int = 16, flip: bool = False
) -> People:
    """Finds the keypoints of all labelled people of a split; the arguments are those of evaluate."""
    batches = []
    total = -(-dataset.splits[split]["people"] // batch_size)
    crops = evaluation_people(dataset, split, *network.input_shape[1:3], batch_size)
    for batch in tqdm(crops, total=total, desc="keypoints", disable=None):
        confidence, affinity = (maps.numpy() for maps in final_maps(network, batch["image"], flip))
        batch = {name: value.numpy() for name, value in batch.items() if name != "image"}
        found = find_keypoints(confidence, affinity, boxes_in_crops(batch["box"], batch["warp"]))
        batches.append(batch | {"found": to_image(found, batch["warp"])})
    columns = [field.name for field in dataclasses.fields(People)]
    people = {name: np.concatenate([batch[name] for batch in batches]) for name in columns} if batches else {}
    labelled = (people["keypoints"][..., 2] > 0).any(axis=1) if batches else np.zeros(0, bool)
    if not labelled.any():
        raise InputError(f"split {split!r} of {dataset.path} has no people with labelled keypoints to evaluate")
    return People(**{name: column[labelled] for name, column in people.items()})


def final_maps(network: keras.Model, images: tf.Tensor, flip: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes confidence and affinity maps of the last stage.

    Args:
        network: Network returned by build_pose_network.
        images: float32 [B, height, width, 3], RGB 0..255.
        flip: Whether to average with the maps of the mirrored images, mirrored back.

    Returns:
        float32 [B, h, w, 19] and [B, h, w, 38].
    """
    *_, confidence, affinity = network(images, training=False)
    if not flip:
        return confidence, affinity
    *_, mirrored_confidence, mirrored_affinity = network(images[:, :, ::-1], training=False)
    confidence = (confidence + unflip_confidence(mirrored_confidence)) / 2
    return confidence, (affinity + unflip_affinity(mirrored_affinity)) / 2


def unflip_confidence(maps: tf.Tensor) -> tf.Tensor:
    """Converts confidence maps [B, h, w, 19] of a mirrored image to those of the original image."""
    return tf.gather(maps[:, :, ::-1], [*FLIP, len(FLIP)], axis=-1)


def unflip_affinity(maps: tf.Tensor) -> tf.Tensor:
    """Converts affinity maps [B, h, w, 38] of a mirrored image to those of the original image."""
    order = [2 * limb + axis for limb in FLIP_LIMBS for axis in (0, 1)]
    return tf.gather(maps[:, :, ::-1], order, axis=-1) * tf.constant([-1.0, 1.0] * len(FLIP_LIMBS))


def boxes_in_crops(boxes: np.ndarray, warps: np.ndarray) -> np.ndarray:
    """Maps boxes [N, 4] of the original images to pixels of their crops, by warps [N, 3, 3] that do not rotate."""
    scale = warps[:, 0, 0, None]
    return np.concatenate([boxes[:, :2] * scale + warps[:, :2, 2], boxes[:, 2:] * scale], axis=1)


def to_image(keypoints: np.ndarray, warps: np.ndarray) -> np.ndarray:
    """Maps keypoints [N, 18, 3] of crops to the original images, by the inverse of warps [N, 3, 3]."""
    back = np.linalg.inv(warps)
    moved = np.einsum("nij,nkj->nki", back[:, :2, :2], keypoints[..., :2]) + back[:, None, :2, 2]
    return np.concatenate([moved, keypoints[..., 2:]], axis=-1).astype(np.float32)


def oks_ap(people: People) -> dict[str, float]:
    """Computes AP and AR over object keypoint similarity with pycocotools, by name, for COCO's 17 keypoints."""
    labels, predictions = to_coco(people.keypoints), to_coco(people.found)
    truth = [{"keypoints": one.ravel().tolist(), "num_keypoints": int((one[:, 2] > 0).sum())} for one in labels]
    found = [{"keypoints": one.ravel().tolist(), "score": float(one[:, 2].mean())} for one in predictions]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluator = COCOeval(_coco(people, truth), _coco(people, found), "keypoints")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return dict(zip(_AP_NAMES, evaluator.stats.tolist(), strict=True))


def _coco(people: People, annotations: list[dict]) -> COCO:
    """Builds a pycocotools dataset with the given annotation of each person."""
    coco = COCO()
    sizes = dict(zip(people.image_id.tolist(), people.image_size.tolist(), strict=True))
    columns = zip(people.image_id, people.area, people.box.tolist(), annotations, strict=True)
    coco.dataset = {
        "images": [{"id": image, "height": height, "width": width} for image, (height, width) in sizes.items()],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": number, "image_id": int(image), "category_id": 1, "iscrowd": 0, "area": float(area), "bbox": box}
            | annotation
            for number, (image, area, box, annotation) in enumerate(columns, 1)
        ],
    }
    coco.createIndex()
    return coco


def keypoint_table(keypoints: np.ndarray, found: np.ndarray, share: float = PCK_SHARE) -> pd.DataFrame:
    """Computes PCK per keypoint, with a tolerance relative to the person's torso (Yang and Ramanan, 2013).

    The torso is the longer of left shoulder - right hip and right shoulder - left hip, of those labelled.
    People without a labelled torso are excluded.

    Args:
        keypoints: float [N, 18, 3], the labels; all with v > 0 count, including hidden ones.
        found: float [N, 18, 3], the predictions.
        share: The tolerance as a share of the torso's length.

    Returns:
        One row per keypoint: labelled (count), found (count), pck (found / labelled, NaN where none is labelled).
    """
    torso = torso_lengths(keypoints)
    counted = (keypoints[..., 2] > 0) & (torso > 0)[:, None]
    distance = np.linalg.norm(found[..., :2] - keypoints[..., :2], axis=-1)
    correct = counted & (distance <= share * torso[:, None])
    table = pd.DataFrame({"labelled": counted.sum(axis=0), "found": correct.sum(axis=0)}, index=list(KEYPOINTS))
    table["pck"] = table["found"] / table["labelled"].where(table["labelled"] > 0)
    return table.rename_axis("keypoint")


def overall_pck(table: pd.DataFrame) -> float:
    """Computes PCK over all labels of COCO's 17 keypoints (the neck is a mean of them); 0 without labels."""
    counts = table.loc[list(COCO_KEYPOINTS)].sum()
    return float(counts["found"] / max(counts["labelled"], 1))


def torso_lengths(keypoints: np.ndarray) -> np.ndarray:
    """Computes each person's torso length [N] in pixels from keypoints [N, 18, 3]; 0 where it is not labelled."""

    def diagonal(shoulder: str, hip: str) -> np.ndarray:
        ends = keypoints[:, [KEYPOINTS.index(shoulder), KEYPOINTS.index(hip)]]
        return np.linalg.norm(ends[:, 0, :2] - ends[:, 1, :2], axis=-1) * (ends[..., 2] > 0).all(axis=1)

    return np.max([diagonal(*ends) for ends in _TORSO], axis=0)


def report(scores: PoseScores) -> str:
    """Formats the scores as text for a terminal."""
    lines = [scores.table.to_string(formatters={"pck": lambda pck: "-" if np.isnan(pck) else f"{pck:.3f}"}), ""]
    lines += [f"PCK@{PCK_SHARE} {scores.pck:.3f}", _row(scores.oks, _AP_NAMES[:5]), _row(scores.oks, _AP_NAMES[5:])]
    return "\n".join(lines)


def _row(oks: dict[str, float], names: Sequence[str]) -> str:
    # pycocotools returns -1 where there are no people of that size.
    return "   ".join(f"{name} {'-' if oks[name] < 0 else format(oks[name], '.3f')}" for name in names)
