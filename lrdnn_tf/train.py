"""Trains one phase of LRDNN: python -m lrdnn_tf.train --phase=fusion --run_dir=runs/NAME --data_dir=DATASET"""

import dataclasses
import functools

from absl import flags

from lrdnn_base import command
from lrdnn_base.devices import (
    PRECISIONS,
    STRATEGIES,
    Runtime,
    device_names,
    make_strategy,
    read_steps,
    set_precision,
)
from lrdnn_base.errors import InputError
from lrdnn_base.schedule import SCHEDULES
from lrdnn_tf import config
from lrdnn_tf.config import ModelConfig, TrainingConfig
from lrdnn_tf.data.dataset import read_dataset
from lrdnn_tf.data.split import read_split
from lrdnn_tf.evaluation.retrieval import project_gallery, retrieval_scores
from lrdnn_tf.training.phases import PHASES, phase_config
from lrdnn_tf.training.train_phase import train_phase

_MODEL_FLAGS = (
    "backbone", "last_stride", "height", "width", "pose_maps", "channel_parse", "channel_parse_reduction", "fuse",
    "bilinear_dim", "bilinear_seed", "bilinear_method",
)  # fmt: skip


def main() -> None:
    args = flags.FLAGS
    strategy = make_strategy(args.strategy)  # TensorFlow wants it before anything else
    print(f"{args.phase}: {set_precision(args.precision)} on {device_names()}")
    runtime = Runtime(strategy, args.jit_compile, read_steps(args.profile_steps))
    if args.evaluate_every and runtime.has_other_workers:
        raise InputError("--evaluate_every works on one machine only: leave it out, and use lrdnn_tf.evaluate")
    dataset = read_dataset(args.data_dir)
    start_from = args.start_from or args.run_dir
    options = {name: args[name].value for name in _MODEL_FLAGS}
    model_config = phase_config(args.phase, dataset, start_from, args.attributes, options, args.pose_dir)
    settings = {field.name: args[field.name].value for field in dataclasses.fields(TrainingConfig)}
    if args.epochs is None:
        settings["epochs"] = PHASES[args.phase].epochs
    splits = {name: read_split(dataset, name) for name in ("query", "gallery")} if args.evaluate_every else {}
    train_phase(
        args.phase,
        dataset,
        args.run_dir,
        model_config,
        TrainingConfig(**settings),
        runtime,
        cache_images=args.cache_images,
        start_from=args.start_from,
        pose_dir=args.pose_dir,
        score=functools.partial(retrieval_scores, **splits) if splits else None,
        score_every=args.evaluate_every,
    )
    if args.projector_images and runtime.is_chief and dataset.has_images("gallery"):
        gallery = splits.get("gallery") or read_split(dataset, "gallery")
        project_gallery(args.run_dir, args.phase, gallery, args.projector_images)


if __name__ == "__main__":
    flags.DEFINE_enum("phase", None, list(PHASES), "What to train; each phase starts from the one before it.")
    flags.DEFINE_string("run_dir", None, "The run, such as runs/NAME: each phase is a folder in it.")
    flags.DEFINE_string("start_from", None, "Run with the pose network and the earlier phases. Default: RUN_DIR.")
    flags.DEFINE_string("pose_dir", None, "The pretrained pose network. Default: the folder pose in that run.")
    flags.DEFINE_string("data_dir", None, "A dataset that data_prep converted.")
    flags.DEFINE_integer("epochs", None, "Passes over the training images; the paper's 100, 60, 100 unless given.")
    flags.DEFINE_integer("batch_size", TrainingConfig.batch_size, "Images a step.")
    flags.DEFINE_float("learning_rate", TrainingConfig.learning_rate, "Adam's rate in the first epoch.")
    flags.DEFINE_float("decay", TrainingConfig.decay, "Factor on the rate after every epoch.")
    flags.DEFINE_enum("schedule", TrainingConfig.schedule, SCHEDULES, "How the rate falls; cosine ends at 0.")
    flags.DEFINE_integer("warmup_epochs", TrainingConfig.warmup_epochs, "Epochs in which the rate rises from 0.")
    flags.DEFINE_float("label_smoothing", TrainingConfig.label_smoothing, "Share of identity labels spread evenly.")
    flags.DEFINE_float(
        "triplet_weight", TrainingConfig.triplet_weight, "Weight of a batch-hard triplet loss; 0 leaves it out."
    )
    flags.DEFINE_float("triplet_margin", TrainingConfig.triplet_margin, "Its margin, on unit descriptors.")
    flags.DEFINE_float("ema", TrainingConfig.ema, "Momentum of the average of weights to end on, such as 0.999.")
    flags.DEFINE_float(
        "attribute_weight",
        TrainingConfig.attribute_weight,
        "Weight of the mean attribute loss.",
    )
    flags.DEFINE_integer(
        "images_per_identity", TrainingConfig.images_per_identity, "Images of each identity in a batch; 0: no matter."
    )
    flags.DEFINE_float("random_erasing", TrainingConfig.random_erasing, "Probability of erasing a part of an image.")
    flags.DEFINE_bool("cache_images", False, "Keep decoded images in memory: faster, 320 MB for Market-1501.")
    flags.DEFINE_integer("seed", TrainingConfig.seed, "Seed of initial weights, shuffling and augmentation.")
    flags.DEFINE_enum(
        "precision", "auto", PRECISIONS, "Number format; auto is mixed_float16 on a GPU with tensor cores."
    )
    flags.DEFINE_enum(
        "strategy", "auto", STRATEGIES, "Devices; auto takes all GPUs, or all workers that TF_CONFIG names."
    )
    flags.DEFINE_bool("jit_compile", False, "Whether XLA compiles the training step.")
    flags.DEFINE_string("profile_steps", None, "Steps that TensorBoard gets a trace of, such as 10,20.")
    flags.DEFINE_integer(
        "evaluate_every",
        0,
        "Epochs between two measurements of mAP, the best weights of which are kept; 0: never.",
        lower_bound=0,
    )
    flags.DEFINE_integer(
        "projector_images",
        1000,
        "Gallery images whose descriptors go to TensorBoard's projector in the end.",
        lower_bound=0,
    )
    flags.DEFINE_string(
        "imagenet_weights", "imagenet", "What ResNet-50 starts from: imagenet, none, or a weights file."
    )
    flags.DEFINE_enum("backbone", None, config.BACKBONES, "Main branch; later phases inherit it. Default resnet50.")
    flags.DEFINE_integer("last_stride", None, "Its last stride, 2 or 1; later phases inherit it. Default 2.")
    flags.DEFINE_integer("height", None, "Input height in pixels; later phases inherit it. Default 256.")
    flags.DEFINE_integer("width", None, "Input width in pixels; later phases inherit it. Default 128.")
    flags.DEFINE_bool("attributes", True, "Whether attribute heads are trained (the paper's letter A).")
    flags.DEFINE_enum("pose_maps", None, config.POSE_MAPS, "Pose maps to fuse (letters H and C). Default both.")
    flags.DEFINE_bool("channel_parse", ModelConfig.channel_parse, "Whether pose maps pass the channel parse block.")
    flags.DEFINE_integer("channel_parse_reduction", ModelConfig.channel_parse_reduction, "Its bottleneck.")
    flags.DEFINE_enum("fuse", ModelConfig.fuse, config.FUSE, "Fuse maps, or pooled vectors.")
    flags.DEFINE_integer("bilinear_dim", ModelConfig.bilinear_dim, "Length of the fused descriptor.")
    flags.DEFINE_integer("bilinear_seed", ModelConfig.bilinear_seed, "Seed of its hash functions.")
    flags.DEFINE_enum(
        "bilinear_method", ModelConfig.bilinear_method, config.BILINEAR_METHODS, "The same numbers, at other speeds."
    )
    flags.DEFINE_bool("freeze_pose", TrainingConfig.freeze_pose, "Whether the pose branch stays as it was pretrained.")
    flags.mark_flags_as_required(["phase", "run_dir", "data_dir"])
    command.run(main)
