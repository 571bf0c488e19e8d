"""The report of a run: summary.json, tables.csv and index.html, a page that needs no other file."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2
import pandas as pd

from lrdnn_base.errors import InputError
from lrdnn_base.files import replacing, to_json
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.data.dataset import Dataset
from lrdnn_tf.data.split import Split
from lrdnn_tf.evaluation import fusion_pictures, pictures
from lrdnn_tf.evaluation.attributes import mean_score
from lrdnn_tf.evaluation.protocol import ANY_CAMERA, WHY_ANY_CAMERA
from lrdnn_tf.evaluation.ranking import Ranking
from lrdnn_tf.evaluation.results import COSINE, RERANKED, PhaseResult, Settings
from lrdnn_tf.model.channel_weights import by_name, median_spread
from lrdnn_tf.runs import WEIGHTS

PAGE, TABLES, SUMMARY = "index.html", "tables.csv", "summary.json"

# Rank-1 and mAP in percent, tables 3 and 4 of the paper; most likely re-ranked, see WHY_RERANKED.
PAPER = {
    "market1501": {
        "B": (80.3, 69.8),
        "B+A": (87.2, 78.4),
        "B+A+H": (88.7, 80.1),
        "B+A+C": (87.4, 79.6),
        "B+A+H+C without channel parsing": (89.7, 81.5),
        "B+A+H+C (LRDNN)": (90.4, 82.8),
    },
    "dukemtmc": {
        "B": (74.1, 65.5),
        "B+A": (82.0, 70.6),
        "B+A+H": (81.4, 71.2),
        "B+A+C": (79.7, 70.9),
        "B+A+H+C (LRDNN)": (85.3, 73.2),
    },
}
WHY_RERANKED = (
    "The paper's scores are most likely re-ranked: section 4.3 adopts re-ranking, and on Market-1501 its rank-1 is "
    "above its mAP by only 7.6 to 10.5 points, as is usual after re-ranking. They are therefore to be compared with "
    "re-ranked scores."
)
_SHOWN_RANKS = (1, 5, 10, 20)


def summarize(
    results: Sequence[PhaseResult], dataset: Dataset, settings: Settings, command: str, seconds: float
) -> dict:
    """The content of summary.json; every rate is between 0 and 1, and null where it was not measured.

    Args:
        results: One per phase, on the same dataset.
        dataset: The dataset.
        settings: How descriptors were computed and compared.
        command: The command line that started the evaluation.
        seconds: Duration of the evaluation.
    """
    return {
        "dataset": dataset.name,
        "protocol": results[0].protocol,
        "phases": {result.phase: _phase_summary(result) for result in results},
        "chance_rank1": results[0].by_cosine.chance_rank1,
        "settings": dataclasses.asdict(settings),
        "command": command,
        "seconds": round(seconds, 1),
    }


def write_report(report_dir: str | os.PathLike, page: str, table: pd.DataFrame, summary: dict) -> pathlib.Path:
    """Writes the results of `render_page`, `long_table` and `summarize` as the files of a report.

    All of them are written before the first one replaces its predecessor, and summary.json is replaced last, so that a
    folder that has one holds a complete report.

    Returns:
        The path of index.html.

    Raises:
        InputError: The folder cannot be written.
    """
    folder = pathlib.Path(report_dir)
    contents = {SUMMARY: to_json(summary), TABLES: table.to_csv(index=False), PAGE: page}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as replacements:  # which take place in reverse order
            for name, content in contents.items():
                replacements.enter_context(replacing(folder / name)).write_text(content, encoding="utf-8")
            (folder / SUMMARY).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot write the report ({error.strerror}); try another --report_dir") from error
    return folder / PAGE


def method_name(config: ModelConfig) -> str:
    """The paper's letters for a model: B, +A attributes, +H confidence maps, +C affinity maps.

    Only the model that is the paper's proposal ends in "(LRDNN)". What the paper has no row for gets a name of its own.
    """
    letters = ["B"]
    letters += ["A"] if config.attributes else []
    letters += ["H"] if config.pose_maps in ("confidence", "both") else []
    letters += ["C"] if config.pose_maps in ("affinity", "both") else []
    letters += ["positions"] if config.pose_maps == "positions" else []
    name = "+".join(letters)
    changes = ["without channel parsing"] if config.has_pose_branch and not config.channel_parse else []
    changes += ["on pool5"] if config.has_pose_branch and config.fuse == "pool5" else []
    if changes:
        return f"{name} {', '.join(changes)}"
    return f"{name} (LRDNN)" if name == "B+A+H+C" else name


def long_table(results: Sequence[PhaseResult]) -> pd.DataFrame:
    """Every number of the report, one per row: phase, table, item, metric, value."""
    rows = []

    def add(phase: str, table: str, item: str, metrics: dict[str, float]) -> None:
        rows.extend((phase, table, item, metric, value) for metric, value in metrics.items())

    for result in results:
        for name, ranking in result.rankings.items():
            table = "retrieval" if name == COSINE else f"retrieval {name}"
            cmc = {f"rank{rank}": value for rank, value in enumerate(ranking.cmc, 1)}
            add(result.phase, table, "", _rates(ranking) | cmc)
        for row in result.camera_pairs.itertuples():
            item = f"camera {row.query_camera} to {row.gallery_camera}"
            add(result.phase, "cameras", item, {"queries": row.queries, "rank1": row.rank1, "mAP": row.mAP})
        for row in [] if result.attributes is None else result.attributes.to_dict("records"):
            add(result.phase, "attributes", row.pop("task"), row)
    return pd.DataFrame(rows, columns=["phase", "table", "item", "metric", "value"])


def render_page(results: Sequence[PhaseResult], dataset: Dataset, query: Split, gallery: Split, summary: dict) -> str:
    """index.html as a string: all pictures are inside it, and nothing is fetched."""
    last = results[-1]
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "percent": _percent,
        "count": "{:,}".format,
        "picture": pictures.picture,
        "thumbnail": pictures.thumbnail,
        "chart": fusion_pictures.channel_weight_chart,
    }
    return templates.get_template("report.html").render(
        summary=summary,
        dataset=dataset,
        cameras=sorted({*query.labels["camera"], *gallery.labels["camera"]}),
        ranks=_SHOWN_RANKS,
        best_of=_best_values(results),
        results=results,
        suffixes={name: _suffix(name) for name in last.rankings},
        cmc_curves=pictures.cmc_curves({result.phase: result.rankings for result in results}),
        precision_histogram=pictures.precision_histogram(last.rankings),
        camera_heat_map=pictures.camera_heat_map(last.camera_pairs),
        query=query,
        gallery=gallery,
        attributes={result.phase: result.attributes for result in results if result.attributes is not None},
        paper=PAPER,
        why_reranked=WHY_RERANKED,
        why_any_camera=WHY_ANY_CAMERA if summary["protocol"] == ANY_CAMERA else "",
        measured={method_name(result.config): result.rankings for result in results},
        weights=WEIGHTS[summary["settings"]["weights"]],
        configs={result.phase: json.dumps(result.origin, indent=2) for result in results},
    )


def _suffix(ranking: str) -> str:
    """Ending of a ranking's keys in summary.json: "" for cosine, "_reranked" for re-ranked."""
    return "" if ranking == COSINE else "_" + ranking.replace("-", "")


def _rates(ranking: Ranking) -> dict[str, float]:
    return {
        "mAP": ranking.mean_ap,
        "mAP_trapezoid": ranking.mean_ap_trapezoid,
        "mAP_interpolated": ranking.mean_ap_interpolated,
        "mINP": ranking.mean_inp,
    }


def _phase_summary(result: PhaseResult) -> dict[str, Any]:
    summary: dict[str, Any] = {"method": method_name(result.config)}
    for name, ranking in result.rankings.items():
        rates = {f"rank{rank}": float(ranking.cmc[rank - 1]) for rank in _SHOWN_RANKS} | _rates(ranking)
        summary |= {metric + _suffix(name): value for metric, value in rates.items()}
    if RERANKED not in result.rankings:
        summary |= {metric + _suffix(RERANKED): None for metric in rates}
    return summary | {
        **_channel_weights(result),
        "queries": result.by_cosine.queries,
        "queries_left_out": result.by_cosine.queries_left_out,
        "mean_attribute_accuracy": mean_score(result.attributes, "accuracy"),
        "mean_attribute_balanced_accuracy": mean_score(result.attributes, "balanced_accuracy"),
    }


def _channel_weights(result: PhaseResult) -> dict[str, Any]:
    """Mean weight of each keypoint and each limb, and their spread over the images; None without channel parsing."""
    if result.fusion is None or result.fusion.channel_weights is None:
        return {"channel_weights": None, "channel_weight_spread": None}
    means = by_name(result.fusion.channel_weights)
    rounded = {
        kind: {name: round(float(value), 4) for name, value in of.droplevel(0).items()}
        for kind, of in means.groupby(level=0)
    }
    return {"channel_weights": rounded, "channel_weight_spread": median_spread(result.fusion.channel_weights)}


def _percent(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def _best_values(results: Sequence[PhaseResult]) -> dict[str, float]:
    """The highest value of each column of the main table, which is set in bold; none when there is one phase."""
    if len(results) == 1:
        return {}
    columns = pd.DataFrame([_phase_summary(result) for result in results]).select_dtypes("number")
    return columns.max().to_dict()
