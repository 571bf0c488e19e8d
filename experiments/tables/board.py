"""All runs of a table in TensorBoard's HParams: a line per table, row and seed, with settings and scores."""

import pathlib
import shutil

import pandas as pd
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from experiments.tables import plan
from experiments.tables.plan import Place
from experiments.tables.rows import Table
from lrdnn_base.run_folder import CONFIG_FILE, read_run_json

FOLDER = "hparams"
SCORES = ("rank-1", "mAP", "rank-1 re-ranked", "mAP re-ranked", "attributes", "minutes")
_SHOWN = ("pose_maps", "backbone", "height", "width", "epochs", "batch_size", "learning_rate", "attribute_weight")
_OF_FUSION = ("channel_parse", "channel_parse_reduction", "fuse", "bilinear_dim", "freeze_pose")


def write(lines: pd.DataFrame, table: Table, place: Place) -> None:
    """Enters measured rows into OUT/hparams; what stood there for them before goes.

    Args:
        lines: Of page.measured.
        table, place: Whose.
    """
    rows = {row.name: row for row in table.rows}
    for line in lines.to_dict("records"):
        run_dir = plan.run_dir(rows[line["row"]], line["seed"], place)
        folder = place.out_dir / FOLDER / f"{table.name}_{run_dir.parent.name}_{run_dir.name}"
        shutil.rmtree(folder, ignore_errors=True)
        config = read_run_json(run_dir / rows[line["row"]].phase / CONFIG_FILE)
        settings = config["model"] | config["training"]
        shown = {name: settings[name] for name in _SHOWN}
        if settings["pose_maps"] != "none":
            shown |= {name: settings[name] for name in _OF_FUSION}
            shown["pose_network"] = pathlib.Path(config["pose_dir"]).name
        values = {"table": table.name, "row": line["row"], "seed": line["seed"], **shown}
        with tf.summary.create_file_writer(str(folder)).as_default(step=0):
            hparams.hparams(values, trial_id=folder.name)
            for name in SCORES:
                if pd.notna(line[name]):
                    tf.summary.scalar(name, line[name])
