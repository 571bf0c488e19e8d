"""A small converted dataset and a small model for it, made once for all tests of lrdnn_tf."""

import pathlib

import cv2
import numpy as np
import pytest
import scipy.io

from data_prep.attribute_labels import MARKET1501_FIELDS
from data_prep.market1501 import convert
from lrdnn_tf import runs
from lrdnn_tf.config import TrainingConfig
from lrdnn_tf.data.dataset import Dataset, read_dataset
from lrdnn_tf.training.loop import train_phase
from lrdnn_tf.training.phases import phase_config
from pose_pretrain.network import build_pose_network, save_pose_network

TRAIN_IDENTITIES = range(1, 9)
TEST_IDENTITIES = range(11, 17)
CAMERAS = (1, 2, 3)


@pytest.fixture(scope="session")
def raw_market(tmp_path_factory) -> pathlib.Path:
    """Market-1501's layout with 8 + 6 people, each a pattern of colours that noise changes from camera to camera."""
    raw = tmp_path_factory.mktemp("raw")
    generator = np.random.default_rng(0)
    for folder, identities, cameras in (
        ("bounding_box_train", TRAIN_IDENTITIES, CAMERAS),
        ("query", TEST_IDENTITIES, CAMERAS[:1]),
        ("bounding_box_test", TEST_IDENTITIES, CAMERAS[1:]),
    ):
        (raw / folder).mkdir()
        for identity in identities:
            pattern = np.random.default_rng(identity).integers(0, 255, (8, 4, 3))
            for camera in cameras:
                noisy = np.clip(pattern + generator.normal(0, 20, pattern.shape), 0, 255).astype(np.uint8)
                name = f"{identity:04}_c{camera}s1_{identity:06}_00.jpg"
                cv2.imwrite(str(raw / folder / name), cv2.resize(noisy, (64, 128)))
    _write_labels(raw / "market_attribute.mat")
    return raw


@pytest.fixture(scope="session")
def tiny_dataset(raw_market, tmp_path_factory) -> Dataset:
    """`raw_market`, converted."""
    out_dir = tmp_path_factory.mktemp("converted") / "tiny"
    convert(raw_market, out_dir, name="tiny")
    return read_dataset(out_dir)


@pytest.fixture(scope="session")
def trained_run(tiny_dataset, tmp_path_factory) -> pathlib.Path:
    """A run with all three phases of a small LRDNN, trained for one step each."""
    run_dir = tmp_path_factory.mktemp("trained_run")
    save_pose_network(build_pose_network(None, None, 0.1), run_dir / "pose", {"pose_width": 0.1})
    options = {"backbone": "small", "height": 64, "width": 32, "bilinear_dim": 128}
    for phase in runs.PHASES:
        config = phase_config(phase, tiny_dataset, run_dir, True, options)
        train_phase(phase, tiny_dataset, run_dir, config, TrainingConfig(epochs=1, batch_size=24))
    return run_dir


def _write_labels(path: pathlib.Path) -> None:
    fields = [f for entry in MARKET1501_FIELDS.values() for f in ([entry] if isinstance(entry, str) else entry)]
    splits = {}
    for split, identities in (("train", TRAIN_IDENTITIES), ("test", TEST_IDENTITIES)):
        table = {field: np.array([[1 + (identity % 2) for identity in identities]], np.uint8) for field in fields}
        for colour in (f for f in fields if f.startswith(("up", "down")) and f not in ("up", "down")):
            table[colour][:] = 1
        table["upred"][:] = 2
        table["image_index"] = np.array([[f"{identity:04}" for identity in identities]], dtype=object)
        splits[split] = table
    scipy.io.savemat(path, {"market_attribute": splits})
