"""The body model: 18 keypoints, 19 limbs, and their conversion from and to COCO's 17 keypoints.

Order and limbs are those of OpenPose's COCO model (Cao et al., CVPR 2017), which LRDNN's pose branch retrains.
Left and right are the person's own.
"""

import numpy as np

KEYPOINTS = (
    "nose", "neck",
    "right_shoulder", "right_elbow", "right_wrist",
    "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle",
    "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip

COCO_KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip

LIMB_NAMES = (
    ("neck", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
    ("neck", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
    ("neck", "right_shoulder"), ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
    ("right_shoulder", "right_ear"),
    ("neck", "left_shoulder"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("left_shoulder", "left_ear"),
    ("neck", "nose"),
    ("nose", "right_eye"), ("nose", "left_eye"), ("right_eye", "right_ear"), ("left_eye", "left_ear"),
)  # fmt: skip

LIMBS = tuple((KEYPOINTS.index(start), KEYPOINTS.index(end)) for start, end in LIMB_NAMES)

CONFIDENCE_MAPS = len(KEYPOINTS) + 1  # the last map is the background
AFFINITY_MAPS = 2 * len(LIMBS)  # limb i has x in map 2i and y in map 2i + 1

_NECK = KEYPOINTS.index("neck")
_FROM_COCO = tuple(COCO_KEYPOINTS.index(name) for name in KEYPOINTS if name != "neck")
_TO_COCO = tuple(KEYPOINTS.index(name) for name in COCO_KEYPOINTS)
_LEFT_SHOULDER, _RIGHT_SHOULDER = COCO_KEYPOINTS.index("left_shoulder"), COCO_KEYPOINTS.index("right_shoulder")


def _mirrored(name: str) -> str:
    side, _, part = name.partition("_")
    return {"left": f"right_{part}", "right": f"left_{part}"}.get(side, name)


# keypoints[:, FLIP] swaps the names of left and right after an image was mirrored.
FLIP = tuple(KEYPOINTS.index(_mirrored(name)) for name in KEYPOINTS)
# Limb i of a mirrored image is limb FLIP_LIMBS[i] of the original, with the x map negated.
FLIP_LIMBS = tuple(LIMB_NAMES.index((_mirrored(start), _mirrored(end))) for start, end in LIMB_NAMES)


def from_coco(keypoints: np.ndarray) -> np.ndarray:
    """Converts COCO's 17 keypoints to the 18 of this module.

    Args:
        keypoints: [people, 17, 3], columns x, y in pixels and visibility (0 unlabelled, 1 hidden, 2 visible).

    Returns:
        [people, 18, 3] of the same dtype. The neck is the mean of the shoulders with the lower of their visibilities;
        it is unlabelled (0, 0, 0) unless both shoulders are labelled.
    """
    shoulders = keypoints[:, (_LEFT_SHOULDER, _RIGHT_SHOULDER)]
    neck = shoulders.mean(axis=1)
    neck[:, 2] = shoulders[:, :, 2].min(axis=1)
    neck[neck[:, 2] == 0] = 0
    return np.insert(keypoints[:, _FROM_COCO], _NECK, neck.astype(keypoints.dtype), axis=1)


def to_coco(keypoints: np.ndarray) -> np.ndarray:
    """Converts 18 keypoints to COCO's 17, without the neck: [people, 18, ...] to [people, 17, ...]."""
    return keypoints[:, _TO_COCO]
