"""What a table says: NAME_DATASET.csv with a line per row and seed, .md with means and spreads, .png."""

import json
import os
import pathlib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.tables import plan
from experiments.tables.plan import Place
from experiments.tables.rows import DATASETS, RENDERED, Row, Score, Table
from lrdnn_base.run_folder import CONFIG_FILE, ENVIRONMENT_FILE, read_run_json

_TITLES = {"market1501": "Market-1501", "dukemtmc": "DukeMTMC-reID", "rendered": "the built-in dataset"}
_SCORES = {
    "rank-1": "rank1",
    "mAP": "mAP",
    "rank-1 re-ranked": "rank1_reranked",
    "mAP re-ranked": "mAP_reranked",
    "attributes": "mean_attribute_accuracy",
}
_WEIGHTS = ("lowest channel weight", "highest channel weight")
_COLUMNS = ("row", "seed", *_SCORES, *_WEIGHTS, "minutes", "revision", "machine", "command")
_BY_HAND, _DIFFERENCES, _OTHERS, _MADE = (
    "## What it shows", "## Differences in mAP", "## Others", "## How it was made",
)  # fmt: skip
_COLOUR, _GRAY = "#0f766e", "#5b6776"


def measured(rows: Sequence[Row], seeds: Sequence[int], place: Place) -> pd.DataFrame:
    """A line for each row and seed whose measurement is there, and of the weights that are there.

    Returns:
        Columns row, seed; rank-1, mAP, rank-1 re-ranked, mAP re-ranked, attributes (mean accuracy), in percent;
        lowest and highest mean weight that the channel parse block gives a pose map, where there is one; minutes of
        training of the row's own phase by the clock; git revision, machine and command.
    """
    done = [(row, seed) for row in rows for seed in seeds if plan.is_done(plan.measurement(row, seed, place))]
    return pd.DataFrame([_line(row, seed, place) for row, seed in done], columns=_COLUMNS)


def _line(row: Row, seed: int, place: Place) -> dict[str, object]:
    scores = json.loads(plan.measurement(row, seed, place).done.read_text())["phases"][row.phase]
    percent = {column: None if scores[key] is None else 100 * scores[key] for column, key in _SCORES.items()}
    if _learned_no_attributes(row, seed, place):
        percent["attributes"] = None
    return {"row": row.name, "seed": seed, **percent, **_weights(scores), **_training(row, seed, place)}


def _learned_no_attributes(row: Row, seed: int, place: Place) -> bool:
    config = read_run_json(plan.weights(row, seed, place).parent / CONFIG_FILE)
    return config["training"]["attribute_weight"] == 0


def _weights(scores: Mapping[str, object]) -> dict[str, float]:
    of_maps = [weight for group in (scores.get("channel_weights") or {}).values() for weight in group.values()]
    return dict(zip(_WEIGHTS, (min(of_maps), max(of_maps)), strict=True)) if of_maps else {}


def _training(row: Row, seed: int, place: Place) -> dict[str, object]:
    folder = plan.weights(row, seed, place).parent
    starts = read_run_json(folder / ENVIRONMENT_FILE)["starts"]
    return {
        "minutes": pd.read_csv(folder / "metrics.csv")["seconds"].sum() / 60,
        "revision": _all(start["git_revision"] for start in starts),
        "machine": _all(start["machine"] for start in starts),
        "command": starts[-1]["command"],
    }


def _all(values: Iterable[str | None]) -> str:
    """Each of them once."""
    return "; ".join(dict.fromkeys(value or "unknown" for value in values))


def write(lines: pd.DataFrame, table: Table, place: Place, results_dir: pathlib.Path, command: str) -> pathlib.Path:
    """Writes NAME_DATASET.csv, .md and .png into results_dir.

    What a person wrote into the page under "## What it shows" stays.

    Args:
        lines: Of measured, one at least.
        table, place: Whose.
        results_dir: A folder.
        command: That made it.

    Returns:
        The path of the page.
    """
    page = results_dir / f"{table.name}_{place.dataset}.md"
    picture = page.with_suffix(".png")
    text = markdown(lines, table, place, command, picture.name, _kept(page))
    _whole(page.with_suffix(".csv"), lambda path: lines.to_csv(path, index=False, float_format="%.4g"))
    _whole(picture, lambda path: draw(lines, table, place.dataset).savefig(path, dpi=120))
    _whole(page, lambda path: path.write_text(text))
    return page


def _kept(page: pathlib.Path) -> str:
    """The section of a page that a person wrote."""
    if not page.is_file():
        return ""
    _, _, after = page.read_text().partition(f"{_BY_HAND}\n")
    for heading in (_DIFFERENCES, _OTHERS, _MADE):
        after = after.partition(f"\n{heading}\n")[0]
    return after.strip()


def _whole(path: pathlib.Path, write_to: Callable[[pathlib.Path], object]) -> None:
    """Under a temporary name first, of this process alone, so that a kill leaves the former page."""
    temporary = path.with_name(f"writing.{os.getpid()}.{path.name}")
    write_to(temporary)
    temporary.replace(path)


def markdown(lines: pd.DataFrame, table: Table, place: Place, command: str, picture: str, by_hand: str = "") -> str:
    """The page.

    Args:
        lines: Of measured.
        table, place: Whose.
        command: That made it.
        picture: The file of draw.
        by_hand: What a person says of it.
    """
    papers = [dataset for dataset in DATASETS if table.beside_paper and any(dataset in row.paper for row in table.rows)]
    if place.dataset != RENDERED:
        papers = [dataset for dataset in papers if dataset == place.dataset]
    there = [row for row in table.rows if row.name in set(lines["row"])]
    parts = [f"# {table.title}, on {_TITLES[place.dataset]}"]
    parts += [table.text] if table.text else []
    parts += [_scores(lines, there, papers), _legend(lines, papers), f"![{table.title}]({picture})"]
    parts += [_BY_HAND, by_hand] if by_hand else []
    if differences := _differences(lines, table, there, papers):
        parts += [_DIFFERENCES, "Of a row and another one within the same seed.", differences]
    if table.others:
        parts += [_OTHERS, "Rank-1 / mAP as the paper quotes them, not measured here.", _others(table)]
    parts += [_MADE, f"`{command}`", _made_by(lines)]
    parts += [f"Or by hand, for seed {lines['seed'].min()}:", _commands(lines, there, place)]
    return "\n\n".join(parts) + "\n"


def _legend(lines: pd.DataFrame, papers: Sequence[str]) -> str:
    sentences = [
        "In percent, mean ± standard deviation over the seeds, which share one pose network; minutes are those of the "
        "row's own phase."
    ]
    if _has_weights(lines):
        sentences.append(
            "Channel weights: the lowest and the highest that the channel parse block gives a pose map, from 0 to 1; "
            "it starts at 0.5."
        )
    if papers:
        sentences.append("The paper's columns (rank-1 / mAP) are copied from the paper, not measured here.")
    return " ".join(sentences)


def _scores(lines: pd.DataFrame, rows: Sequence[Row], papers: Sequence[str]) -> str:
    columns = [column for column in _SCORES if lines[column].notna().any()]
    parsed = _has_weights(lines)
    head = ["row", "seeds", *columns, *(["channel weights"] if parsed else [])]
    head += [*(f"the paper, {_TITLES[dataset]}" for dataset in papers), "minutes"]
    body = []
    for row in rows:
        of_row = lines[lines["row"] == row.name]
        cells = [mean_and_spread(of_row[column]) for column in columns]
        cells += [_range(of_row)] if parsed else []
        cells += [_score(row.paper.get(dataset)) for dataset in papers]
        body.append([row.name, str(len(of_row)), *cells, f"{of_row['minutes'].mean():.1f}"])
    return _grid(head, body)


def _differences(lines: pd.DataFrame, table: Table, rows: Sequence[Row], papers: Sequence[str]) -> str:
    by_seed = lines.pivot(index="seed", columns="row", values="mAP")
    body = []
    for row in rows:
        for other in [other for other in rows if other.name in table.compared.get(row.name, ())]:
            difference = (by_seed[row.name] - by_seed[other.name]).dropna()
            if difference.empty:
                continue
            each = ", ".join(f"{value:+.1f}" for value in difference)
            theirs = [
                f"{row.paper[dataset].mean_ap - other.paper[dataset].mean_ap:+.1f}"
                if dataset in row.paper and dataset in other.paper
                else "-"
                for dataset in papers
            ]
            body.append([f"{row.name} − {other.name}", mean_and_spread(difference), each, *theirs])
    head = ["", "difference", "each seed", *(f"the paper, {_TITLES[dataset]}" for dataset in papers)]
    return _grid(head, body) if body else ""


def _others(table: Table) -> str:
    datasets = [dataset for dataset in DATASETS if any(dataset in scores for scores in table.others.values())]
    body = [[name, *(_score(scores.get(dataset)) for dataset in datasets)] for name, scores in table.others.items()]
    return _grid(["method", *(_TITLES[dataset] for dataset in datasets)], body)


def _made_by(lines: pd.DataFrame) -> str:
    revisions = _all(re.sub(r"([0-9a-f]{12})[0-9a-f]+", r"`\1`", revision) for revision in lines["revision"])
    machines = _all(lines["machine"])
    return f"Revision {revisions}. Machine: {machines}. {lines['minutes'].sum():.0f} minutes of training in these rows."


def _commands(lines: pd.DataFrame, rows: Sequence[Row], place: Place) -> str:
    steps = plan.steps(rows, [int(lines["seed"].min())], place)
    return "\n".join(["```bash", *(f"python -m {shlex.join(step.command)}" for step in steps), "```"])


def _grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *body])


def _has_weights(lines: pd.DataFrame) -> bool:
    return bool(lines[list(_WEIGHTS)].notna().any(axis=None))


def _range(lines: pd.DataFrame) -> str:
    lowest, highest = lines[list(_WEIGHTS)].mean()
    return "-" if np.isnan(lowest) else f"{lowest:.2f} to {highest:.2f}"


def _score(score: Score | None) -> str:
    if score is None:
        return "-"
    return " / ".join("-" if value is None else f"{value:.1f}" for value in score)


def mean_and_spread(values: pd.Series) -> str:
    """Mean ± sample standard deviation of what is not missing."""
    values = values.dropna()
    if values.empty:
        return "-"
    mean = round(values.mean(), 1) + 0.0  # not -0.0
    return f"{mean:.1f}" + (f" ± {values.std():.1f}" if len(values) > 1 else "")


def draw(lines: pd.DataFrame, table: Table, dataset: str) -> Figure:
    """Rank-1 and mAP: a dot per seed, a bar at their mean, and a diamond where the paper has a number for it."""
    names = list(dict.fromkeys(lines["row"]))
    paper = {row.name: row.paper.get(dataset) for row in table.rows if table.beside_paper}
    figure = Figure(figsize=(10, 1.3 + 0.42 * len(names)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, column, score in zip(panels, ("rank-1", "mAP"), ("rank1", "mean_ap"), strict=True):
        for place, name in enumerate(names):
            values = lines.loc[lines["row"] == name, column].to_numpy()
            axes.plot(values, np.full(len(values), place), "o", color=_COLOUR, alpha=0.55, mec="none", ms=7)
            axes.plot([values.mean()] * 2, [place - 0.28, place + 0.28], color=_COLOUR, lw=2.5)
            if paper.get(name):
                axes.plot(getattr(paper[name], score), place, "D", mfc="none", mec=_GRAY, ms=7)
        axes.set(xlabel=f"{column} (%)", ylim=(len(names) - 0.5, -0.5))
        axes.set_yticks(range(len(names)), names)
        axes.grid(axis="x", color="#e3e7ec")
        axes.tick_params(length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    meaning = "dot: a seed, bar: mean" + (", diamond: the paper" if any(paper.values()) else "")
    figure.suptitle(f"{table.title}, on {_TITLES[dataset]} ({meaning})", fontsize=11)
    return figure
