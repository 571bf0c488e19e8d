"""Models trained on each dataset, tested on all: rank-1 and mAP as a matrix, a heat map and a CSV file.

python -m experiments.cross_domain --runs=runs/paper/rendered/seed0/lrdnn,runs/paper/cuhk03/seed0/lrdnn \\
    --datasets=data/market1501,data/cuhk03

Runs that trained the same method on the same dataset are seeds of one row. With --adapt_batch_norm each row is also
measured with BatchNorm averages of the tested dataset, which are computed from its images without labels.
"""

import dataclasses
import json
import os
import pathlib

import numpy as np
import pandas as pd
from absl import flags
from matplotlib.figure import Figure

from experiments.tables import page, runner
from experiments.tables.plan import EXPERIMENTS, SUMMARY, Step
from lrdnn_base import command
from lrdnn_base.errors import InputError
from lrdnn_base.files import replacing, write_text
from lrdnn_base.options import check_options, option
from lrdnn_tf import runs
from lrdnn_tf.data.dataset import read_dataset

NAME = "cross_domain"
_SCORES = {"rank-1": "rank1", "mAP": "mAP", "rank-1 re-ranked": "rank1_reranked", "mAP re-ranked": "mAP_reranked"}
_ADAPTED = ", BatchNorms adapted"


@dataclasses.dataclass(frozen=True)
class Options:
    """What is tested on what. Lists are separated by commas."""

    runs: str = option(help="Trained runs; the last phase of each is tested.")
    datasets: str = option(help="Converted datasets with query and gallery.")
    adapt_batch_norm: bool = option(True, "Also test with BatchNorm averages of the tested dataset.")
    out_dir: str = option("runs/cross_domain", "Folder of the evaluations.")
    results_dir: str = option(str(EXPERIMENTS / "results"), "Folder of the page, the CSV file and the heat map.")
    jobs: int = option(1, "Evaluations at a time.", at_least=1)

    def __post_init__(self):
        check_options(self)


def make(options: Options, made_by: str) -> pathlib.Path:
    """Evaluates what is not done yet, and overwrites the page after each evaluation.

    Args:
        options: What is tested on what.
        made_by: The command line, for the page.

    Returns:
        Path of the page.

    Raises:
        InputError: A run has no trained phase, a dataset cannot be read, or an evaluation failed.
        Stopped: See runner.run.
    """
    run_dirs, data_dirs = (_folders(getattr(options, name), name) for name in ("runs", "datasets"))
    names = [read_dataset(data_dir).name for data_dir in data_dirs]
    if len(set(names)) < len(names):
        raise InputError(f"--datasets: two of them have one name ({', '.join(names)}); convert with another --name")
    cells = [
        (run_dir, data_dir, adapted)
        for run_dir in run_dirs
        for data_dir in data_dirs
        for adapted in ((False, True) if options.adapt_batch_norm else (False,))
    ]
    steps = [_step(*cell, options) for cell in cells]

    def write_page() -> pathlib.Path:
        done = [_line(*cell, step) for cell, step in zip(cells, steps, strict=True) if step.done.is_file()]
        return _write(pd.DataFrame(done), names, options, made_by)

    runner.run(steps, write_page, options.jobs)
    return write_page()


def matrix(lines: pd.DataFrame, names: list[str], score: str) -> pd.DataFrame:
    """Mean ± standard deviation over runs, as text: a row per method and training set, a column per tested dataset."""
    groups = lines.groupby(["trained on", "method", "adapted", "tested on"], sort=False)[score]
    table = groups.apply(page.mean_and_spread).unstack("tested on").reindex(columns=names).fillna("-")
    table.index = [f"{method}, {source}{_ADAPTED if adapted else ''}" for source, method, adapted in table.index]
    return table


def draw(lines: pd.DataFrame, names: list[str]) -> Figure:
    """Rank-1 and mAP of every row on every dataset, as two heat maps."""
    rows = list(matrix(lines, names, "mAP").index)
    figure = Figure(figsize=(3.4 + 2.6 * len(names), 1.4 + 0.5 * len(rows)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, score in zip(panels, ("rank-1", "mAP"), strict=True):
        text = matrix(lines, names, score)
        means = text.map(lambda cell: np.nan if cell == "-" else float(cell.split()[0]))
        axes.imshow(means, cmap="YlGnBu", vmin=0, vmax=100, aspect="auto")
        for row, column in np.argwhere(means.notna().to_numpy()):
            colour = "white" if means.iat[row, column] > 55 else "#1f2933"
            axes.text(column, row, text.iat[row, column], ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(rows)), rows)
        axes.set(title=f"{score} (%)", xlabel="tested on")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure


def _folders(value: str, name: str) -> list[str]:
    folders = list(dict.fromkeys(folder.strip().rstrip("/") for folder in value.split(",") if folder.strip()))
    if not folders:
        raise InputError(f"--{name} is empty")
    return folders


def _step(run_dir: str, data_dir: str, adapted: bool, options: Options) -> Step:
    phases = runs.trained_phases(run_dir)
    if not phases:
        raise InputError(f"no trained phase in {run_dir}")
    name = f"{os.path.relpath(run_dir).replace(os.sep, '_')}_on_{read_dataset(data_dir).name}"
    name += "_adapted" if adapted else ""
    report = pathlib.Path(options.out_dir) / name
    arguments = ("lrdnn_tf.evaluate", f"--run_dir={run_dir}", f"--data_dir={data_dir}", f"--phases={phases[-1]}")
    arguments += (f"--report_dir={report}", *(["--adapt_batch_norm"] if adapted else []))
    needs = (runs.weights_path(run_dir, phases[-1]),)
    return Step(arguments, report / SUMMARY, pathlib.Path(options.out_dir) / "logs" / f"{name}.log", needs)


def _line(run_dir: str, data_dir: str, adapted: bool, step: Step) -> dict[str, object]:
    summary = json.loads(step.done.read_text(encoding="utf-8"))
    ((phase, scores),) = summary["phases"].items()
    percent = {name: None if scores[key] is None else 100 * scores[key] for name, key in _SCORES.items()}
    trained_on = runs.read_config(run_dir, phase)["dataset"]["name"]
    line = {"run": run_dir, "trained on": trained_on, "method": scores["method"], "tested on": summary["dataset"]}
    return line | {"adapted": adapted, "protocol": summary["protocol"], **percent}


def _write(lines: pd.DataFrame, names: list[str], options: Options, made_by: str) -> pathlib.Path:
    path = pathlib.Path(options.results_dir) / f"{NAME}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    by_hand = page.written_by_hand(path.read_text(encoding="utf-8")) if path.is_file() else ""
    with replacing(path.with_suffix(".csv")) as file:
        lines.to_csv(file, index=False, float_format="%.4g")
    with replacing(path.with_suffix(".png")) as file:
        draw(lines, names).savefig(file, dpi=120)
    parts = ["# Trained on one dataset, tested on all"]
    for score in _SCORES:
        table = matrix(lines, names, score)
        parts += [f"{score}, in percent, mean ± standard deviation over runs; a row per method and training set."]
        parts += [page.grid([{"": name, **row} for name, row in table.to_dict("index").items()])]
    parts += [f"![rank-1 and mAP]({NAME}.png)"]
    parts += [page.BY_HAND, by_hand] if by_hand else []
    parts += [page.MADE, f"`{made_by}`"]
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def main() -> None:
    print(make(Options(**command.read_flags(Options)), command.command_line()))


if __name__ == "__main__":
    command.define_flags(Options)
    flags.mark_flags_as_required(["runs", "datasets"])
    command.run(main)
