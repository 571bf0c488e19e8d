import dataclasses
import json
import os
import pathlib
import time

import pandas as pd
import pytest

from experiments.table2 import TABLE as TABLE2
from experiments.table3 import TABLE as TABLE3
from experiments.tables import page, plan
from experiments.tables.measured import measured, merged, read_elsewhere
from experiments.tables.plan import Options
from experiments.tables.rows import DUKEMTMC, LRDNN, MARKET1501, RENDERED, B
from lrdnn_base.errors import InputError
from lrdnn_tf.config import ModelConfig, TrainingConfig, to_json

MEAN_AP = {"identity": 0.4, "attributes": 0.5, "fusion": 0.6}


def pretend(row, seed: int, options: Options) -> None:
    """Writes the files that the training and the evaluation of a row would write."""
    folder = plan.weights(row, seed, options).parent
    folder.mkdir(parents=True)
    pd.DataFrame({"epoch": [1, 2], "seconds": [60.0, 30.0]}).to_csv(folder / "metrics.csv")
    start = {"git_revision": "abcdef0123456789", "machine": "2 cores of a processor", "command": "python -m train"}
    (folder / "environment.json").write_text(json.dumps({"starts": [start]}))
    model = ModelConfig(identities=3, pose_maps="both" if row.phase == "fusion" else "none")
    training = TrainingConfig(epochs=2)
    config = {"model": to_json(model), "training": to_json(training), "pose_dir": "somewhere/pose"}
    (folder / "config.json").write_text(json.dumps(config))
    scores = {
        "rank1": 0.5,
        "mAP": MEAN_AP[row.phase] + seed / 10,
        "rank1_reranked": 0.55,
        "mAP_reranked": (MEAN_AP[row.phase] + seed / 10) / 2 + 0.4,
        "mean_attribute_accuracy": None if row.phase == "identity" else 0.8,
    }
    if row.phase == "fusion":
        scores["channel_weights"] = {"keypoint": {"nose": 0.25, "neck": 0.5}, "limb": {"neck to nose": 0.75}}
        scores["channel_weight_spread"] = 0.07251
    plan.weights(row, seed, options).touch()
    summary = plan.evaluation(row, seed, options).done
    summary.parent.mkdir(parents=True)
    summary.write_text(json.dumps({"phases": {row.phase: scores}}))


@pytest.fixture
def options(tmp_path) -> Options:
    folders = {"out_dir": str(tmp_path / "out"), "results_dir": str(tmp_path / "results")}
    return Options(dataset=RENDERED, data_dir="data", pose_data_dir="poses", **folders)


def written(table, options, seeds=(0, 2)) -> str:
    lines = measured(table.rows, seeds, options)
    return page.write(lines, table, options, "python -m experiments.x").read_text()


def test_the_page_gives_means_spreads_differences_and_the_papers_scores(options, tmp_path):
    for row in (B, LRDNN):
        for seed in (0, 2):
            pretend(row, seed, options)
    text = written(TABLE3, options)
    assert "`python -m experiments.x`" in text
    assert "| B+A+H+C | 2 | 50.0 ± 0.0 | 70.0 ± 14.1 |" in text
    assert "| 75.0 ± 7.1 | 90.4 / 82.8 | 85.3 / 73.2 | 80.0 ± 0.0 | 0.25 to 0.75, spread 0.073 | 1.5 |" in text
    assert "| B+A+H+C − B | 20.0 ± 0.0 | +20.0, +20.0 | 10.0 ± 0.0 | +10.0, +10.0 | +13.0 | +7.7 |" in text
    assert "B+A+H |" not in text  # not measured yet
    assert "not measured here. The paper's scores are most likely re-ranked" in text
    assert "`abcdef012345`. Machine: 2 cores of a processor. 6 minutes of" in text
    assert text.count("lrdnn_tf.train --flagfile=experiments/paper/small/fusion.flags") == 1

    lines = pd.read_csv(tmp_path / "results/table3_rendered.csv")
    assert lines["mAP"].tolist() == pytest.approx([40, 60, 60, 80])
    assert lines["minutes"].tolist() == [1.5] * 4
    assert lines["channel weight spread"].dropna().tolist() == [0.07251] * 2
    assert lines.loc[lines["row"] == "B", "attributes"].isna().all()
    assert (tmp_path / "results/table3_rendered.png").stat().st_size > 10_000
    assert not list((tmp_path / "results").glob("writing.*"))


def test_the_section_written_by_hand_is_kept(options, tmp_path):
    pretend(LRDNN, 0, options)
    text = written(TABLE3, options)
    page_file = tmp_path / "results/table3_rendered.md"
    page_file.write_text(text.replace("\n## How", "\n## What it shows\n\nMuch.\n\n## Also\n\nIndeed.\n\n## How"))
    pretend(B, 0, options)
    text = written(TABLE3, options)
    assert text.count("## What it shows\n\nMuch.\n\n## Also\n\nIndeed.\n\n## Differences") == 1
    assert "| B |" in text
    assert written(TABLE3, options) == text


def test_a_study_quotes_nothing(options, tmp_path):
    table = TABLE3._replace(beside_paper=False)
    pretend(LRDNN, 0, options)
    assert "the paper" not in written(table, options).lower().replace("experiments/paper", "")


def test_a_real_dataset_is_compared_with_its_own_scores(options, tmp_path):
    duke = dataclasses.replace(options, dataset=DUKEMTMC)
    pretend(LRDNN, 0, duke)
    text = written(TABLE2, duke, seeds=(0,))
    assert "the paper, DukeMTMC-reID" in text
    assert "the paper, Market-1501" not in text
    assert "| ResNet+OIM | 82.1 / - | 68.1 / - |" in text
    assert "| MGCAM | 83.8 / 74.3 | - |" in text
    assert pathlib.Path(tmp_path / "results/table2_dukemtmc.csv").is_file()


def test_scores_of_missing_or_retrained_weights_are_left_out(options):
    for row in (B, LRDNN):
        pretend(row, 0, options)
    plan.weights(B, 0, options).unlink()
    assert measured(TABLE3.rows, (0,), options)["row"].tolist() == [LRDNN.name]
    later = time.time() + 10
    os.utime(plan.weights(LRDNN, 0, options), (later, later))
    assert measured(TABLE3.rows, (0,), options).empty


def test_a_run_on_several_revisions_names_all_of_them(options, tmp_path):
    pretend(B, 0, options)
    path = plan.weights(B, 0, options).parent / "environment.json"
    starts = json.loads(path.read_text())["starts"]
    path.write_text(json.dumps({"starts": [*starts, {**starts[0], "git_revision": "0123456789abcdef+"}]}))
    assert "Revision `abcdef012345`; `0123456789ab`+. Machine: 2 cores of a processor." in written(TABLE3, options)


def test_the_papers_scores_are_drawn_on_its_own_datasets_only(options):
    for row in (B, LRDNN):
        pretend(row, 0, options)
    lines = measured(TABLE3.rows, (0,), options)
    diamonds = {
        dataset: sum(line.get_marker() == "D" for line in page.draw(lines, TABLE3, dataset).axes[0].lines)
        for dataset in (RENDERED, MARKET1501)
    }
    assert diamonds == {RENDERED: 0, MARKET1501: 2}


def test_the_papers_scores_are_drawn_level_with_the_re_ranked_ones(options):
    for seed in (0, 1):
        pretend(LRDNN, seed, options)
    shown = page.draw(measured(TABLE3.rows, (0, 1), options), TABLE3, MARKET1501).axes[1].lines  # mAP
    filled, re_ranked = (line for line in shown if line.get_marker() == "o")
    (paper,) = (line for line in shown if line.get_marker() == "D")
    assert filled.get_xdata().tolist() == pytest.approx([60, 70])
    assert filled.get_markerfacecolor() != "none"
    assert re_ranked.get_xdata().tolist() == pytest.approx([70, 75])
    assert re_ranked.get_markerfacecolor() == "none"
    assert paper.get_ydata()[0] == re_ranked.get_ydata()[0] > filled.get_ydata()[0]


def test_evaluations_without_re_ranking_have_a_page(options):
    for row in (B, LRDNN):
        pretend(row, 0, options)
        path = plan.evaluation(row, 0, options).done
        summary = json.loads(path.read_text())
        summary["phases"][row.phase] |= {"rank1_reranked": None, "mAP_reranked": None}
        path.write_text(json.dumps(summary))
    text = written(TABLE3, options, seeds=(0,))
    assert "mAP re-ranked" not in text
    assert "| B+A+H+C − B | 20.0 | +20.0 | +13.0 | +7.7 |" in text


def test_seeds_of_other_machines_are_added_once(options, tmp_path):
    for seed in (0, 1):
        for row in (B, LRDNN):
            pretend(row, seed, options)
    elsewhere = tmp_path / "elsewhere.csv"
    measured(TABLE3.rows, [0, 1], options).assign(mAP=1.0).to_csv(elsewhere, index=False)
    here = measured(TABLE3.rows, [1], options)
    lines = merged([here, read_elsewhere(f"{elsewhere}, {elsewhere}", TABLE3.rows)], TABLE3.rows)
    assert lines[["row", "seed"]].to_numpy().tolist() == [[B.name, 0], [B.name, 1], [LRDNN.name, 0], [LRDNN.name, 1]]
    assert lines["mAP"].tolist() == pytest.approx([1.0, 50.0, 1.0, 70.0])
    text = page.write(lines, TABLE3, options, "python -m experiments.table3").read_text()
    assert "| B | 2 |" in text and "which share one pose network;" in text
    options = dataclasses.replace(options, measured_elsewhere=str(elsewhere))
    text = page.write(lines, TABLE3, options, "python -m experiments.table3").read_text()
    assert "which share one pose network on each machine;" in text
    assert len(merged([here.head(0), read_elsewhere("", TABLE3.rows)], TABLE3.rows)) == 0


def test_files_that_are_not_of_the_table_are_refused(options, tmp_path):
    pretend(B, 0, options)
    lines, file = measured(TABLE3.rows, [0], options), tmp_path / "elsewhere.csv"
    lines.to_csv(file, index=False)
    with pytest.raises(InputError, match=r"elsewhere\.csv is of another table: this one has no row B"):
        read_elsewhere(str(file), TABLE2.rows)
    lines.drop(columns="mAP").to_csv(file, index=False)
    with pytest.raises(InputError, match="is not the CSV file of a table: it has no column mAP"):
        read_elsewhere(str(file), TABLE3.rows)
    file.write_text("")
    with pytest.raises(InputError, match=r"--measured_elsewhere: .*elsewhere\.csv: No columns to parse"):
        read_elsewhere(str(file), TABLE3.rows)
    with pytest.raises(InputError, match="No such file"):
        read_elsewhere(str(tmp_path / "missing.csv"), TABLE3.rows)
