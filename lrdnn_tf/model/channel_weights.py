"""Which keypoints and limbs the channel parse block turns up and down, by name."""

import numpy as np
import pandas as pd
import tf_keras as keras

from pose_pretrain.skeleton import KEYPOINTS, LIMB_NAMES

CHANNEL_PARSE = "channel_parse"  # the layer's name in the model


def channel_names(pose_maps: str) -> pd.DataFrame:
    """A row per channel of the pose maps, in their order: kind ("keypoint" or "limb"), name, axis ("", "x" or "y").

    Args:
        pose_maps: "confidence", "affinity" or "both", as in ModelConfig.
    """
    keypoints = [("keypoint", name.replace("_", " "), "") for name in (*KEYPOINTS, "background")]
    limbs = [("limb", f"{start} to {end}".replace("_", " "), axis) for start, end in LIMB_NAMES for axis in ("x", "y")]
    rows = {"confidence": keypoints, "affinity": limbs, "both": keypoints + limbs}[pose_maps]
    return pd.DataFrame(rows, columns=["kind", "name", "axis"])


class ChannelWeights:
    """The part of a model that goes from its images to the weights of its channel parse block.

    Args:
        model: Of `lrdnn_tf.model.lrdnn.build_model`, with channel parsing; its weights may change later on.
        pose_maps: Of its config.
    """

    def __init__(self, model: keras.Model, pose_maps: str):
        block = model.get_layer(CHANNEL_PARSE)
        self.model = keras.Model(model.input, block.channel_weights(block.input))
        self.names = channel_names(pose_maps)

    def __call__(self, images: np.ndarray) -> pd.DataFrame:
        """Over float32 images [B, height, width, 3], RGB 0..255.

        Returns:
            `channel_names` with the columns weight, the mean over the images (0..1), and spread, their standard
            deviation.
        """
        weights = self.model(images, training=False).numpy()[:, 0, 0]
        return self.names.assign(weight=weights.mean(axis=0), spread=weights.std(axis=0))


def by_name(weights: pd.DataFrame) -> pd.Series:
    """Mean weight of each keypoint and limb, indexed by (kind, name); a limb's x and y count as one."""
    return weights.groupby(["kind", "name"], sort=False)["weight"].mean()
