import subprocess
import sys
import types

import pytest

from experiments.table4 import TABLE as TABLE4
from experiments.tables import command
from experiments.tables.plan import Options
from lrdnn_base.errors import InputError


@pytest.fixture
def four_gpus(monkeypatch):
    monkeypatch.setattr(command.tf.config, "list_physical_devices", lambda kind: list("abcd"))
    monkeypatch.setattr(command.tf.config, "set_visible_devices", lambda devices, kind: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_gpus_are_counted_among_those_that_a_scheduler_gave(four_gpus, monkeypatch):
    assert command._visible(["0", "3"], None) == ["0", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,6,7")
    assert command._visible(["0", "3"], None) == ["2", "7"]


def test_gpus_that_are_not_there_are_refused(four_gpus):
    with pytest.raises(InputError, match="no GPU 4: TensorFlow sees 0, 1, 2, 3"):
        command._visible(["0", "4"], None)


def test_steps_do_not_share_gpus(four_gpus):
    with pytest.raises(InputError, match="--jobs=2 steps at a time need as many --gpus, of 0, 1, 2, 3"):
        command._visible([], 2)
    assert command._visible([], None) == []


def options(**given) -> Options:
    return Options(dataset="rendered", data_dir="data", **given)


def test_seeds_are_numbers_each_once():
    assert options(seeds="0,2,0").seed_list == [0, 2]
    assert options().seed_list == [0, 1, 2]
    for bad in ("", "a", "1,b", "1.5", "1,"):
        with pytest.raises(InputError, match=f"--seeds={bad}: expected whole numbers"):
            options(seeds=bad)


def test_no_steps_at_a_time_are_refused():
    with pytest.raises(InputError, match="jobs=0 must be at least 1"):
        options(jobs=0)


def test_a_pose_network_that_cannot_be_used_is_refused_before_any_training(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "read_dataset", lambda path: types.SimpleNamespace(name="rendered"))
    monkeypatch.setattr(command, "training_images_hash", lambda dataset: "images")
    (tmp_path / "pose").mkdir()
    chosen = {"out_dir": str(tmp_path / "out")}
    with pytest.raises(InputError, match=r"no pose network in .*pose \(config.json is missing\)"):
        command.make(TABLE4, options(**chosen, pose_dir=str(tmp_path / "pose")))
    with pytest.raises(InputError, match="fusions need a pose network: --pose_dir, or --pose_data_dir to train one on"):
        command.make(TABLE4, options(**chosen))
    assert not (tmp_path / "out").exists()


def test_the_page_includes_seeds_of_earlier_calls(tmp_path):
    for name in ("seed1", "seed7", "seeds"):
        (tmp_path / name).mkdir()
    assert command._all_seeds(options(out_dir=str(tmp_path), seeds="0,1")) == [0, 1, 7]


def test_a_wrong_row_ends_in_a_line_that_lists_the_right_ones():
    flags = ["--dataset=rendered", "--data_dir=data", "--rows=LRDNN", "--dry_run"]
    done = subprocess.run([sys.executable, "-m", "experiments.table4", *flags], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: no row 'LRDNN' in table4: there are B+A+H+C, B+A+H+C without CPB\n"
