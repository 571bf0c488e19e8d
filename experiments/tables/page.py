"""The page of a table: NAME_DATASET.md with means and spreads, .csv with a line per row and seed, .png."""

import pathlib
import re
import shlex
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.tables import plan
from experiments.tables.measured import CHANNEL_WEIGHTS, SCORES, joined
from experiments.tables.plan import Options
from experiments.tables.rows import DATASETS, RENDERED, Row, Table
from lrdnn_base.files import replacing, write_text
from lrdnn_tf.evaluation.report import WHY_RERANKED

_TITLES = {
    "market1501": "Market-1501",
    "dukemtmc": "DukeMTMC-reID",
    "cuhk03": "CUHK03",
    "rendered": "the built-in dataset",
}
BY_HAND, _DIFFERENCES, _OTHERS, MADE = (
    "## What it shows", "## Differences in mAP", "## Others", "## How it was made",
)  # fmt: skip
_LEGEND = (
    "In percent, mean ± standard deviation over seeds, which share one pose network{}; minutes of the row's phase."
)
_LEGEND_WEIGHTS = (
    " Channel weights: lowest and highest mean weight of a pose map, from 0 to 1; they start at 0.5. Spread: standard "
    "deviation of a map's weight over 128 query images, median over the maps; 0 if all images get the same weights."
)
_LEGEND_PAPER = f" The paper's columns (rank-1 / mAP) are copied from the paper, not measured here. {WHY_RERANKED}"
_WEIGHTS = "channel weights"
_COLOUR, _GRAY = "#0f766e", "#5b6776"
_OFFSET = 0.18  # of a row's dots without re-ranking, upwards, and of its re-ranked ones, downwards


def write(lines: pd.DataFrame, table: Table, options: Options, command: str) -> pathlib.Path:
    """Writes NAME_DATASET.csv, .md and .png, and returns the path of the page, .md.

    The section "## What it shows" of an existing page is kept. `lines` are those returned by measured, at least one;
    `command` is the command that makes the table.
    """
    page = pathlib.Path(options.results_dir) / f"{table.name}_{options.dataset}.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    by_hand = written_by_hand(page.read_text(encoding="utf-8")) if page.is_file() else ""
    with replacing(page.with_suffix(".csv")) as path:
        lines.to_csv(path, index=False, float_format="%.4g")
    with replacing(page.with_suffix(".png")) as path:
        draw(lines, table, options.dataset).savefig(path, dpi=120)
    write_text(page, _markdown(lines, table, options, command, by_hand))
    return page


def written_by_hand(page: str) -> str:
    """The section "## What it shows" of a page, without its heading."""
    ends = "|".join((_DIFFERENCES, _OTHERS, MADE))
    found = re.search(rf"^{BY_HAND}\n(.*?)^({ends}|\Z)", page, re.DOTALL | re.MULTILINE)
    return found[1].strip() if found else ""


def _markdown(lines: pd.DataFrame, table: Table, options: Options, command: str, by_hand: str) -> str:
    rows = [row for row in table.rows if row.name in set(lines["row"])]
    papers = {}  # titles of the columns with the paper's scores, by dataset
    if table.beside_paper:
        shown = [dataset for dataset in DATASETS if options.dataset in (RENDERED, dataset)]
        quoted = [dataset for dataset in shown if any(dataset in row.paper for row in table.rows)]
        papers = {dataset: f"the paper, {_TITLES[dataset]}" for dataset in quoted}
    scores = _scores(lines, rows, papers)
    legend = _LEGEND.format(" on each machine" if options.measured_elsewhere else "")
    legend += (_LEGEND_WEIGHTS if _WEIGHTS in scores else "") + (_LEGEND_PAPER if papers else "")
    parts = [f"# {table.title}, on {_TITLES[options.dataset]}", table.text, scores, legend]
    parts.append(f"![{table.title}]({table.name}_{options.dataset}.png)")
    if by_hand:
        parts += [BY_HAND, by_hand]
    if differences := _differences(lines, table, rows, papers):
        parts += [_DIFFERENCES, "Between two rows, within the same seed, without and with re-ranking.", differences]
    if table.others:
        parts += [_OTHERS, "Rank-1 / mAP as the paper quotes them, not measured here.", table.others]
    first = int(lines["seed"].min())
    commands = [f"python -m {shlex.join(step.command)}" for step in plan.steps(rows, [first], options)]
    revisions = joined(re.sub(r"([0-9a-f]{12})[0-9a-f]+", r"`\1`", revision) for revision in lines["revision"])
    minutes = f"{lines['minutes'].sum():.0f} minutes of training in these rows"
    parts += [MADE, f"`{command}`", f"Revision {revisions}. Machine: {joined(lines['machine'])}. {minutes}."]
    parts += [f"Or step by step, for seed {first}:", "\n".join(["```bash", *commands, "```"])]
    return "\n\n".join(filter(None, parts)) + "\n"


def _scores(lines: pd.DataFrame, rows: Sequence[Row], papers: Mapping[str, str]) -> str:
    body = []
    for row in rows:
        own = lines[lines["row"] == row.name]
        cells = {"row": row.name, "seeds": str(len(own))}
        for column in SCORES:
            if column == "attributes":  # which follow our re-ranked scores
                for dataset, title in papers.items():
                    cells[title] = "{:.1f} / {:.1f}".format(*row.paper[dataset]) if dataset in row.paper else "-"
            if lines[column].notna().any():
                cells[column] = mean_and_spread(own[column])
        if lines[list(CHANNEL_WEIGHTS)].notna().any(axis=None):
            lowest, highest, spread = own[list(CHANNEL_WEIGHTS)].astype(float).mean()
            cells[_WEIGHTS] = "-" if np.isnan(lowest) else f"{lowest:.2f} to {highest:.2f}, spread {spread:.3f}"
        body.append(cells | {"minutes": f"{own['minutes'].mean():.1f}"})
    return grid(body)


def _differences(lines: pd.DataFrame, table: Table, rows: Sequence[Row], papers: Mapping[str, str]) -> str:
    columns = [column for column in ("mAP", "mAP re-ranked") if lines[column].notna().any()]
    by_seed = lines.pivot(index="seed", columns="row", values=columns)
    body = []
    for row in rows:
        for other in [other for other in rows if other.name in table.compared.get(row.name, ())]:
            differences = (
                by_seed.xs(row.name, axis=1, level="row") - by_seed.xs(other.name, axis=1, level="row")
            ).dropna()
            if differences.empty:
                continue
            cells = {"": f"{row.name} − {other.name}"}
            for column in columns:
                cells[column] = mean_and_spread(differences[column])
                cells[f"{column}, each seed"] = ", ".join(f"{value:+.1f}" for value in differences[column])
            for dataset, title in papers.items():
                quoted = dataset in row.paper and dataset in other.paper
                cells[title] = f"{row.paper[dataset][1] - other.paper[dataset][1]:+.1f}" if quoted else "-"
            body.append(cells)
    return grid(body) if body else ""


def grid(body: Sequence[Mapping[str, str]]) -> str:
    """A Markdown table of lines that have the same columns."""
    lines = [list(body[0]), ["---"] * len(body[0]), *(list(cells.values()) for cells in body)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def mean_and_spread(values: pd.Series) -> str:
    """Mean ± sample standard deviation of the values that are not missing."""
    values = values.dropna()
    if values.empty:
        return "-"
    spread = f" ± {values.std():.1f}" if len(values) > 1 else ""
    return f"{round(values.mean(), 1) + 0.0:.1f}{spread}"  # + 0.0 turns -0.0 into 0.0


def draw(lines: pd.DataFrame, table: Table, dataset: str) -> Figure:
    """Rank-1 and mAP, without re-ranking above and re-ranked below: a dot per seed, and a bar at their mean.

    The paper's score of a row is a diamond beside the re-ranked scores.
    """
    names = list(dict.fromkeys(lines["row"]))
    paper = {row.name: row.paper[dataset] for row in table.rows if table.beside_paper and dataset in row.paper}
    figure = Figure(figsize=(10, 1.7 + 0.55 * len(names)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for index, (axes, column) in enumerate(zip(panels, ("rank-1", "mAP"), strict=True)):
        for position, name in enumerate(names):
            own = lines[lines["row"] == name]
            _draw_seeds(
                axes, own[column], position - _OFFSET, "without re-ranking", mfc=_COLOUR, mec="none", alpha=0.55
            )
            _draw_seeds(axes, own[f"{column} re-ranked"], position + _OFFSET, "re-ranked", mfc="none", mec=_COLOUR)
            if name in paper:
                label = "the paper, most likely re-ranked"
                axes.plot(paper[name][index], position + _OFFSET, "D", mfc="none", mec=_GRAY, ms=7, label=label)
        axes.set(xlabel=f"{column} (%)", ylim=(len(names) - 0.5, -0.5))
        axes.set_yticks(range(len(names)), names)
        axes.grid(axis="x", color="#e3e7ec")
        axes.tick_params(length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(f"{table.title}, on {_TITLES[dataset]}", fontsize=11)
    handles, labels = panels[0].get_legend_handles_labels()
    meanings = dict(zip(labels, handles, strict=True))  # one of each label
    figure.legend(meanings.values(), meanings.keys(), loc="outside lower center", ncols=len(meanings), frameon=False)
    return figure


def _draw_seeds(axes: Axes, values: pd.Series, position: float, ranking: str, **style) -> None:
    values = values.dropna().to_numpy()
    if values.size:
        axes.plot(values, np.full(len(values), position), "o", ms=7, label=f"a seed, {ranking}", **style)
        axes.plot([values.mean()] * 2, [position - 0.14, position + 0.14], color=_COLOUR, lw=2.5, label="mean")
