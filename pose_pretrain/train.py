"""Pretraining of the pose network on a converted dataset: `pretrain`. It writes:

runs/NAME/pose/config.json          the options of the network and its training
runs/NAME/pose/model.weights.h5     the trained weights, once training is complete
runs/NAME/pose/checkpoints/         the newest checkpoints, from which an interrupted training resumes
runs/NAME/pose/metrics.csv          the loss and its parts per stage and stream, one row per epoch
runs/NAME/pose/tensorboard/         the same as curves, with overlays
"""

import dataclasses
import functools
import os
import pathlib

import numpy as np
import tensorflow as tf
import tf_keras as keras

from lrdnn_base.callbacks import Timer
from lrdnn_base.devices import Runtime
from lrdnn_base.files import write_json
from lrdnn_base.images import write_image
from lrdnn_base.options import check_options, option
from lrdnn_base.run_folder import CONFIG_FILE, WEIGHTS_FILE, locked, read_run_json, refuse_other_config, was_started
from lrdnn_base.schedule import LearningRate
from lrdnn_base.training_loop import TrainingModel, fit, save_trained, with_synchronized_batch_norms
from pose_pretrain.decode import find_keypoints
from pose_pretrain.evaluate import PoseScores, boxes_in_crops, evaluate, final_maps, report
from pose_pretrain.loss import map_loss, weighted_targets
from pose_pretrain.network import STAGES, build_pose_network, load_imagenet_weights, load_pose_network
from pose_pretrain.pictures import draw_panel
from pose_pretrain.pipeline import PoseDataset, evaluation_people, steps_per_epoch, training_batches

_SECONDS_BETWEEN_OVERLAYS = 60  # at least, since an epoch of a small dataset takes a second
_PICTURES = 8


@dataclasses.dataclass(frozen=True)
class PoseConfig:
    """Options of a pose network and its training. The paper gives none; the size of crops is OpenPose's 368x368."""

    height: int = option(368, "Height of the crops in pixels, a multiple of 8.")
    width: int = option(368, "Width of the crops in pixels, a multiple of 8.")
    pose_width: float = option(1.0, "Factor on the network's channels: 1 is OpenPose's, less suits small machines.")
    imagenet_weights: str = option(
        "imagenet", "Initial weights of the VGG-19 part: imagenet, none, or a file; they need --pose_width=1."
    )
    epochs: int = option(40, "Passes over the training images.", above=0)
    batch_size: int = option(16, "Images per step, over all devices together.", above=0)
    learning_rate: float = option(1e-4, "Adam's learning rate in the first epoch.", above=0)
    decay: float = option(0.96, "Factor on the learning rate after every epoch.", above=0)
    sigma: float | None = option(
        None,
        "Sigma of the confidence maps' Gaussians in pixels. Default: 7 at 368 pixels, scaled with the crop's longer "
        "side, at least 6.",
        above=0,
    )
    limb_width: float = option(1.0, "Half the width of limbs in the affinity maps, in map cells.", above=0)
    rotation: float = option(40.0, "Largest rotation of training crops in either direction, in degrees.")
    seed: int = option(0, "Seed of initial weights, shuffling and augmentation.")

    def __post_init__(self):
        check_options(self)


def pretrain(
    dataset: PoseDataset, run_dir: str | os.PathLike, config: PoseConfig, runtime: Runtime | None = None
) -> keras.Model:
    """Trains the pose network and writes it to run_dir/pose; an interrupted training resumes.

    Args:
        dataset: Dataset returned by `pose_pretrain.pipeline.read_pose_dataset`.
        run_dir: Folder of the run, such as runs/NAME.
        config: Options of the network and its training.
        runtime: Devices, XLA, traces and checkpoints; None selects the defaults.

    Returns:
        The trained network, for input of the config's size.

    Raises:
        InputError: run_dir contains a network of another config, another training runs there, VGG-19's weights cannot
            be downloaded or read, or the loss becomes NaN or infinite.
        Stopped: The process received SIGTERM or Ctrl-C; it saves its state first.
    """
    runtime = runtime or Runtime()
    pose_dir = pathlib.Path(run_dir) / "pose"
    with locked(pose_dir, runtime):
        if was_started(pose_dir):
            refuse_other_config(pose_dir, read_run_json(pose_dir / CONFIG_FILE), dataclasses.asdict(config))
        if (pose_dir / WEIGHTS_FILE).is_file():
            print(f"pose: already trained, {pose_dir / WEIGHTS_FILE}")
            return load_pose_network(pose_dir, config.height, config.width)
        with runtime.strategy.scope():
            network = _fit(dataset, pose_dir, config, runtime)
            save_trained(network, pose_dir / WEIGHTS_FILE, runtime)
    return network


def _fit(dataset: PoseDataset, pose_dir: pathlib.Path, config: PoseConfig, runtime: Runtime) -> keras.Model:
    keras.utils.set_random_seed(config.seed)
    network = build_pose_network(config.height, config.width, config.pose_width)
    if runtime.strategy.num_replicas_in_sync > 1:
        network = with_synchronized_batch_norms(network)
    if not was_started(pose_dir):
        load_imagenet_weights(network, config.imagenet_weights)
    if runtime.is_chief:
        write_json(pose_dir / CONFIG_FILE, dataclasses.asdict(config))
    steps = steps_per_epoch(dataset, config.batch_size)
    rate = LearningRate(config.learning_rate, steps, config.epochs, config.decay)
    model = TrainingModel(network.input, network.output, name=network.name)
    model.compile(
        keras.optimizers.Adam(rate, epsilon=1e-8),
        loss=[map_loss] * (2 * STAGES),
        jit_compile=runtime.jit_compile,
    )

    batches = functools.partial(
        training_batches,
        dataset,
        config.height,
        config.width,
        config.batch_size,
        config.seed,
        sigma=config.sigma,
        limb_width=config.limb_width,
        rotation=config.rotation,
    )
    fit(
        model,
        lambda *position: batches(*position).map(_for_fit, tf.data.AUTOTUNE),
        "pose",
        pose_dir,
        epochs=config.epochs,
        steps=steps,
        batch_size=min(config.batch_size, dataset.examples("train")),
        shown={"loss": "{:.2f}"},
        runtime=runtime,
        callbacks=[_Overlays(dataset, config, pose_dir / "tensorboard" / "pictures")] if runtime.is_chief else [],
    )
    return network


def report_run(
    network: keras.Model,
    dataset: PoseDataset,
    run_dir: str | os.PathLike,
    config: PoseConfig,
    split: str = "val",
    flip: bool = False,
) -> PoseScores:
    """Scores a trained network, prints the table, and writes keypoints.csv, scores.json and pictures/ to run_dir/pose.

    The arguments are those of `pretrain` and `evaluate`.
    """
    pose_dir = pathlib.Path(run_dir) / "pose"
    scores = evaluate(network, dataset, split, config.batch_size, flip)
    print(report(scores))
    scores.table.to_csv(pose_dir / "keypoints.csv")
    write_json(pose_dir / "scores.json", {"split": split, "flip": flip, "pck": scores.pck, **scores.oks})
    write_pictures(network, dataset, split, config, pose_dir / "pictures")
    print(f"overlays of maps, limbs and keypoints: {pose_dir / 'pictures'}")
    return scores


def write_pictures(
    network: keras.Model, dataset: PoseDataset, split: str, config: PoseConfig, folder: pathlib.Path
) -> None:
    """Writes overlays of the first people of a split as PNG files: image, confidence, affinity, keypoints."""
    folder.mkdir(parents=True, exist_ok=True)
    for people in evaluation_people(dataset, split, config.height, config.width, _PICTURES).take(2):
        for image_id, x, panel in zip(people["image_id"], people["box"][:, 0], panels(network, people), strict=True):
            write_image(folder / f"{split}_{image_id:012d}_{x:.0f}.png", panel[..., ::-1])


def _for_fit(images: tf.Tensor, maps: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """Returns images and, for every stage, the same targets, in the order of the network's outputs."""
    streams = tuple(weighted_targets(maps[stream], maps["weight"]) for stream in ("confidence", "affinity"))
    return images, streams * STAGES


class _Overlays(keras.callbacks.Callback):
    """Writes maps and keypoints of a few people to TensorBoard, at most once a minute."""

    def __init__(self, dataset: PoseDataset, config: PoseConfig, folder: pathlib.Path):
        super().__init__()
        split = "val" if "val" in dataset.splits else "train"
        self.crops = evaluation_people(dataset, split, config.height, config.width, _PICTURES).take(1)
        self.writer = tf.summary.create_file_writer(str(folder))
        self.due = Timer(_SECONDS_BETWEEN_OVERLAYS)

    def on_epoch_end(self, epoch, logs=None):
        if self.due():
            with self.writer.as_default():
                for batch in self.crops:
                    tf.summary.image("people", panels(self.model, batch), step=epoch + 1, max_outputs=_PICTURES)


def panels(network: keras.Model, people: dict[str, tf.Tensor]) -> np.ndarray:
    """Draws draw_panel for each person of a batch of evaluation_people: uint8 [B, height, 4 width, 3]."""
    confidence, affinity = (maps.numpy() for maps in final_maps(network, people["image"]))
    boxes = boxes_in_crops(people["box"].numpy(), people["warp"].numpy())
    found = find_keypoints(confidence, affinity, boxes)
    images = people["image"].numpy()
    return np.stack([draw_panel(*person) for person in zip(images, confidence, affinity, found, strict=True)])
