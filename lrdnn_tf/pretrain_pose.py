"""Trains the pose network: python -m lrdnn_tf.pretrain_pose --data_dir=DATASET --run_dir=runs/NAME"""

import dataclasses
import pathlib

from absl import flags

from lrdnn_base import command
from lrdnn_base.devices import PRECISIONS, STRATEGIES, Runtime, device_names, make_strategy, read_steps, set_precision
from pose_pretrain.network import load_pose_network
from pose_pretrain.pipeline import read_pose_dataset
from pose_pretrain.train import PoseConfig, pretrain, report_run


def main() -> None:
    args = flags.FLAGS
    strategy = make_strategy(args.strategy)  # TensorFlow wants it before anything else
    print(f"pose: {set_precision(args.precision)} on {device_names()}")
    config = PoseConfig(**{field.name: args[field.name].value for field in dataclasses.fields(PoseConfig)})
    dataset = read_pose_dataset(args.data_dir, needed=("train", args.eval_split))
    runtime = Runtime(strategy, args.jit_compile, read_steps(args.profile_steps))
    pretrain(dataset, args.run_dir, config, runtime)
    if not runtime.is_chief:
        return
    network = load_pose_network(pathlib.Path(args.run_dir) / "pose", config.height, config.width)
    report_run(network, dataset, args.run_dir, config, args.eval_split, args.eval_flip)


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", None, "A pose dataset that data_prep.coco converted.")
    flags.DEFINE_string("run_dir", None, "The run, such as runs/NAME; the network goes to its pose folder.")
    flags.DEFINE_integer("epochs", PoseConfig.epochs, "Passes over the training images.")
    flags.DEFINE_integer("batch_size", PoseConfig.batch_size, "Images a step.")
    flags.DEFINE_float("learning_rate", PoseConfig.learning_rate, "Adam's rate in the first epoch.")
    flags.DEFINE_float("decay", PoseConfig.decay, "Factor on the rate after every epoch.")
    flags.DEFINE_integer("seed", PoseConfig.seed, "Seed of initial weights, shuffling and augmentation.")
    flags.DEFINE_enum("precision", "auto", PRECISIONS, "Number format; auto is mixed_float16 where tensor cores are.")
    flags.DEFINE_enum(
        "strategy", "auto", STRATEGIES, "Devices; auto takes all GPUs, or all workers that TF_CONFIG names."
    )
    flags.DEFINE_bool("jit_compile", False, "Whether XLA compiles the training step.")
    flags.DEFINE_string("profile_steps", None, "Steps that TensorBoard gets a trace of, such as 10,20.")
    flags.DEFINE_integer("height", PoseConfig.height, "Height of the crops in pixels, a multiple of 8.")
    flags.DEFINE_integer("width", PoseConfig.width, "Width of the crops in pixels, a multiple of 8.")
    flags.DEFINE_float(
        "pose_width", PoseConfig.pose_width, "Factor on the network's channels; below 1 for small machines."
    )
    flags.DEFINE_string("imagenet_weights", PoseConfig.imagenet_weights, "VGG-19's start: imagenet, none, or a file.")
    flags.DEFINE_float(
        "sigma", None, "Sigma of the Gaussians in pixels; 7 at 368, in proportion elsewhere, at least 6."
    )
    flags.DEFINE_float(
        "limb_width", PoseConfig.limb_width, "Half the width of limbs in the affinity maps, in map cells."
    )
    flags.DEFINE_float(
        "rotation", PoseConfig.rotation, "The most that training crops are turned either way, in degrees."
    )
    flags.DEFINE_enum("eval_split", "val", ["val", "train"], "Whose people are looked for at the end.")
    flags.DEFINE_bool("eval_flip", False, "Whether maps are averaged with those of the mirrored image at the end.")
    flags.mark_flags_as_required(["data_dir", "run_dir"])
    command.run(main)
