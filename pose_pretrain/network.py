"""The pose network: VGG-19's first layers and three two-stream stages (Cao et al., CVPR 2017; LRDNN, equation 2)."""

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

# Channels of VGG-19's first ten convolutions, with max pooling between the blocks.
_VGG_BLOCKS = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512))


def build_pose_network(height: int | None, width: int | None, pose_width: float = 1.0) -> keras.Model:
    """Builds the pose network P(I) of equation 2.

    At pose_width 1 it is OpenPose's: convolutions without normalization, to be initialized with VGG-19's ImageNet
    weights. A narrower network is trained from scratch and in few steps: batch normalization follows each of its
    inner convolutions.

    Args:
        height, width: Input size in pixels, multiples of 8; None leaves a dimension undefined.
        pose_width: Factor on the number of all inner channels, which is rounded to multiples of 8 and at least 8.

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
    """Initializes the first ten convolutions with VGG-19's ImageNet weights.

    Args:
        network: Network returned by build_pose_network with pose_width 1.
        weights: "imagenet" (Keras downloads and caches them), "none", or the path of a VGG-19 weights file of Keras.

    Raises:
        InputError: The weights cannot be downloaded or read, or do not fit the network.
    """
    if weights != "none" and network.get_layer("block1_conv1").filters != _VGG_BLOCKS[0][0]:
        raise InputError("VGG-19's weights only fit pose_width=1: use --pose_width=1 or --imagenet_weights=none")
    load_application_weights(network, keras.applications.VGG19, weights)


def save_pose_network(network: keras.Model, pose_dir: str | os.PathLike, config: dict) -> None:
    """Saves a network as `pose_pretrain.train.pretrain` does, so that load_pose_network can read it.

    model.weights.h5 and config.json are each written completely or not at all.

    Args:
        network: Network returned by build_pose_network.
        pose_dir: The folder, which is created if necessary.
        config: Content of config.json; load_pose_network needs its "pose_width".
    """
    pose_dir = pathlib.Path(pose_dir)
    pose_dir.mkdir(parents=True, exist_ok=True)
    write_json(pose_dir / CONFIG_FILE, config)
    save_weights(network, pose_dir / WEIGHTS_FILE)


def load_pose_network(pose_dir: str | os.PathLike, height: int | None, width: int | None) -> keras.Model:
    """Loads a trained pose network for any input size; see build_pose_network.

    Raises:
        InputError: pose_dir does not contain a trained pose network, or its files are corrupted.
    """
    pose_dir = pathlib.Path(pose_dir)
    pose_width = read_pose_width(pose_dir)
    if not (pose_dir / WEIGHTS_FILE).is_file():
        raise InputError(_not_found(pose_dir, WEIGHTS_FILE))
    network = build_pose_network(height, width, pose_width)
    try:
        network.load_weights(pose_dir / WEIGHTS_FILE)
    except (OSError, KeyError, ValueError) as error:
        reason = f"{WEIGHTS_FILE} does not fit pose_width={pose_width} ({error})"
        raise InputError(f"the pose network in {pose_dir} is corrupted, train it again: {reason}") from error
    return network


def read_pose_width(pose_dir: str | os.PathLike) -> float:
    """Reads the pose_width of a trained pose network.

    Raises:
        InputError: pose_dir does not contain a pose network, or its config.json is corrupted.
    """
    config = pathlib.Path(pose_dir) / CONFIG_FILE
    if not config.is_file():
        raise InputError(_not_found(pose_dir, CONFIG_FILE))
    try:
        return read_run_json(config)["pose_width"]
    except KeyError:
        raise InputError(f"{config} is corrupted, it has no pose_width: train the pose network again") from None


def _not_found(pose_dir: str | os.PathLike, missing: str) -> str:
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
    """Builds one stream of one stage: convolutions of (filters, kernel size), then a linear one that gives the maps."""
    convolutions = [(128, 3)] * 3 + [(512, 1)] if stage == 1 else [(128, 7)] * 5 + [(128, 1)]
    for number, (filters, kernel) in enumerate(convolutions, 1):
        x = _conv(x, filters, kernel, f"pose_stage{stage}_{stream}_conv{number}", pose_width)
    # Maps are 0 almost everywhere: small initial weights start there, and save the first steps of training.
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
        # With Keras' momentum of 0.99, moving statistics lag behind in a short training of a few hundred steps.
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
