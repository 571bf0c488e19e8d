"""The weights that the channel parse block gives to keypoints and limbs, by name."""

import numpy as np
import pandas as pd
import tf_keras as keras

from lrdnn_tf.model.channel_parse import CHANNEL_WEIGHTS
from pose_pretrain.skeleton import KEYPOINTS, LIMB_NAMES


def channel_names(pose_maps: str) -> pd.DataFrame:
    """Names the channels of the pose maps.

    Args:
        pose_maps: "confidence", "affinity" or "both", as in ModelConfig.

    Returns:
        One row per channel, in order, with columns kind ("keypoint" or "limb"), name, axis ("", "x" or "y").
    """
    keypoints = [("keypoint", name.replace("_", " "), "") for name in (*KEYPOINTS, "background")]
    limbs = [("limb", f"{start} to {end}".replace("_", " "), axis) for start, end in LIMB_NAMES for axis in ("x", "y")]
    rows = {"confidence": keypoints, "affinity": limbs, "both": keypoints + limbs}[pose_maps]
    return pd.DataFrame(rows, columns=["kind", "name", "axis"])


class ChannelWeights:
    """The part of a model that maps its images to the weights of its channel parse block.

    Args:
        model: Model returned by `lrdnn_tf.model.lrdnn.build_model`, with channel parsing. Its weights are shared, not
            copied.
        pose_maps: "confidence", "affinity" or "both", as in the model's config.
    """

    def __init__(self, model: keras.Model, pose_maps: str):
        self.model = keras.Model(model.input, model.get_layer(CHANNEL_WEIGHTS).output)
        self.names = channel_names(pose_maps)

    def __call__(self, images: np.ndarray) -> pd.DataFrame:
        """Computes the weights for float32 images [B, height, width, 3], RGB 0..255.

        Returns:
            `channel_names` with two more columns: weight, the mean over the images (0..1), and spread, the standard
            deviation.
        """
        weights = self.model(images, training=False).numpy()[:, 0, 0]
        return self.names.assign(weight=weights.mean(axis=0), spread=weights.std(axis=0))


def by_name(weights: pd.DataFrame) -> pd.Series:
    """Averages the weight of each keypoint and limb, indexed by (kind, name); a limb's x and y are averaged too."""
    return weights.groupby(["kind", "name"], sort=False)["weight"].mean()


def median_spread(weights: pd.DataFrame) -> float:
    """How much the weights depend on the image: the median over the channels of their standard deviation over images.

    Args:
        weights: Table returned by `ChannelWeights`.
    """
    return float(weights["spread"].median())
