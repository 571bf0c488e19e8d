"""Corrupts a pretrained pose network: python -m experiments.damage_pose --damage=shuffled --pose_dir=... --out_dir=...

shuffled: the values of each weight tensor are permuted, so that everything that was learned is lost and their
distribution is kept. last_stage: the last of the three stages is reinitialized; the earlier stages are kept.
"""

import os

import numpy as np
import tf_keras as keras
from absl import flags

from lrdnn_base import command
from lrdnn_base.errors import InputError
from pose_pretrain.network import STAGES, build_pose_network, load_pose_network, read_pose_width, save_pose_network

DAMAGES = ("shuffled", "last_stage")


def damage_pose(pose_dir: str | os.PathLike, damage: str, out_dir: str | os.PathLike, seed: int = 0) -> None:
    """Writes a corrupted copy of a pretrained pose network, which a fusion can start from.

    Args:
        pose_dir: Folder of the network.
        damage: One of DAMAGES.
        out_dir: Folder of the copy.
        seed: Seed of the permutations, or of the new initial weights.

    Raises:
        InputError: The damage is unknown, or pose_dir holds no network.
    """
    if damage not in DAMAGES:
        raise InputError(f"damage={damage!r} is not one of {', '.join(DAMAGES)}")
    network = load_pose_network(pose_dir, None, None)
    pose_width = read_pose_width(pose_dir)
    if damage == "shuffled":
        random = np.random.default_rng(seed)
        shuffled = [random.permutation(weights.ravel()).reshape(weights.shape) for weights in network.get_weights()]
        network.set_weights(shuffled)
    else:
        keras.utils.set_random_seed(seed)
        initial = build_pose_network(None, None, pose_width)
        for layer in network.layers:
            if layer.name.startswith(f"pose_stage{STAGES}_"):
                layer.set_weights(initial.get_layer(layer.name).get_weights())
    save_pose_network(network, out_dir, {"pose_width": pose_width, "damage": damage, "of": os.fspath(pose_dir)})


def main() -> None:
    args = flags.FLAGS
    damage_pose(args.pose_dir, args.damage, args.out_dir, args.seed)


if __name__ == "__main__":
    flags.DEFINE_enum("damage", None, DAMAGES, "How the weights are corrupted.")
    flags.DEFINE_string("pose_dir", None, "A pretrained pose network, such as runs/NAME/pose.")
    flags.DEFINE_string("out_dir", None, "Folder of the corrupted copy.")
    flags.DEFINE_integer("seed", 0, "Seed of the permutations, or of the new initial weights.")
    flags.mark_flags_as_required(["damage", "pose_dir", "out_dir"])
    command.run(main)
