"""What was measured: scores, channel weights and training time of every row and seed, read from its run."""

import json
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from experiments.tables import plan
from experiments.tables.plan import Options
from experiments.tables.rows import Row
from lrdnn_base.errors import InputError
from lrdnn_base.run_folder import CONFIG_FILE, ENVIRONMENT_FILE, read_run_json

SCORES = {
    "rank-1": "rank1",
    "mAP": "mAP",
    "rank-1 re-ranked": "rank1_reranked",
    "mAP re-ranked": "mAP_reranked",
    "attributes": "mean_attribute_accuracy",
}
CHANNEL_WEIGHTS = ("lowest channel weight", "highest channel weight", "channel weight spread")
_COLUMNS = ("row", "seed", *SCORES, *CHANNEL_WEIGHTS, "minutes", "revision", "machine", "command")


def measured(rows: Sequence[Row], seeds: Sequence[int], options: Options) -> pd.DataFrame:
    """A line for each row and seed whose evaluation exists and belongs to the present weights.

    Returns:
        Columns row, seed; rank-1, mAP, rank-1 re-ranked, mAP re-ranked, attributes (mean accuracy), in percent;
        lowest and highest mean weight that the channel parse block gives a pose map, and the standard deviation of a
        map's weight over images (median over the maps), if the row has that block;
        minutes of training of the row's own phase (wall-clock); git revision, machine and command.
    """
    done = [(row, seed) for row in rows for seed in seeds if plan.is_done(plan.evaluation(row, seed, options))]
    return pd.DataFrame([_line(row, seed, options) for row, seed in done], columns=_COLUMNS)


def read_elsewhere(files: str, rows: Sequence[Row]) -> pd.DataFrame:
    """The lines of CSV files that the same table wrote on other machines; a row and seed counts once, the first time.

    Args:
        files: Paths, separated by commas; may be empty.
        rows: The rows of the table.

    Raises:
        InputError: A file is missing, is not such a CSV file, or has a row that the table has not.
    """
    parts = [_read_lines(pathlib.Path(file.strip()), rows) for file in files.split(",") if file.strip()]
    return merged(parts, rows) if parts else pd.DataFrame(columns=_COLUMNS)


def merged(parts: Sequence[pd.DataFrame], rows: Sequence[Row]) -> pd.DataFrame:
    """All lines, row by row and seed by seed; of two for the same row and seed, that of the earlier part."""
    lines = pd.concat([part for part in parts if len(part)] or parts[:1]).drop_duplicates(["row", "seed"])
    order = {row.name: position for position, row in enumerate(rows)}
    return lines.iloc[np.lexsort([lines["seed"], lines["row"].map(order)])].reset_index(drop=True)


def _read_lines(file: pathlib.Path, rows: Sequence[Row]) -> pd.DataFrame:
    try:
        lines = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise InputError(f"--measured_elsewhere: {file}: {error}") from error
    if missing := [column for column in _COLUMNS if column not in lines]:
        raise InputError(f"{file} is not the CSV file of a table: it has no column {', '.join(missing)}")
    if unknown := set(lines["row"]) - {row.name for row in rows}:
        raise InputError(f"{file} is of another table: this one has no row {', '.join(sorted(unknown))}")
    return lines[list(_COLUMNS)]


def joined(values: Iterable[str | None]) -> str:
    """The distinct values, in their order."""
    return "; ".join(dict.fromkeys(value or "unknown" for value in values))


def _line(row: Row, seed: int, options: Options) -> dict[str, object]:
    scores = json.loads(plan.evaluation(row, seed, options).done.read_text())["phases"][row.phase]
    folder = plan.weights(row, seed, options).parent
    starts = read_run_json(folder / ENVIRONMENT_FILE)["starts"]
    percent = {column: None if scores[key] is None else 100 * scores[key] for column, key in SCORES.items()}
    if read_run_json(folder / CONFIG_FILE)["training"]["attribute_weight"] == 0:
        percent["attributes"] = None  # the heads were not trained
    weights = [weight for maps in (scores.get("channel_weights") or {}).values() for weight in maps.values()]
    return {
        "row": row.name,
        "seed": seed,
        **percent,
        "lowest channel weight": min(weights, default=None),
        "highest channel weight": max(weights, default=None),
        "channel weight spread": scores.get("channel_weight_spread"),
        "minutes": pd.read_csv(folder / "metrics.csv")["seconds"].sum() / 60,
        "revision": joined(start["git_revision"] for start in starts),
        "machine": joined(start["machine"] for start in starts),
        "command": starts[-1]["command"],
    }
