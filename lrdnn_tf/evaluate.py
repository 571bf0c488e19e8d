"""Evaluates the trained phases of a run: python -m lrdnn_tf.evaluate --run_dir=runs/NAME --data_dir=DATASET"""

import os
import pathlib
import time
from collections.abc import Sequence

import pandas as pd
from absl import flags

from lrdnn_base import command
from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.data.dataset import Dataset, read_dataset
from lrdnn_tf.data.split import Split, read_split
from lrdnn_tf.evaluation.protocol import ANY_CAMERA, WHY_ANY_CAMERA
from lrdnn_tf.evaluation.report import long_table, render_page, summarize, write_report
from lrdnn_tf.evaluation.results import DEFAULTS, Settings, check_splits, evaluate_phase


def evaluate(
    run_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    phases: Sequence[str] | None = None,
    batch_size: int = 64,
    settings: Settings = DEFAULTS,
    report_dir: str | os.PathLike | None = None,
    started_at: float | None = None,
) -> dict:
    """Measures phases of a run on a dataset's query and gallery, writes the report and prints a table.

    Args:
        run_dir: The run, such as runs/NAME.
        data_dir: A converted dataset.
        phases: Names of phases; all that are trained when None.
        batch_size: Images at a time; does not change the numbers.
        settings: How descriptors are computed and compared.
        report_dir: Folder of the report; run_dir/report when None, and run_dir/report_best for the best weights.
        started_at: Unix time from which "seconds" counts; now when None.

    Returns:
        The content of summary.json, see `lrdnn_tf.evaluation.report.summarize`.

    Raises:
        InputError: A phase, its weights or the dataset are missing or cannot be used, or the report cannot be written,
            or its folder is that of the run's other weights.
    """
    started_at = time.time() if started_at is None else started_at
    dataset = read_dataset(data_dir)
    report_dir = _report_dir(run_dir, report_dir, settings.weights)
    phases = list(phases or runs.trained_phases(run_dir, settings.weights))
    if not phases and runs.trained_phases(run_dir):
        raise InputError(f"no trained phase in {run_dir} has {runs.BEST_WEIGHTS_FILE}: {runs.HOW_TO_KEEP_BEST}")
    if not phases:
        train = f"python -m lrdnn_tf.train --phase=identity --run_dir={run_dir} --data_dir={data_dir}"
        raise InputError(f"no trained phase in {run_dir}: train one with {train}")
    query, gallery = (_read_split(dataset, name) for name in ("query", "gallery"))
    settings = check_splits(dataset, query, gallery, settings)
    results = [evaluate_phase(run_dir, phase, dataset, query, gallery, batch_size, settings) for phase in phases]
    summary = summarize(results, dataset, settings, command.command_line(), time.time() - started_at)
    page = render_page(results, dataset, query, gallery, summary)
    path = write_report(report_dir, page, long_table(results), summary)
    print(format_table(summary))
    if summary["protocol"] == ANY_CAMERA:
        print(WHY_ANY_CAMERA)
    print(f"report: {path}")
    return summary


def _report_dir(run_dir: str | os.PathLike, report_dir: str | os.PathLike | None, weights: str) -> pathlib.Path:
    """The folder of the report; an InputError when the run's report on its other weights belongs there."""
    folder = pathlib.Path(report_dir or runs.report_path(run_dir, weights))
    others = [runs.report_path(run_dir, other).resolve() for other in runs.WEIGHTS if other != weights]
    if folder.resolve() in others:
        raise InputError(
            f"--report_dir={folder} is for the other weights of the run: leave it out, or name another one"
        )
    return folder


def _read_split(dataset: Dataset, name: str) -> Split:
    if not dataset.has_images(name):
        raise InputError(
            f"{dataset.path}: nothing to evaluate, its {name} split has no image; convert it again with images of "
            "people who are not in the training split, the same people in query and gallery"
        )
    return read_split(dataset, name)


def format_table(summary: dict) -> str:
    """The main numbers of a summary in percent, a line per phase; without columns for a ranking that was left out."""
    columns = {
        "rank1": "rank-1",
        "mAP": "mAP",
        "mAP_interpolated": "mAP interpolated",
        "rank1_reranked": "rank-1 re-ranked",
        "mAP_reranked": "mAP re-ranked",
        "mAP_interpolated_reranked": "mAP interpolated re-ranked",
        "mean_attribute_accuracy": "attributes",
    }
    table = pd.DataFrame(summary["phases"]).T[list(columns)].astype(float)
    left_out = [name for name in columns if name.endswith("_reranked") and table[name].isna().all()]
    table = table.drop(columns=left_out).rename(columns=columns)
    table.loc["random order", "rank-1"] = summary["chance_rank1"]
    return (100 * table).to_string(float_format="%.1f", na_rep="-")


def main() -> None:
    args = flags.FLAGS
    settings = Settings(**command.read_flags(Settings))
    evaluate(args.run_dir, args.data_dir, args.phases, args.batch_size, settings, args.report_dir, args.started_at)


if __name__ == "__main__":
    flags.DEFINE_string("run_dir", None, "The run, such as runs/NAME.")
    flags.DEFINE_string("data_dir", None, "A dataset that data_prep converted.")
    flags.DEFINE_list("phases", None, "Phases to evaluate, separated by commas. Default: all that are trained.")
    flags.DEFINE_integer("batch_size", 64, "Images at a time; does not change the numbers.")
    command.define_flags(Settings)
    flags.DEFINE_string("report_dir", None, "Folder of the report. Default: RUN_DIR/report, or report_best there.")
    flags.DEFINE_float("started_at", None, "Unix time from which the report's seconds count. Default: now.")
    flags.mark_flags_as_required(["run_dir", "data_dir"])
    command.run(main)
