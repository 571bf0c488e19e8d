"""The pose network: the front of VGG-19 and three two-stream stages (Cao et al., CVPR 2017; LRDNN, equation 2)."""

import os
import pathlib

import tensorflow as tf
import tf_keras as keras

from lrdnn_base.errors import InputError
from lrdnn_base.files import write_json
from lrdnn_base.imagenet import CaffePreprocessing, load_application_weights
from lrdnn_base.run_folder import CONFIG_FILE, WEIGHTS_FILE, read_run_json, save_weights
from pose_pretrain.skeleton import AFFINITY_MAPS, CONFIDENCE_MAPS

STRIDE = 8  # input pixels per map cell
STAGES = 3
STREAMS = (("confidence", CONFIDENCE_MAPS), ("affinity", AFFINITY_MAPS))


# Channels of VGG-19's first ten convolutions; a max pool stands between the blocks.
_VGG_BLOCKS = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512))


def build_pose_network(height: int | None, width: int | None, pose_width: float = 1.0) -> keras.Model:
    """Builds the pose network P(I) of equation 2.

    At pose_width 1 it is OpenPose's: plain convolutions, made to start from VGG-19's ImageNet weights.
    A narrower one starts from nothing and has few steps to learn in, so each of its inner convolutions
    is followed by batch normalization.

    Args:
        height, width: Input size in pixels, multiples of 8; None leaves a side open.
        pose_width: Factor on all inner channels, rounded to multiples of 8 and at least 8.

    Returns:
        Model from float32 RGB images [B, height, width, 3], 0..255, to a list of six float32 tensors
        [confidence 1, affinity 1, confidence 2, affinity 2, confidence 3, affinity 3]:
        [B, height/8, width/8, 19] and [..., 38]. They are float32 under every precision policy.

    Raises:
        InputError: height or width is not a positive multiple of 8, or pose_width is not above 0.
    """
    for name, size in (("height", height), ("width", width)):
        if size is not None and (size <= 0 or size % STRIDE):
            raise InputError(f"{name}={size} of the pose network is not a positive multiple of {STRIDE}")
    if pose_width <= 0:
        raise InputError(f"pose_width={pose_width} must be above 0; 1 is the paper's network")

    image = keras.Input([height, width, 3], name="pose_image")
    features = _stage0(image, pose_width)
    outputs = []
    fed = features
    for stage in range(1, STAGES + 1):
        maps = [_stream(fed, stage, stream, count, pose_width) for stream, count in STREAMS]
        outputs += maps
        if stage < STAGES:
            fed = keras.layers.Concatenate(name=f"pose_stage{stage + 1}_input")([features, *maps])
    return keras.Model(image, outputs, name="pose_network")


def load_imagenet_weights(network: keras.Model, weights: str) -> None:
    """Fills the first ten convolutions with VGG-19's ImageNet weights.

    Args:
        network: A network of build_pose_network with pose_width 1.
        weights: "imagenet" (Keras fetches and caches them), "none", or the path of Keras' VGG-19 weights.

    Raises:
        InputError: The weights cannot be fetched or read, or do not fit the network.
    """
    if weights != "none" and network.get_layer("block1_conv1").filters != _VGG_BLOCKS[0][0]:
        raise InputError("VGG-19's weights only fit pose_width=1: use --pose_width=1 or --imagenet_weights=none")
    load_application_weights(network, keras.applications.VGG19, weights)


def save_pose_network(network: keras.Model, pose_dir: str | os.PathLike, config: dict) -> None:
    """Writes a network that was not trained by `pose_pretrain.train.pretrain` as that would, for fusion to start from.

    model.weights.h5 and config.json appear in pose_dir whole, each under a temporary name first.

    Args:
        network: The trained network.
        pose_dir: Folder, made when it is not there.
        config: What to write as config.json; "pose_width" must be in it, load_pose_network needs it.
    """
    pose_dir = pathlib.Path(pose_dir)
    pose_dir.mkdir(parents=True, exist_ok=True)
    write_json(pose_dir / CONFIG_FILE, config)
    save_weights(network, pose_dir / WEIGHTS_FILE)


def load_pose_network(pose_dir: str | os.PathLike, height: int | None, width: int | None) -> keras.Model:
    """Loads a trained pose network, at any input size.

    Raises:
        InputError: pose_dir does not hold a trained pose network, or its files are damaged.
    """
    pose_dir = pathlib.Path(pose_dir)
    pose_width = read_pose_width(pose_dir)
    if not (pose_dir / WEIGHTS_FILE).is_file():
        raise InputError(_how_to_get(pose_dir, WEIGHTS_FILE))
    network = build_pose_network(height, width, pose_width)
    try:
        network.load_weights(pose_dir / WEIGHTS_FILE)
    except (OSError, KeyError, ValueError) as error:
        what = f"{WEIGHTS_FILE} does not fit pose_width={pose_width} ({error})"
        raise InputError(f"the pose network in {pose_dir} is damaged, train it again: {what}") from error
    return network


def read_pose_width(pose_dir: str | os.PathLike) -> float:
    """The pose_width of a trained pose network.

    Raises:
        InputError: pose_dir does not hold a pose network, or its config.json is damaged.
    """
    config = pathlib.Path(pose_dir) / CONFIG_FILE
    if not config.is_file():
        raise InputError(_how_to_get(pose_dir, CONFIG_FILE))
    try:
        return read_run_json(config)["pose_width"]
    except (KeyError, TypeError):
        raise InputError(f"{config} is damaged, it gives no pose_width: train the pose network again") from None


def _how_to_get(pose_dir: str | os.PathLike, missing: str) -> str:
    return f"no pose network in {pose_dir} ({missing} is missing): train it with python -m lrdnn_tf.pretrain_pose"


def _stage0(image: tf.Tensor, pose_width: float) -> tf.Tensor:
    x = CaffePreprocessing(name="pose_preprocessing")(image)
    for block, channels in enumerate(_VGG_BLOCKS, 1):
        if block > 1:
            x = keras.layers.MaxPooling2D(2, name=f"block{block - 1}_pool")(x)
        for conv, filters in enumerate(channels, 1):
            x = _conv(x, filters, 3, f"block{block}_conv{conv}", pose_width)
    x = _conv(x, 256, 3, "conv4_3_CPM", pose_width)
    return _conv(x, 128, 3, "conv4_4_CPM", pose_width)


def _stream(x: tf.Tensor, stage: int, stream: str, maps: int, pose_width: float) -> tf.Tensor:
    """One stream of one stage: (filters, kernel size) per convolution, then a linear one to the maps."""
    convolutions = [(128, 3)] * 3 + [(512, 1)] if stage == 1 else [(128, 7)] * 5 + [(128, 1)]
    for number, (filters, kernel) in enumerate(convolutions, 1):
        x = _conv(x, filters, kernel, f"pose_stage{stage}_{stream}_conv{number}", pose_width)
    # Maps start near their usual value, nothing, so that the first steps are not spent on getting there.
    small = keras.initializers.RandomNormal(stddev=0.01)
    return keras.layers.Conv2D(maps, 1, kernel_initializer=small, dtype="float32", name=f"pose_stage{stage}_{stream}")(
        x
    )


def _conv(x: tf.Tensor, filters: int, kernel: int, name: str, pose_width: float) -> tf.Tensor:
    normalized = pose_width < 1
    filters = max(8, 8 * round(filters * pose_width / 8))
    conv = keras.layers.Conv2D(
        filters, kernel, padding="same", use_bias=not normalized, kernel_initializer="he_normal", name=name
    )
    x = conv(x)
    if normalized:
        # Keras' momentum of 0.99 would not have caught up after the few hundred steps of a short training.
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
