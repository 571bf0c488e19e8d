"""The matrix of models trained on one dataset and tested on others."""

import dataclasses
import json
import re

import pandas as pd
import pytest

from experiments import cross_domain
from experiments.cross_domain import Options
from lrdnn_base.errors import InputError


@pytest.fixture
def options(tmp_path, monkeypatch) -> Options:
    """Three runs, two of them on one dataset, and two datasets; no evaluation is done."""
    monkeypatch.chdir(tmp_path)
    for number, trained_on in enumerate(("drawn", "drawn", "people")):
        folder = tmp_path / f"run{number}" / "identity"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"dataset": {"name": trained_on}}))
        (folder / "model.weights.h5").write_bytes(b"weights")
    for name in ("drawn", "people"):
        (tmp_path / f"data_{name}").mkdir()
        description = {"format_version": 1, "kind": "reid", "name": name, "attributes": [], "identities": []}
        description |= {"cameras": [], "splits": {}}
        (tmp_path / f"data_{name}" / "dataset.json").write_text(json.dumps(description))
    return Options(runs="run0,run1/,run2", datasets="data_drawn, data_people", results_dir="results")


def score(run: int, dataset: str, adapted: bool) -> float:
    return (10 * run + (dataset == "people") + 0.5 * adapted) / 100


@pytest.fixture
def evaluated(options, monkeypatch) -> Options:
    """`options`; evaluations write scores that depend on run, dataset and adaptation."""

    def run(steps, report, jobs):
        for step in steps:
            given = dict(argument.split("=") for argument in step.command[1:] if "=" in argument)
            number, dataset = int(given["--run_dir"][-1]), given["--data_dir"].removeprefix("data_")
            value = score(number, dataset, "--adapt_batch_norm" in step.command)
            scores = {"method": "B", "rank1": value, "mAP": value / 2, "rank1_reranked": None, "mAP_reranked": None}
            step.done.parent.mkdir(parents=True)
            summary = {"dataset": dataset, "protocol": "cross-camera", "phases": {given["--phases"]: scores}}
            step.done.write_text(json.dumps(summary))
            report()

    monkeypatch.setattr(cross_domain.runner, "run", run)
    return options


def test_every_run_is_tested_on_every_dataset_with_and_without_adaptation(evaluated, tmp_path):
    path = cross_domain.make(evaluated, "COMMAND")
    lines = pd.read_csv(path.with_suffix(".csv"))
    assert len(lines) == len(lines.drop_duplicates(["run", "tested on", "adapted"])) == 3 * 2 * 2
    for line in lines.to_dict("records"):
        expected = 100 * score(int(line["run"][-1]), line["tested on"], line["adapted"])
        assert line["rank-1"] == pytest.approx(expected)
        assert line["mAP"] == pytest.approx(expected / 2)
    assert path.with_suffix(".png").stat().st_size > 1000


def test_runs_on_one_dataset_are_seeds_of_one_row(evaluated):
    page = cross_domain.make(evaluated, "COMMAND").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| B, ")]
    assert rows[:4] == [
        "| B, drawn | 5.0 ± 7.1 | 6.0 ± 7.1 |",
        "| B, drawn, BatchNorms adapted | 5.5 ± 7.1 | 6.5 ± 7.1 |",
        "| B, people | 20.0 | 21.0 |",
        "| B, people, BatchNorms adapted | 20.5 | 21.5 |",
    ]
    assert "|  | drawn | people |" in page and page.rstrip().endswith("`COMMAND`")


def test_what_was_written_by_hand_is_kept(evaluated):
    path = cross_domain.make(evaluated, "COMMAND")
    path.write_text(path.read_text().replace("## How it", "## What it shows\n\nNothing.\n\n## How it"))
    again = dataclasses.replace(evaluated, out_dir="again", adapt_batch_norm=False)
    page = cross_domain.make(again, "COMMAND").read_text()
    assert re.search("## What it shows\n\nNothing.\n\n## How it was made", page)
    assert "adapted" not in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"runs": "nowhere"}, "no trained phase in nowhere"),
        ({"runs": " ,"}, "--runs is empty"),
        ({"datasets": ""}, "--datasets is empty"),
        ({"datasets": "nowhere"}, "nowhere: not a converted dataset"),
        ({"jobs": 0}, "jobs=0 must be at least 1"),
    ],
)
def test_bad_options_are_named(options, change, words):
    with pytest.raises(InputError, match=words):
        cross_domain.make(dataclasses.replace(options, **change), "COMMAND")


def test_two_datasets_of_one_name_are_refused(options, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "dataset.json").write_text((tmp_path / "data_drawn" / "dataset.json").read_text())
    with pytest.raises(InputError, match=r"two of them have one name \(drawn, drawn\)"):
        cross_domain.make(dataclasses.replace(options, datasets="data_drawn,copy"), "COMMAND")
