"""Trains the pose network: python -m lrdnn_tf.pretrain_pose --data_dir=DATASET --run_dir=runs/NAME"""

import pathlib

from absl import flags

from lrdnn_base import command
from lrdnn_base.devices import RuntimeOptions, make_runtime
from pose_pretrain.network import load_pose_network
from pose_pretrain.pipeline import read_pose_dataset
from pose_pretrain.train import PoseConfig, pretrain, report_run


def main() -> None:
    args = flags.FLAGS
    runtime = make_runtime(RuntimeOptions(**command.read_flags(RuntimeOptions)), "pose")
    config = PoseConfig(**command.read_flags(PoseConfig))
    dataset = read_pose_dataset(args.data_dir, needed=("train", args.eval_split))
    pretrain(dataset, args.run_dir, config, runtime)
    if not runtime.is_chief:
        return
    # The network that pretrain returns cannot be run by the chief alone after a training with several workers.
    network = load_pose_network(pathlib.Path(args.run_dir) / "pose", config.height, config.width)
    report_run(network, dataset, args.run_dir, config, args.eval_split, args.eval_flip)


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", None, "A pose dataset that data_prep.coco converted.")
    flags.DEFINE_string("run_dir", None, "The run, such as runs/NAME; the network goes to its pose folder.")
    command.define_flags(PoseConfig)
    command.define_flags(RuntimeOptions)
    flags.DEFINE_enum("eval_split", "val", ["val", "train"], "The split whose people are scored after training.")
    flags.DEFINE_bool("eval_flip", False, "Whether that scoring averages maps with those of the mirrored image.")
    flags.mark_flags_as_required(["data_dir", "run_dir"])
    command.run(main)
