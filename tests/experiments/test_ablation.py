import json
import pathlib
import shlex
import types

import pandas as pd
import pytest

from experiments import ablation
from pose_pretrain.errors import InputError

LRDNN, CONTROL = "B+A+H+C (LRDNN)", "B+A, trained on as long as LRDNN"


@pytest.fixture
def settings(tmp_path) -> ablation.Settings:
    return ablation.Settings("data", "pose", str(tmp_path / "runs"), (3, 2, 1), "--backbone=small", "", "--fuse=maps")


@pytest.fixture
def typed(monkeypatch) -> list[str]:
    """The commands that were run; each leaves the file that it would leave."""
    commands = []

    def pretend(arguments: list[str]):
        module, *flags = arguments[2:]
        commands.append(shlex.join(arguments[2:]))
        value = dict(flag.removeprefix("--").partition("=")[::2] for flag in flags)
        if module == "lrdnn_tf.train":
            done = pathlib.Path(value["run_dir"]) / value["phase"] / "model.weights.h5"
            content = ""
        else:
            done = pathlib.Path(value["report_dir"]) / "summary.json"
            mean_ap = {"identity": 0.4, "attributes": 0.5, "fusion": 0.6}[value["phases"]]
            seed = int(pathlib.Path(value["run_dir"]).parent.name.removeprefix("seed"))
            scores = {"rank1": 0.5, "mAP": mean_ap + seed / 10, "mAP_reranked": 0.7, "mean_attribute_accuracy": None}
            content = json.dumps({"phases": {value["phases"]: scores}})
        done.parent.mkdir(parents=True, exist_ok=True)
        done.write_text(content)
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(ablation.subprocess, "run", pretend)
    return commands


def test_a_row_brings_what_it_needs_and_nothing_is_done_twice(settings, typed, tmp_path):
    results = str(tmp_path / "page")
    ablation.run([LRDNN], [0], settings, results, dry_run=False)
    phases = [command.split("--phase=")[1].split()[0] for command in typed if command.startswith("lrdnn_tf.train")]
    assert phases == ["identity", "attributes", "fusion"]
    assert sum(command.startswith("lrdnn_tf.evaluate") for command in typed) == 1
    fusion = next(command for command in typed if "--phase=fusion" in command)
    assert "--start_from=" in fusion
    assert "--pose_dir=pose" in fusion
    assert "--seed=0" in fusion

    typed.clear()
    ablation.run(["B", LRDNN], [0], settings, results, dry_run=False)
    assert [command.split()[0] for command in typed] == ["lrdnn_tf.evaluate"]  # of B, that was trained already


def test_controls_train_as_long_as_what_they_are_set_against(settings):
    epochs = {
        name: sum(int(command.split("--epochs=")[1].split()[0]) for _, command in steps if "--epochs" in command)
        for name in ablation.ROWS
        for steps in [list(ablation.commands(name, 0, settings))]
    }
    assert epochs[LRDNN] == epochs[CONTROL] == epochs["B, trained on as long as LRDNN"] == 6
    assert epochs["B+A"] == epochs["B, trained on as long as B+A"] == 5


def test_every_row_has_a_place_of_its_own(settings):
    reports = [list(ablation.commands(name, 0, settings))[-1][0] for name in ablation.ROWS]
    assert len(set(reports)) == len(ablation.ROWS)


def test_the_page_gives_mean_spread_and_differences(settings, typed, tmp_path):
    ablation.run(["B+A", LRDNN], [0, 2], settings, str(tmp_path / "page"), dry_run=False)
    table = pd.read_csv(tmp_path / "page.csv")
    assert table["mAP"].tolist() == pytest.approx([50, 70, 60, 80])
    text = (tmp_path / "page.md").read_text()
    assert "| B+A+H+C (LRDNN) | 2 | 50.0 ± 0.0 | 70.0 ± 14.1 |" in text
    assert "| B+A+H+C (LRDNN) − B+A | 10.0 ± 0.0 | +10.0, +10.0 |" in text


def test_a_dry_run_does_nothing(settings, typed, tmp_path, capsys):
    ablation.run([LRDNN], [0], settings, str(tmp_path / "page"), dry_run=True)
    assert "python -m lrdnn_tf.train --phase=fusion" in capsys.readouterr().out
    assert typed == []
    assert not list(tmp_path.iterdir())


def test_a_row_that_does_not_exist_is_named(settings, tmp_path):
    with pytest.raises(InputError, match="no row Z"):
        ablation.run(["Z"], [0], settings, str(tmp_path / "page"), dry_run=True)


def test_a_command_that_fails_ends_it(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(ablation.subprocess, "run", lambda arguments: types.SimpleNamespace(returncode=1))
    with pytest.raises(InputError, match=r"stopped at: python -m lrdnn_tf.train --phase=identity"):
        ablation.run(["B"], [0], settings, str(tmp_path / "page"), dry_run=False)
