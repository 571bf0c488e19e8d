"""The full pipeline at a small size: every command of the demo, from rendering people to searching them."""

import json
import subprocess
import sys

import pytest

from experiments import demo

TINY = {
    "identities": 6,
    "pose_images": 16,
    "pose_width": 0.1,
    "pose_epochs": 1,
    "identity_epochs": 2,
    "attributes_epochs": 1,
    "fusion_epochs": 1,
    "bilinear_dim": 128,
}


@pytest.mark.slow
def test_the_demo_ends_in_a_report_and_a_model(tmp_path):
    run_dir = tmp_path / "demo"
    sizes = [f"--{name}={value}" for name, value in TINY.items()]
    subprocess.run([sys.executable, "-m", "experiments.demo", f"--run_dir={run_dir}", *sizes], check=True)
    summary = json.loads((run_dir / "report/summary.json").read_text())
    assert set(summary["phases"]) == {"identity", "attributes", "fusion"}
    measured = {"rank1", "mAP", "rank1_reranked", "mAP_reranked", "mean_attribute_accuracy"}
    for name, phase in summary["phases"].items():
        assert measured <= set(phase)
        assert (phase["mean_attribute_accuracy"] is None) == (name == "identity")
    assert 0 < summary["chance_rank1"] < 1
    assert summary["seconds"] > 0
    assert "<html" in (run_dir / "report/index.html").read_text()
    assert (run_dir / "export/1/saved_model.pb").is_file()
    assert (run_dir / "search/matches.png").is_file()


def test_a_command_that_fails_ends_the_demo(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "commands", lambda *_: iter(["no_such_module", "data_prep.rendered --never"]))
    with pytest.raises(demo.InputError, match="stopped at: python -m no_such_module"):
        demo.run(tmp_path / "demo", demo.Size())
