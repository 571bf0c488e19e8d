"""Pictures of the fusion: pose maps over crops (the paper's Fig. 2), responses of the features (Fig. 4), and the
weights that the channel parse block gives to keypoints and limbs."""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
import tensorflow as tf
import tf_keras as keras
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lrdnn_tf.config import ModelConfig
from lrdnn_tf.data.decode import decode_image
from lrdnn_tf.data.split import Split
from lrdnn_tf.model.channel_weights import ChannelWeights, by_name
from lrdnn_tf.model.lrdnn import POSE_BRANCH
from pose_pretrain.decode import find_keypoints
from pose_pretrain.evaluate import final_maps
from pose_pretrain.pictures import draw_heat, draw_panel, enlarge

POSE_CAPTIONS = ("image", "confidence maps", "affinity maps", "keypoints")
RESPONSE_CAPTIONS = ("image", "main branch", "aligned", "fused")
_WEIGHED_IMAGES = 128  # enough for the mean and the standard deviation of channel weights
UP, DOWN = "#0f766e", "#d97706"  # colours of weights above and below that of an untrained block
_INK, _MUTED, _GRID = "#1f2933", "#5b6776", "#e3e7ec"
_UNTRAINED = 0.5  # weight before training: the sigmoid of 0


@dataclasses.dataclass(frozen=True)
class FusionFindings:
    """The report's pictures and numbers of a fusion; panels are uint8 RGB [h, w, 3].

    Attributes:
        pose_panels: Panels returned by `pose_panels`.
        response_panels: Panels returned by `response_panels`; empty where pooled vectors are fused.
        channel_weights: Table returned by `lrdnn_tf.model.channel_weights.ChannelWeights`; None without channel
            parsing.
    """

    pose_panels: list[np.ndarray]
    response_panels: list[np.ndarray]
    channel_weights: pd.DataFrame | None


def fusion_findings(
    model: keras.Model, config: ModelConfig, query: Split, indices: Sequence[int]
) -> FusionFindings | None:
    """Pose maps and responses of these queries, and channel weights over many; None without a pose branch."""
    if not config.has_pose_branch:
        return None
    weights = None
    if config.channel_parse:
        count = min(len(query), _WEIGHED_IMAGES)
        spread = np.unique(np.linspace(0, len(query) - 1, count).round().astype(int))
        weights = ChannelWeights(model, config.pose_maps)(_pixels(config, query, spread))
    images = _pixels(config, query, indices)
    responding = response_panels(model, images) if has_responses(config) else []
    return FusionFindings(pose_panels(model, images), responding, weights)


def _pixels(config: ModelConfig, split: Split, indices: Sequence[int]) -> np.ndarray:
    """Images of a split as a model's input: float32 [B, height, width, 3]."""
    return np.stack([decode_image(image, config.height, config.width) for image in split.image_files(indices)])


def pose_panels(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    """Image, confidence maps, affinity maps and keypoints side by side, for each image.

    Args:
        model: Model returned by `lrdnn_tf.model.lrdnn.build_model`, with a pose branch.
        images: float32 [B, height, width, 3], RGB 0..255.

    Returns:
        uint8 RGB [h, w, 3] for each image.
    """
    branch = model.get_layer(POSE_BRANCH)
    images = tf.image.resize(images, branch.input_shape[1:3]).numpy()
    maps = [values.numpy() for values in final_maps(branch, images)]
    return [draw_panel(*parts) for parts in zip(images, *maps, find_keypoints(*maps), strict=True)]


def has_responses(config: ModelConfig) -> bool:
    """Whether a model fuses maps, so that `responses` can show where its features respond."""
    return config.has_pose_branch and config.fuse == "maps"


def responses(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The response of each position of the feature map F: of the main branch, aligned, and fused.

    Main branch: the length of F's vector at a position. Aligned: the same after the BatchNorm that precedes the fusion.
    Fused: the length of the outer product of both branches' vectors there, which this position adds to the bilinear
    vector. It is the aligned length times that of the pose maps' vector, so that aligned is the control of fused: the
    pose maps alone make the difference between these two.

    Args:
        model: Model returned by `lrdnn_tf.model.lrdnn.build_model`, which fuses maps.
        images: float32 [B, height, width, 3], RGB 0..255.

    Returns:
        Three float32 [B, h, w].
    """
    align = model.get_layer("align_features")
    parts = keras.Model(model.input, [align.input, align.output, model.get_layer("pose_pool").output])
    features, aligned, maps = (np.linalg.norm(values.numpy(), axis=-1) for values in parts(images, training=False))
    return features, aligned, aligned * maps


def response_panels(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    """Image and the three `responses` to it side by side, for each image: uint8 RGB [h, w, 3]."""
    return [
        np.concatenate([enlarge(image), *(_heat(image, response) for response in three)], axis=1)
        for image, *three in zip(images, *responses(model, images), strict=True)
    ]


def sheet(panels: Sequence[np.ndarray], captions: Sequence[str], columns: int = 2) -> np.ndarray:
    """Panels of one size in rows of `columns`, under captions of their parts: uint8 RGB [h, w, 3]."""
    height, width, _ = panels[0].shape
    gap = 12
    head = np.full([28, width + gap, 3], 255, np.uint8)
    for number, caption in enumerate(captions):
        position = (number * width // len(captions) + 4, 19)
        cv2.putText(head, caption, position, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (31, 41, 51), 1, cv2.LINE_AA)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    page = np.full([rows * (height + gap), columns * (width + gap), 3], 255, np.uint8)
    for number, panel in enumerate(panels):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        page[top : top + height, left : left + width] = panel
    return np.concatenate([np.tile(head, [1, columns, 1]), page])


def channel_weight_chart(weights: pd.DataFrame) -> np.ndarray:
    """Bars from 0.5, the weight of an untrained block, to the mean weight of each keypoint and limb.

    Args:
        weights: Table returned by `lrdnn_tf.model.channel_weights.ChannelWeights`.

    Returns:
        uint8 RGB [h, w, 3].
    """
    means = by_name(weights)
    kinds = list(dict.fromkeys(means.index.get_level_values("kind")))
    figure = Figure(figsize=(5.2 * len(kinds), 5.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    reach = 1.1 * max(0.02, float((means - _UNTRAINED).abs().max()))
    for axes, kind in zip(np.atleast_1d(figure.subplots(1, len(kinds))), kinds, strict=True):
        shown = means[kind]
        colours = [UP if value > _UNTRAINED else DOWN for value in shown]
        axes.barh(range(len(shown)), shown - _UNTRAINED, left=_UNTRAINED, color=colours, height=0.7)
        axes.set_yticks(range(len(shown)), shown.index)
        axes.set_title(f"{kind}s", loc="left", color=_INK, fontsize=11)
        axes.set(xlim=(_UNTRAINED - reach, _UNTRAINED + reach), ylim=(len(shown) - 0.4, -0.6))
        axes.axvline(_UNTRAINED, color=_MUTED, linewidth=1)
        axes.xaxis.get_major_locator().set_params(nbins=5)
        axes.grid(axis="x", color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
        axes.tick_params(colors=_MUTED, labelsize=9, length=0)
    figure.supxlabel("mean weight", color=_INK, fontsize=10)
    figure.set_dpi(160)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _heat(image: np.ndarray, response: np.ndarray) -> np.ndarray:
    """The response, from its smallest value (blue) to its largest (red), half transparent over the grey image."""
    large = enlarge(image)
    grey = cv2.cvtColor(cv2.cvtColor(large, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    share = (response - response.min()) / max(float(np.ptp(response)), 1e-12)
    return draw_heat(grey, share)
