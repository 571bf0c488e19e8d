"""All runs of a table in TensorBoard's HParams: a line per row and seed, with its flags and its scores."""

import pathlib
import shutil

import pandas as pd
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from experiments.tables import plan
from experiments.tables.plan import Place
from experiments.tables.rows import Row
from pose_pretrain.training_files import CONFIG_FILE, read_json

SCORES = ("rank-1", "mAP", "rank-1 re-ranked", "mAP re-ranked", "attributes", "minutes")
_SHOWN = (
    "pose_maps", "channel_parse", "channel_parse_reduction", "fuse", "bilinear_dim", "backbone", "height", "width",
    "epochs", "batch_size", "learning_rate", "attribute_weight", "freeze_pose",
)  # fmt: skip


def enter(row: Row, seed: int, place: Place, scores: pd.Series) -> None:
    """Enters one measured row into OUT/hparams; what stood there for it before goes.

    Args:
        row, seed, place: Which.
        scores: Its line of page.measured.
    """
    run_dir = plan.run_dir(row, seed, place)
    folder = place.out_dir / "hparams" / f"{run_dir.parent.name}_{run_dir.name}"
    shutil.rmtree(folder, ignore_errors=True)
    config = read_json(run_dir / row.phase / CONFIG_FILE)
    settings = config["model"] | config["training"]
    values = {"row": row.name, "seed": seed, "pose_network": pathlib.Path(config["pose_dir"] or "none").name}
    with tf.summary.create_file_writer(str(folder)).as_default(step=0):
        hparams.hparams(values | {name: settings[name] for name in _SHOWN}, trial_id=folder.name)
        for name in SCORES:
            if pd.notna(scores[name]):
                tf.summary.scalar(name, scores[name])
