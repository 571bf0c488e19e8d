"""A table from rendered people to its page, with trainings of one epoch."""

import dataclasses
import pathlib
import shlex
import subprocess
import sys

import pandas as pd
import pytest

from experiments.studies.real_people import TABLE as REAL_PEOPLE
from experiments.table4 import TABLE
from experiments.tables import plan
from experiments.tables.command import make
from experiments.tables.plan import Options
from experiments.tables.rows import without_attributes
from lrdnn_base.errors import InputError
from pose_pretrain.network import build_pose_network, save_pose_network

SIZE = "--height=64 --width=32 --batch_size=8 --epochs=1"
FLAGS = {
    "pose": f"--pose_width=0.1 --imagenet_weights=none {SIZE}",
    "identity": f"--phase=identity --backbone=small {SIZE}",
    "attributes": "--phase=attributes --batch_size=8 --epochs=1",
    "fusion": "--phase=fusion --bilinear_dim=64 --batch_size=8 --epochs=1",
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
    (folder / "raw/market1501/attribute/market_attribute.mat").unlink()
    run(f"data_prep.market1501 --raw_dir={folder}/raw/market1501 --out_dir={folder}/unlabelled --name=rendered")
    return folder


def write_flag_files(folder: pathlib.Path, **changes: str) -> None:
    (folder / "paper/small").mkdir(parents=True)
    for name, flags in (FLAGS | changes).items():
        (folder / f"paper/small/{name}.flags").write_text("\n".join(flags.split()))


def options_for(data: pathlib.Path, people: str, out: pathlib.Path) -> Options:
    return Options(
        dataset="rendered",
        data_dir=str(data / people),
        seeds="0",
        out_dir=str(out / "out"),
        pose_data_dir=str(data / "poses"),
        results_dir=str(out / "results"),
        jobs=2,
    )


@pytest.mark.slow
def test_a_table_is_trained_evaluated_and_written_and_not_repeated(data, tmp_path, monkeypatch, capfd):
    write_flag_files(tmp_path)
    monkeypatch.setattr(plan, "EXPERIMENTS", tmp_path)
    options = options_for(data, "people", tmp_path)

    page = make(TABLE, options)
    lines = pd.read_csv(tmp_path / "results/table4_rendered.csv")
    assert lines["row"].tolist() == [row.name for row in TABLE.rows]
    assert lines["mAP"].between(0, 100, inclusive="neither").all()
    assert lines["minutes"].gt(0).all()
    assert lines["lowest channel weight"].notna().tolist() == [True, False]
    assert "| B+A+H+C − B+A+H+C without CPB |" in page.read_text()
    assert "cores of" in page.read_text()

    capfd.readouterr()
    make(TABLE, dataclasses.replace(options, rows=TABLE.rows[0].name, pose_data_dir=None))
    assert "python -m" not in capfd.readouterr().out
    assert len(pd.read_csv(tmp_path / "results/table4_rendered.csv")) == len(TABLE.rows)

    with pytest.raises(InputError, match="holds 'rendered', not 'market1501'"):
        make(TABLE, dataclasses.replace(options, dataset="market1501"))
    with pytest.raises(InputError, match="fusions need a pose network: --pose_dir, or --pose_data_dir"):
        make(TABLE, dataclasses.replace(options, pose_data_dir=None, out_dir=str(tmp_path / "new")))
    with open(tmp_path / "paper/small/fusion.flags", "a") as file:
        file.write("\n--epochs=2\n")
    with pytest.raises(InputError, match=r"made with other settings \(--epochs=1 there, --epochs=2 here\)"):
        make(TABLE, options)


@pytest.mark.slow
def test_a_study_without_attributes_with_another_pose_network(data, tmp_path, monkeypatch):
    write_flag_files(tmp_path, trained_on="--phase=identity --batch_size=8 --epochs=1")
    monkeypatch.setattr(plan, "EXPERIMENTS", tmp_path)
    save_pose_network(build_pose_network(None, None, 0.1), tmp_path / "other", {"pose_width": 0.1})
    options = options_for(data, "unlabelled", tmp_path)
    with pytest.raises(InputError, match="row 'pose network of drawn people' needs --other_pose_dir"):
        make(REAL_PEOPLE, options)
    page = make(REAL_PEOPLE, dataclasses.replace(options, other_pose_dir=str(tmp_path / "other"))).read_text()
    lines = pd.read_csv(tmp_path / "results/real_people_rendered.csv")
    assert lines["row"].tolist() == [row.name for row in without_attributes(REAL_PEOPLE).rows]
    assert lines["mAP"].between(0, 100, inclusive="neither").all()
    assert lines["attributes"].isna().all() and "| attributes |" not in page
    assert "| B+H+C − B |" in page and "+A" not in page
    assert "no attribute labels, hence no letter A" in page
