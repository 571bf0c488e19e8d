"""The pose network: the front of VGG-19 and three two-stream stages (Cao et al., CVPR 2017; LRDNN, equation 2)."""

import json
import os
import pathlib

import h5py
import tensorflow as tf
import tf_keras as keras

from pose_pretrain.errors import InputError
from pose_pretrain.skeleton import AFFINITY_MAPS, CONFIDENCE_MAPS

STRIDE = 8  # input pixels per map cell
STAGES = 3
STREAMS = (("confidence", CONFIDENCE_MAPS), ("affinity", AFFINITY_MAPS))

WEIGHTS_FILE = "weights.weights.h5"
CONFIG_FILE = "config.json"

# Channels of VGG-19's first ten convolutions; a max pool stands between the blocks.
_VGG_BLOCKS = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512))
_VGG_LAYERS = tuple(
    f"block{block}_conv{conv}"
    for block, channels in enumerate(_VGG_BLOCKS, 1)
    for conv, _ in enumerate(channels, 1)
)  # fmt: skip


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
        weights: "imagenet" fetches Keras' own file (or takes it from Keras' cache), "none" does nothing,
            anything else is the path of such a file (Keras' VGG-19 weights in HDF5, with or without top).

    Raises:
        InputError: the file cannot be fetched, read, or does not fit the network.
    """
    if weights == "none":
        return
    if network.get_layer(_VGG_LAYERS[0]).filters != _VGG_BLOCKS[0][0]:
        raise InputError("VGG-19's weights only fit pose_width=1: use --pose_width=1 or --imagenet_weights=none")
    if weights == "imagenet":
        vgg19 = _fetch_vgg19()
        for name in _VGG_LAYERS:
            network.get_layer(name).set_weights(vgg19.get_layer(name).get_weights())
    else:
        _load_vgg19_file(network, weights)


def save_pose_network(network: keras.Model, pose_dir: str | os.PathLike, config: dict) -> None:
    """Writes weights.weights.h5 and config.json into pose_dir, each under a temporary name first.

    Args:
        network: The trained network.
        pose_dir: Folder, made when it is not there.
        config: What to write as config.json; "pose_width" must be in it, load_pose_network needs it.
    """
    pose_dir = pathlib.Path(pose_dir)
    pose_dir.mkdir(parents=True, exist_ok=True)
    # Keras looks at the ending of the name, so the temporary one keeps it.
    network.save_weights(pose_dir / f"writing.{WEIGHTS_FILE}")
    (pose_dir / f"writing.{CONFIG_FILE}").write_text(
        json.dumps({"pose_width": config["pose_width"]} | config, indent=2)
    )
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (pose_dir / f"writing.{name}").replace(pose_dir / name)


def load_pose_network(pose_dir: str | os.PathLike, height: int | None, width: int | None) -> keras.Model:
    """Loads what save_pose_network wrote, at any input size.

    Raises:
        InputError: pose_dir does not hold a trained pose network, or its files are damaged.
    """
    pose_dir = pathlib.Path(pose_dir)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (pose_dir / name).is_file():
            raise InputError(
                f"no pose network in {pose_dir} ({name} is missing): train it with python -m lrdnn_tf.pretrain_pose"
            )
    damaged = f"the pose network in {pose_dir} is damaged, train it again"
    try:
        pose_width = json.loads((pose_dir / CONFIG_FILE).read_text())["pose_width"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{damaged}: {CONFIG_FILE} gives no pose_width ({error!r})") from error
    network = build_pose_network(height, width, pose_width)
    try:
        network.load_weights(pose_dir / WEIGHTS_FILE)
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{damaged}: {WEIGHTS_FILE} does not fit pose_width={pose_width} ({error})") from error
    return network


@keras.utils.register_keras_serializable("pose_pretrain")
class CaffePreprocessing(keras.layers.Layer):
    """RGB 0..255 to what VGG-19's ImageNet weights were trained on: BGR with ImageNet's mean taken off."""

    def __init__(self, **kwargs):
        super().__init__(**(kwargs | {"dtype": "float32"}))

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return tf.reverse(images, [-1]) - tf.constant([103.939, 116.779, 123.68])


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


def _fetch_vgg19() -> keras.Model:
    try:
        return keras.applications.VGG19(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise InputError(
            "VGG-19's ImageNet weights could not be fetched (is this machine offline?): give their file with "
            "--imagenet_weights=PATH, or start from nothing with --imagenet_weights=none"
        ) from error


def _load_vgg19_file(network: keras.Model, path: str) -> None:
    if not os.path.isfile(path):
        raise InputError(
            f"no file {path}: --imagenet_weights takes imagenet, none or the path of Keras' VGG-19 weights"
        )
    try:
        with h5py.File(path, "r") as file:
            stored = file.get("model_weights", file)  # whole models keep their weights one level down
            missing = [name for name in _VGG_LAYERS if name not in stored]
        if not missing:
            network.load_weights(path, by_name=True)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} does not hold VGG-19's weights as Keras writes them (HDF5): {error}") from error
    if missing:
        raise InputError(f"{path} does not hold VGG-19's weights: no layer {missing[0]}")
