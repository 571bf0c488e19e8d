"""Maps to keypoints, and how good they are: OKS AP as pycocotools counts it, and PCK@0.2.

Person boxes are given: each labelled person is cut out, and decode.find_keypoints looks for who fits that box.
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
    """Labelled people and what was found of them, in pixels of their images.

    Attributes:
        image_id: int64 [N].
        image_size: int64 [N, 2], height and width.
        box: float32 [N, 4], x, y, width, height.
        area: float32 [N].
        keypoints: float32 [N, 18, 3], the labels: x, y, visibility.
        found: float32 [N, 18, 3]: x, y, score.
    """

    image_id: np.ndarray
    image_size: np.ndarray
    box: np.ndarray
    area: np.ndarray
    keypoints: np.ndarray
    found: np.ndarray


@dataclasses.dataclass(frozen=True)
class PoseScores:
    """Attributes: oks, AP and AR by pycocotools' names; pck, over COCO's 17 keypoints; table, per keypoint."""

    oks: dict[str, float]
    pck: float
    table: pd.DataFrame


def evaluate(
    network: keras.Model,
    dataset: PoseDataset,
    split: str,
    height: int,
    width: int,
    batch_size: int = 16,
    flip: bool = False,
) -> PoseScores:
    """Finds everybody in a split and scores it.

    Args:
        network: Of build_pose_network, for height x width input.
        dataset, split: Of read_pose_dataset, and which of its splits.
        height, width: Size of the crops, as in training.
        flip: Whether maps are averaged with those of the mirrored image.

    Raises:
        InputError: nobody in the split has a labelled keypoint.
    """
    people = find_people(network, dataset, split, height, width, batch_size, flip)
    table = keypoint_table(people.keypoints, people.found)
    return PoseScores(oks_ap(people), overall_pck(table), table)


def find_people(
    network: keras.Model,
    dataset: PoseDataset,
    split: str,
    height: int,
    width: int,
    batch_size: int = 16,
    flip: bool = False,
) -> People:
    """The labelled people of a split, and what the network finds in their boxes. See evaluate."""
    batches = []
    total = -(-dataset.splits[split]["people"] // batch_size)
    crops = evaluation_people(dataset, split, height, width, batch_size)
    for batch in tqdm(crops, total=total, desc="keypoints", disable=None):
        confidence, affinity = (maps.numpy() for maps in final_maps(network, batch["image"], flip))
        batch = {name: value.numpy() for name, value in batch.items() if name != "image"}
        found = find_keypoints(confidence, affinity, boxes_in_crops(batch["box"], batch["warp"]))
        batches.append(batch | {"found": to_image(found, batch["warp"])})
    columns = [field.name for field in dataclasses.fields(People)]
    people = {name: np.concatenate([batch[name] for batch in batches]) for name in columns} if batches else {}
    labelled = (people["keypoints"][..., 2] > 0).any(axis=1) if batches else np.zeros(0, bool)
    if not labelled.any():
        raise InputError(f"split {split!r} of {dataset.path} has nobody with a labelled keypoint: nothing to evaluate")
    return People(**{name: column[labelled] for name, column in people.items()})


def final_maps(network: keras.Model, images: tf.Tensor, flip: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """Confidence and affinity maps of the last stage.

    Args:
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
    """Confidence maps of a mirrored image as the image itself should give them."""
    return tf.gather(maps[:, :, ::-1], [*FLIP, len(FLIP)], axis=-1)


def unflip_affinity(maps: tf.Tensor) -> tf.Tensor:
    """Affinity maps of a mirrored image as the image itself should give them: limbs renamed, x negated."""
    order = [2 * limb + axis for limb in FLIP_LIMBS for axis in (0, 1)]
    return tf.gather(maps[:, :, ::-1], order, axis=-1) * tf.constant([-1.0, 1.0] * len(FLIP_LIMBS))


def boxes_in_crops(boxes: np.ndarray, warps: np.ndarray) -> np.ndarray:
    """Boxes [N, 4] of the original images in pixels of their crops, for warps [N, 3, 3] that do not rotate."""
    scale = warps[:, 0, 0, None]
    return np.concatenate([boxes[:, :2] * scale + warps[:, :2, 2], boxes[:, 2:] * scale], axis=1)


def to_image(keypoints: np.ndarray, warps: np.ndarray) -> np.ndarray:
    """Moves keypoints [N, 18, 3] from their crops back to the original images, by the inverse of warps [N, 3, 3]."""
    back = np.linalg.inv(warps)
    moved = np.einsum("nij,nkj->nki", back[:, :2, :2], keypoints[..., :2]) + back[:, None, :2, 2]
    return np.concatenate([moved, keypoints[..., 2:]], axis=-1).astype(np.float32)


def oks_ap(people: People) -> dict[str, float]:
    """Average precision and recall over object keypoint similarity, by pycocotools, COCO's 17 keypoints."""
    truth, found = COCO(), COCO()
    category = [{"id": 1, "name": "person"}]
    sizes = dict(zip(people.image_id.tolist(), people.image_size.tolist(), strict=True))
    images = [{"id": image, "height": height, "width": width} for image, (height, width) in sizes.items()]
    labels, guesses = to_coco(people.keypoints), to_coco(people.found)
    common = [
        {"id": number, "image_id": int(image), "category_id": 1, "iscrowd": 0, "area": float(area), "bbox": box}
        for number, (image, area, box) in enumerate(
            zip(people.image_id, people.area, people.box.tolist(), strict=True), 1
        )
    ]
    truth.dataset = {
        "images": images,
        "categories": category,
        "annotations": [
            entry | {"keypoints": label.ravel().tolist(), "num_keypoints": int((label[:, 2] > 0).sum())}
            for entry, label in zip(common, labels, strict=True)
        ],
    }
    found.dataset = {
        "images": images,
        "categories": category,
        "annotations": [
            entry | {"keypoints": guess.ravel().tolist(), "score": float(guess[:, 2].mean())}
            for entry, guess in zip(common, guesses, strict=True)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        truth.createIndex()
        found.createIndex()
        judge = COCOeval(truth, found, "keypoints")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return dict(zip(_AP_NAMES, judge.stats.tolist(), strict=True))


def keypoint_table(keypoints: np.ndarray, found: np.ndarray, share: float = PCK_SHARE) -> pd.DataFrame:
    """PCK per keypoint: how often it is found within a share of the person's torso (Yang and Ramanan, 2013).

    The torso is the longer of left shoulder - right hip and right shoulder - left hip, of those labelled.
    People without a labelled torso have no such length and are left out.

    Args:
        keypoints: float [N, 18, 3], the labels; only keypoints with v > 0 count, hidden ones too.
        found: float [N, 18, 3].
        share: Of the torso's length.

    Returns:
        A row per keypoint: labelled (count), found (count), pck (found / labelled, NaN where none is labelled).
    """
    torso = torso_lengths(keypoints)
    counted = (keypoints[..., 2] > 0) & (torso > 0)[:, None]
    distance = np.linalg.norm(found[..., :2] - keypoints[..., :2], axis=-1)
    right = counted & (distance <= share * torso[:, None])
    table = pd.DataFrame({"labelled": counted.sum(axis=0), "found": right.sum(axis=0)}, index=list(KEYPOINTS))
    table["pck"] = table["found"] / table["labelled"].where(table["labelled"] > 0)
    return table.rename_axis("keypoint")


def overall_pck(table: pd.DataFrame) -> float:
    """PCK over all labels of COCO's 17 keypoints (the neck is only a mean); 0 where there is none."""
    counts = table.loc[list(COCO_KEYPOINTS)].sum()
    return float(counts["found"] / max(counts["labelled"], 1))


def torso_lengths(keypoints: np.ndarray) -> np.ndarray:
    """Length of each person's torso in pixels, 0 where it is not labelled: [N, 18, 3] to [N]."""

    def diagonal(shoulder: str, hip: str) -> np.ndarray:
        ends = keypoints[:, [KEYPOINTS.index(shoulder), KEYPOINTS.index(hip)]]
        return np.linalg.norm(ends[:, 0, :2] - ends[:, 1, :2], axis=-1) * (ends[..., 2] > 0).all(axis=1)

    return np.max([diagonal(*ends) for ends in _TORSO], axis=0)


def report(scores: PoseScores) -> str:
    """The scores as text, for a terminal."""
    lines = [scores.table.to_string(formatters={"pck": lambda pck: "-" if np.isnan(pck) else f"{pck:.3f}"}), ""]
    lines += [f"PCK@{PCK_SHARE} {scores.pck:.3f}", _row(scores.oks, _AP_NAMES[:5]), _row(scores.oks, _AP_NAMES[5:])]
    return "\n".join(lines)


def _row(oks: dict[str, float], names: Sequence[str]) -> str:
    # pycocotools says -1 where there is nobody of that size.
    return "   ".join(f"{name} {'-' if oks[name] < 0 else format(oks[name], '.3f')}" for name in names)
