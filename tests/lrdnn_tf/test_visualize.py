import dataclasses
import subprocess
import sys

import cv2
import numpy as np
import pytest

from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.evaluation import fusion_pictures
from lrdnn_tf.visualize import visualize


def test_one_command_draws_both_figures_of_any_folder(trained_run, raw_market, tmp_path):
    visualize(trained_run, raw_market / "query", tmp_path / "out", limit=3)
    _, config = runs.load_model(trained_run, "fusion")
    factor = 256 // config.height
    for name, parts in (("pose_maps", 4), ("responses", 4)):
        sheet = cv2.imread(str(tmp_path / "out" / f"{name}.jpg"))
        assert sheet.shape == (28 + 2 * (256 + 12), 2 * (parts * factor * config.width + 12), 3)


@pytest.mark.parametrize(("limit", "expected"), [(3, [1, 3, 6]), (1, [1]), (6, range(1, 7)), (9, range(1, 7))])
def test_images_are_spread_evenly_over_the_folder(trained_run, raw_market, tmp_path, monkeypatch, limit, expected):
    def read(path, height, width):
        numbers.append(int(path.name[:4]) - 10)
        return np.zeros([height, width, 3], np.float32)

    numbers = []
    config = dataclasses.replace(runs.read_model_config(trained_run, "fusion"), fuse="pool5")
    monkeypatch.setattr("lrdnn_tf.visualize.read_image", read)
    monkeypatch.setattr(runs, "load_model", lambda *_: (None, config))
    monkeypatch.setattr(fusion_pictures, "pose_panels", lambda _, pixels: [np.zeros([256, 128, 3], np.uint8)])
    visualize(trained_run, raw_market / "query", tmp_path, limit)
    assert numbers == list(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["pose_maps.jpg"]


def test_files_that_cannot_be_used_are_named(trained_run, tmp_path):
    with pytest.raises(InputError, match="no image"):
        visualize(trained_run, tmp_path, tmp_path / "out")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.jpg is not an image"):
        visualize(trained_run, tmp_path, tmp_path / "out")


def test_a_fusion_without_pose_maps_is_named(trained_run, raw_market, tmp_path, monkeypatch):
    config = runs.read_model_config(trained_run, "fusion")
    config = dataclasses.replace(config, pose_maps="positions", channel_parse=False)
    monkeypatch.setattr(runs, "load_model", lambda *_: (None, config))
    with pytest.raises(InputError, match=r"no pose branch \(pose_maps=positions\)"):
        visualize(trained_run, raw_market / "query", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_tool_prints_its_own_messages_only(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    command = [sys.executable, "-m", "lrdnn_tf.visualize", f"--images={tmp_path}", f"--out_dir={tmp_path}/out"]
    finished = subprocess.run([*command, f"--run_dir={tmp_path}/run"], capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.startswith("error: no fusion phase in ")
    assert finished.stderr.count("\n") == 1
