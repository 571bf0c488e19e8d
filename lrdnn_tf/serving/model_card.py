"""The model card of an export, from the text in model_card.md: data, metrics, intended use, limits, law and ethics."""

import json
import os
import pathlib

from lrdnn_base.files import read_json
from lrdnn_tf import runs

CARD_FILE = "assets.extra/model_card.md"
_TEMPLATE = pathlib.Path(__file__).with_suffix(".md")
_SHOWN = {
    "rank1": "rank-1",
    "mAP": "mAP",
    "rank1_reranked": "rank-1, re-ranked",
    "mAP_reranked": "mAP, re-ranked",
    "mean_attribute_accuracy": "mean attribute accuracy",
    "mean_attribute_balanced_accuracy": "mean balanced attribute accuracy",
}


def model_card(config: dict, summary: dict | None, weights: str = "last") -> str:
    """The card as Markdown.

    Args:
        config: config.json of the phase.
        summary: summary.json of the run's report on these weights; None when they were not evaluated.
        weights: "last" or "best".
    """
    model, phase = config["model"], config["phase"]
    tasks = [f"- {task['name']}: {', '.join(task['classes'])}" for task in model["attributes"]]
    return _TEMPLATE.read_text(encoding="utf-8").format(
        model=model,
        dataset=config["dataset"],
        phase=phase,
        weights=runs.WEIGHTS[weights],
        attributes="\n".join(["Attributes and their classes:", "", *tasks]) if tasks else "It has no attribute heads.",
        metrics=_metrics(phase, summary),
        config=json.dumps({"model": model, "training": config["training"]}, indent=2),
    )


def read_summary(run_dir: str | os.PathLike, weights: str = "last") -> dict | None:
    """The content of summary.json in the run's report on these weights; None when there is no such file.

    Raises:
        InputError: The file cannot be read.
    """
    path = runs.report_path(run_dir, weights) / "summary.json"
    return read_json(path, "evaluate again with python -m lrdnn_tf.evaluate") if path.is_file() else None


def _metrics(phase: str, summary: dict | None) -> str:
    measured = (summary or {}).get("phases", {}).get(phase)
    if not measured:
        return "Not measured before the export: run `python -m lrdnn_tf.evaluate`, then export again."
    rows = [f"| {name} | {100 * measured[key]:.1f} |" for key, name in _SHOWN.items() if measured.get(key) is not None]
    return "\n".join(
        [
            f"In percent, on the {measured['queries']} queries of `{summary['dataset']}`, whose people are not in the",
            f"training images; {_protocol(summary)}.",
            "",
            "| | |",
            "|---|---|",
            *rows,
            f"| rank-1 of a random order | {100 * summary['chance_rank1']:.1f} |",
        ]
    )


def _protocol(summary: dict) -> str:
    name = summary.get("protocol", "cross-camera")  # which earlier versions did not name
    if name == "cross-camera":
        return "cross-camera protocol of Market-1501"
    return f"{name} protocol, since cameras are unknown: every other image of the person counts as a match"
