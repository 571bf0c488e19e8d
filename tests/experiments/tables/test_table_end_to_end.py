"""A table from rendered people to its page, with trainings of one epoch."""

import pathlib
import shlex
import subprocess
import sys

import pandas as pd
import pytest

from experiments.table4 import TABLE
from experiments.tables import flagfiles
from experiments.tables.command import make
from experiments.tables.plan import Place
from lrdnn_base.errors import InputError

SIZE = "--height=64 --width=32 --batch_size=8 --epochs=1"
FLAGS = {
    "pose": f"--pose_width=0.1 --imagenet_weights=none {SIZE}",
    "b": f"--phase=identity --backbone=small {SIZE}",
    "b_a": "--phase=attributes --batch_size=8 --epochs=1",
    "lrdnn": "--phase=fusion --bilinear_dim=64 --batch_size=8 --epochs=1",
    "lrdnn_without_cpb": "--phase=fusion --bilinear_dim=64 --batch_size=8 --epochs=1 --channel_parse=false",
}


def run(command: str) -> None:
    subprocess.run([sys.executable, "-m", *shlex.split(command)], check=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("data")
    people = "--train_identities=4 --test_identities=4 --pose_images=16 --pose_val_images=4"
    run(f"data_prep.rendered --out_dir={folder}/raw {people}")
    run(f"data_prep.market1501 --raw_dir={folder}/raw/market1501 --out_dir={folder}/people --name=rendered")
    run(f"data_prep.coco --raw_dir={folder}/raw/coco --out_dir={folder}/poses --name=rendered")
    return folder


@pytest.mark.slow
def test_a_table_is_trained_measured_and_written_and_made_again_at_once(data, tmp_path, monkeypatch, capfd):
    (tmp_path / "paper/rendered").mkdir(parents=True)
    for name, flags in FLAGS.items():
        (tmp_path / f"paper/rendered/{name}.flags").write_text("\n".join(flags.split()))
    monkeypatch.setattr(flagfiles, "_PAPER", tmp_path / "paper")
    place = Place("rendered", str(data / "people"), tmp_path / "out", None, str(data / "poses"))

    page = make(TABLE, TABLE.rows, [0], place, tmp_path / "results", jobs=2)
    lines = pd.read_csv(tmp_path / "results/table4_rendered.csv")
    assert lines["row"].tolist() == [row.name for row in TABLE.rows]
    assert lines["mAP"].between(0, 100, inclusive="neither").all()
    assert lines["minutes"].gt(0).all()
    assert lines["lowest channel weight"].notna().tolist() == [True, False]
    assert {path.name for path in (tmp_path / "out/hparams").iterdir()} == {
        "table4_seed0_lrdnn",
        "table4_seed0_lrdnn_without_cpb",
    }
    assert "| B+A+H+C − B+A+H+C without CPB |" in page.read_text()
    assert "cores of" in page.read_text()

    capfd.readouterr()
    make(TABLE, TABLE.rows[:1], [0], place._replace(pose_data_dir=None), tmp_path / "results")
    assert "python -m" not in capfd.readouterr().out
    assert len(pd.read_csv(tmp_path / "results/table4_rendered.csv")) == len(TABLE.rows)

    with pytest.raises(InputError, match="holds 'rendered', not 'market1501'"):
        make(TABLE, TABLE.rows, [0], place._replace(dataset="market1501"), tmp_path / "results")
    with pytest.raises(InputError, match="fusions need a pose network: --pose_dir, or --pose_data_dir"):
        make(TABLE, TABLE.rows, [0], place._replace(pose_data_dir=None, out_dir=tmp_path / "new"), tmp_path)
