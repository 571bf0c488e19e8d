"""What the maps of a pose network do in the fusion before any training, beside fixed maps.

python -m experiments.pose_maps --run_dir=runs/paper/rendered/seed0/b_a --data_dir=data/market1501 \\
    --pose_dirs=runs/paper/rendered/pose,runs/poses/pose

F of a trained attributes phase and the maps of each pose network are fused as in the fusion phase, except that the
outer product is not sketched and that nothing is trained. Parts and changes of the maps separate how sharp they are
from what they tell: where a keypoint is, and in which direction a limb points.
"""

import os
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import tf_keras as keras
from absl import flags
from scipy.ndimage import gaussian_filter

from lrdnn_base import command
from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.data.dataset import read_dataset
from lrdnn_tf.data.split import Split, read_split
from lrdnn_tf.evaluation.descriptors import ranking_labels
from lrdnn_tf.evaluation.ranking import rank
from lrdnn_tf.model.lrdnn import ALIGNMENT_EPSILON, PoolToGrid
from lrdnn_tf.phases import ATTRIBUTES
from pose_pretrain.network import load_pose_network
from pose_pretrain.skeleton import CONFIDENCE_MAPS

BLUR = 2.0  # cells of the pose maps
PARTS = {
    "all": lambda maps: maps,
    "all, blurred": lambda maps: gaussian_filter(maps, (0, BLUR, BLUR, 0)),
    "confidence": lambda maps: maps[..., :CONFIDENCE_MAPS],
    "affinity": lambda maps: maps[..., CONFIDENCE_MAPS:],
    "affinity without sign": lambda maps: np.abs(maps[..., CONFIDENCE_MAPS:]),
}
_SPLITS = ("train", "query", "gallery")  # the first one gives the statistics of the alignment


def measure(run_dir: str | os.PathLike, data_dir: str | os.PathLike, pose_dirs: Sequence[str]) -> pd.DataFrame:
    """Fuses F with fixed maps, and with parts of the maps of each pose network, and ranks the results.

    Args:
        run_dir: A run with a trained attributes phase.
        data_dir: Folder of a converted dataset.
        pose_dirs: Folders of pose networks.

    Returns:
        A row per network and part of its maps: network; part, a name of PARTS; positions, the number of cells of F's
        grid over which the energy of an aligned map spreads (participation ratio, mean over images and maps); fixed,
        the share of the variance of the maps that their mean over images explains; mAP and rank1 (0 to 1).

    Raises:
        InputError: The phase, the dataset or a pose network is missing.
    """
    dataset = read_dataset(data_dir)
    splits = {name: read_split(dataset, name) for name in _SPLITS}
    model, config = runs.load_model(run_dir, ATTRIBUTES)
    features = _outputs(keras.Model(model.input, model.get_layer("pool5").input), splits, config.height, config.width)
    aligned = _aligned(features)
    grid = features["train"].shape[1:3]
    fixed = {name: np.broadcast_to(np.eye(np.prod(grid)).reshape(*grid, -1), (len(maps), *grid, np.prod(grid)))
             for name, maps in features.items()}  # fmt: skip
    pool = PoolToGrid(*grid, dtype="float32")
    rows = [{"network": "none", "part": "one fixed map per position"} | _scores(aligned, fixed, splits)]
    for pose_dir in pose_dirs:
        maps = _pose_maps(pose_dir, splits, config.height, config.width)
        for part, take in PARTS.items():
            pooled = _aligned({name: pool(take(values)).numpy() for name, values in maps.items()})
            told = {"positions": _positions(pooled["query"]), "fixed": _fixed_share(pooled["query"])}
            rows.append({"network": pose_dir, "part": part} | told | _scores(aligned, pooled, splits))
    return pd.DataFrame(rows)


def _pose_maps(pose_dir: str, splits: dict[str, Split], height: int, width: int) -> dict[str, np.ndarray]:
    network = load_pose_network(pose_dir, height, width)
    last = keras.layers.Concatenate(dtype="float32")(network.outputs[-2:])
    return _outputs(keras.Model(network.input, last), splits, height, width)


def _outputs(model: keras.Model, splits: dict[str, Split], height: int, width: int) -> dict[str, np.ndarray]:
    def over(split: Split) -> Iterator[np.ndarray]:
        for images in split.batches(height, width, 64):
            yield model(images, training=False).numpy()

    return {name: np.concatenate(list(over(split))) for name, split in splits.items()}


def _aligned(maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What an untrained BatchNorm gives whose moving statistics are those of the training images."""
    mean, variance = maps["train"].mean((0, 1, 2)), maps["train"].var((0, 1, 2))
    return {name: (values - mean) / np.sqrt(variance + ALIGNMENT_EPSILON) for name, values in maps.items()}


def _positions(maps: np.ndarray) -> float:
    energy = maps.reshape(len(maps), -1, maps.shape[-1]) ** 2
    return float(np.mean(energy.sum(1) ** 2 / (energy**2).sum(1)))


def _fixed_share(maps: np.ndarray) -> float:
    return float(np.mean(maps.mean(0).var((0, 1)) / maps.var((0, 1, 2))))


def _scores(features: dict[str, np.ndarray], maps: dict[str, np.ndarray], splits: dict[str, Split]) -> dict[str, float]:
    fused = {}
    for name in ("query", "gallery"):
        vectors = np.einsum("bhwc,bhwm->bcm", features[name], maps[name], optimize=True).reshape(len(maps[name]), -1)
        fused[name] = (np.sign(vectors) * np.sqrt(np.abs(vectors))).astype(np.float32)
    ranking = rank(fused["query"], fused["gallery"], *(ranking_labels(splits[name]) for name in fused))
    return {"mAP": ranking.mean_ap, "rank1": ranking.rank1}


def main() -> None:
    args = flags.FLAGS
    if not args.pose_dirs:
        raise InputError("--pose_dirs is empty: name at least one pose network, such as runs/NAME/pose")
    table = measure(args.run_dir, args.data_dir, args.pose_dirs)
    print(table.to_string(index=False, float_format="%.3f", na_rep="-"))


if __name__ == "__main__":
    flags.DEFINE_string("run_dir", None, "A run with a trained attributes phase.")
    flags.DEFINE_string("data_dir", None, "A dataset, as data_prep converted it.")
    flags.DEFINE_list("pose_dirs", None, "Pose networks, such as runs/NAME/pose, separated by commas.")
    flags.mark_flags_as_required(["run_dir", "data_dir", "pose_dirs"])
    command.run(main)
