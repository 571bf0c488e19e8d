"""Evaluates the trained phases of a run: python -m lrdnn_tf.evaluate --run_dir=runs/NAME --data_dir=DATASET"""

import dataclasses
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
from lrdnn_tf.data.pipeline import read_labels
from lrdnn_tf.evaluation.queries import POOLINGS
from lrdnn_tf.evaluation.report import summarize, write_report
from lrdnn_tf.evaluation.results import DEFAULTS, Settings, evaluate_phase


def evaluate(
    run_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    phases: Sequence[str] | None = None,
    batch_size: int = 64,
    settings: Settings = DEFAULTS,
    report_dir: str | os.PathLike | None = None,
    started_at: float | None = None,
) -> dict:
    """Measures the phases of a run on a dataset's query and gallery, writes the report and prints a table.

    Args:
        run_dir: The run, such as runs/NAME.
        data_dir: A dataset that data_prep converted.
        phases: Which phases; all that are trained when None.
        batch_size: Images at a time; does not change the numbers.
        settings: How descriptors are made and compared.
        report_dir: Where the report goes, run_dir/report when None.
        started_at: Unix time from which "seconds" counts, now when None.

    Returns:
        The content of summary.json, see `lrdnn_tf.evaluation.report.summarize`.

    Raises:
        InputError: A phase or the dataset is missing or cannot be used.
    """
    started_at = time.time() if started_at is None else started_at
    dataset = read_dataset(data_dir)
    phases = list(phases or runs.trained_phases(run_dir))
    if not phases:
        train = f"python -m lrdnn_tf.train --phase=identity --run_dir={run_dir} --data_dir={data_dir}"
        raise InputError(f"no trained phase in {run_dir}: train one with {train}")
    query_labels, gallery_labels = (_labels(dataset, split) for split in ("query", "gallery"))
    results = [
        evaluate_phase(run_dir, phase, dataset, query_labels, gallery_labels, batch_size, settings) for phase in phases
    ]
    started_by = command.command_line()
    summary = summarize(results, dataset, settings, started_by, time.time() - started_at)
    page = write_report(
        pathlib.Path(run_dir) / "report" if report_dir is None else report_dir,
        results,
        dataset,
        query_labels,
        gallery_labels,
        summary,
    )
    print(format_table(summary))
    print(f"report: {page}")
    return summary


def _labels(dataset: Dataset, split: str) -> pd.DataFrame:
    if split not in dataset.splits or not dataset.splits[split].examples:
        raise InputError(
            f"{dataset.path}: nothing to evaluate, its {split} split has no image; convert it again with images of "
            "other people than those of the training split, the same in query and gallery"
        )
    return read_labels(dataset, split)


def format_table(summary: dict) -> str:
    """The headline numbers of a summary in percent, a line per phase."""
    columns = {
        "rank1": "rank-1",
        "mAP": "mAP",
        "rank1_reranked": "rank-1 re-ranked",
        "mAP_reranked": "mAP re-ranked",
        "mean_attribute_accuracy": "attributes",
    }
    table = pd.DataFrame(summary["phases"]).T[list(columns)].astype(float).rename(columns=columns)
    table.loc["random order", "rank-1"] = summary["chance_rank1"]
    return (100 * table).to_string(float_format="%.1f", na_rep="-")


def main() -> None:
    args = flags.FLAGS
    evaluate(
        args.run_dir,
        args.data_dir,
        args.phases,
        args.batch_size,
        Settings(**{field.name: args[field.name].value for field in dataclasses.fields(Settings)}),
        args.report_dir,
        args.started_at,
    )


if __name__ == "__main__":
    flags.DEFINE_string("run_dir", None, "The run, such as runs/NAME.")
    flags.DEFINE_string("data_dir", None, "A dataset that data_prep converted.")
    flags.DEFINE_list("phases", None, "Phases to evaluate, separated by commas. Default: all that are trained.")
    flags.DEFINE_integer("batch_size", 64, "Images at a time; does not change the numbers.")
    flags.DEFINE_bool("flip", False, "Average every descriptor with that of the mirror image.")
    flags.DEFINE_enum(
        "multi_query", "none", ["none", *POOLINGS], "Pool each query with all images of its person in its camera."
    )
    flags.DEFINE_integer("query_expansion", 0, "Average each query with so many of the images nearest to it.")
    flags.DEFINE_integer("k1", 20, "Re-ranking: neighbours that are tried for reciprocity.")
    flags.DEFINE_integer("k2", 6, "Re-ranking: neighbours that a vector is averaged over.")
    flags.DEFINE_float("lambda_value", 0.3, "Re-ranking: share of the original distance.")
    flags.DEFINE_string("report_dir", None, "Where the report goes. Default RUN_DIR/report.")
    flags.DEFINE_float("started_at", None, "Unix time from which the report's seconds count. Default: now.")
    flags.mark_flags_as_required(["run_dir", "data_dir"])
    command.run(main)
