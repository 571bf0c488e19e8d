"""Damages a trained pose network: python -m experiments.damage_pose --damage=shuffled --pose_dir=... --out_dir=...

shuffled: the numbers of each weight tensor change places, so that all that was learned goes, and their distribution
stays. last_stage: the last of the three stages starts anew, the maps of the second are its input as before.
"""

import os

import numpy as np
import tf_keras as keras
from absl import flags

from lrdnn_base import command
from lrdnn_base.errors import InputError
from pose_pretrain.network import STAGES, build_pose_network, load_pose_network, read_pose_width, save_pose_network

DAMAGES = ("shuffled", "last_stage")
_LAST_STAGE = f"pose_stage{STAGES}_"


def damage_pose(pose_dir: str | os.PathLike, damage: str, out_dir: str | os.PathLike, seed: int = 0) -> None:
    """Writes a damaged copy of a trained pose network, for a fusion to start from.

    Args:
        pose_dir: The network.
        damage: One of DAMAGES.
        out_dir: Gets the copy.
        seed: Of the shuffling, or of the fresh weights.

    Raises:
        InputError: No such damage, or no network in pose_dir.
    """
    if damage not in DAMAGES:
        raise InputError(f"damage={damage!r} is not one of {', '.join(DAMAGES)}")
    network = load_pose_network(pose_dir, None, None)
    pose_width = read_pose_width(pose_dir)
    if damage == "shuffled":
        random = np.random.default_rng(seed)
        network.set_weights([_shuffled(weights, random) for weights in network.get_weights()])
    else:
        keras.utils.set_random_seed(seed)
        fresh = build_pose_network(None, None, pose_width)
        for layer in network.layers:
            if layer.name.startswith(_LAST_STAGE):
                layer.set_weights(fresh.get_layer(layer.name).get_weights())
    save_pose_network(network, out_dir, {"pose_width": pose_width, "damage": damage, "of": os.fspath(pose_dir)})


def _shuffled(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return random.permutation(weights.ravel()).reshape(weights.shape)


def main() -> None:
    args = flags.FLAGS
    damage_pose(args.pose_dir, args.damage, args.out_dir, args.seed)


if __name__ == "__main__":
    flags.DEFINE_enum("damage", None, DAMAGES, "What to do to it.")
    flags.DEFINE_string("pose_dir", None, "A trained pose network, such as runs/NAME/pose.")
    flags.DEFINE_string("out_dir", None, "Gets the damaged one.")
    flags.DEFINE_integer("seed", 0, "Seed of the shuffling, or of the fresh weights.")
    flags.mark_flags_as_required(["damage", "pose_dir", "out_dir"])
    command.run(main)
