"""A small converted dataset, a small model for it, its export, a server, and image files, good and bad."""

import io
import pathlib

import cv2
import numpy as np
import pytest
import scipy.io
from PIL import Image

from data_prep.market1501 import LABEL_FIELDS as MARKET1501_FIELDS
from data_prep.market1501 import convert
from experiments.benchmarks.loopback_server import LoopbackServer
from lrdnn_tf.config import TrainingConfig
from lrdnn_tf.data.dataset import Dataset, read_dataset
from lrdnn_tf.data.split import read_split
from lrdnn_tf.export import export
from lrdnn_tf.phases import FUSION, PHASES
from lrdnn_tf.serving.saved_model import LocalModel
from lrdnn_tf.training.phase_config import phase_config
from lrdnn_tf.training.start_weights import start_run
from lrdnn_tf.training.train_phase import train_phase
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
    size, fusion = {"backbone": "small", "height": 64, "width": 32}, {"bilinear_dim": 128}
    for phase in PHASES:
        start = start_run(phase, run_dir, None)
        config = phase_config(phase, tiny_dataset, start, True, fusion if phase == FUSION else size)
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


@pytest.fixture(scope="session")
def export_dir(trained_run, tmp_path_factory) -> pathlib.Path:
    """An export folder with version 1, the fusion phase of `trained_run`."""
    folder = tmp_path_factory.mktemp("export")
    export(trained_run, "fusion", folder)
    return folder


@pytest.fixture(scope="session")
def identity_export(trained_run, tmp_path_factory) -> pathlib.Path:
    """A model without attributes."""
    folder = tmp_path_factory.mktemp("identity_export")
    export(trained_run, "identity", folder)
    return folder


@pytest.fixture(scope="session")
def local_model(export_dir) -> LocalModel:
    return LocalModel(export_dir)


@pytest.fixture(scope="session")
def server(export_dir):
    """A loopback server without batching."""
    with LoopbackServer(export_dir) as server:
        yield server


@pytest.fixture(scope="session")
def crops(tiny_dataset) -> list[bytes]:
    """Image files of the gallery."""
    return read_split(tiny_dataset, "gallery").image_files(range(tiny_dataset.splits["gallery"].examples))


_GENERATOR = np.random.default_rng(0)
# Smooth, as photos are: JPEG decoders differ by little on them.
_PIXELS = cv2.resize(_GENERATOR.integers(0, 256, (6, 4, 3), dtype=np.uint8), (32, 64), interpolation=cv2.INTER_CUBIC)


def _encoded(image: Image.Image, file_format: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, file_format, **options)
    return content.getvalue()


_RGB = Image.fromarray(_PIXELS)
_JPEG, _PNG = _encoded(_RGB, "JPEG", quality=95), _encoded(_RGB, "PNG")
_ALPHA = _GENERATOR.integers(0, 256, (*_PIXELS.shape[:2], 1), dtype=np.uint8)
_GRAY = _RGB.convert("L")


@pytest.fixture(scope="session")
def good_images() -> dict[str, tuple[bytes, np.ndarray, int]]:
    """Name to the file, the pixels that it holds, and by how much a decoder may differ from them."""
    return {
        "png": (_PNG, _PIXELS, 0),
        "jpeg": (_JPEG, _PIXELS, 20),
        "progressive jpeg": (_encoded(_RGB, "JPEG", quality=95, progressive=True), _PIXELS, 20),
        "gray png": (_encoded(_GRAY, "PNG"), np.asarray(_GRAY.convert("RGB")), 0),
        "gray jpeg": (_encoded(_GRAY, "JPEG", quality=95), np.asarray(_GRAY.convert("RGB")), 20),
        "palette png": (_encoded(_RGB.convert("P"), "PNG"), np.asarray(_RGB.convert("P").convert("RGB")), 0),
        "rgba png": (_encoded(Image.fromarray(np.dstack([_PIXELS, _ALPHA])), "PNG"), _PIXELS, 0),
        "16-bit png": (cv2.imencode(".png", _PIXELS[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes(), _PIXELS, 0),
        "16-bit gray png": (
            cv2.imencode(".png", np.asarray(_GRAY).astype(np.uint16) * 257)[1].tobytes(),
            np.asarray(_GRAY.convert("RGB")),
            0,
        ),
        "cmyk jpeg": (_encoded(_RGB.convert("CMYK"), "JPEG", quality=95), _PIXELS, 20),
        "1x1 png": (_encoded(_RGB.resize((1, 1)), "PNG"), np.asarray(_RGB.resize((1, 1))), 0),
    }


@pytest.fixture(scope="session")
def bad_images() -> dict[str, tuple[bytes, str]]:
    """Name to the file and the words of its error message."""
    huge = Image.new("RGB", (20000, 20000))
    return {
        "empty": (b"", "not a JPEG or PNG"),
        "text": (b"a text, not an image\n" * 20, "not a JPEG or PNG"),
        "gif": (_encoded(_RGB, "GIF"), "not a JPEG or PNG"),
        "truncated jpeg": (_JPEG[: len(_JPEG) // 2], "Invalid JPEG"),
        "truncated png": (_PNG[: len(_PNG) // 2], "Invalid PNG"),
        "only the start of a jpeg": (_JPEG[:3], "Invalid JPEG"),
        "only the start of a png": (_PNG[:8], "not a JPEG or PNG"),
        "png of 20000x20000": (_encoded(huge, "PNG", compress_level=1), "20000x20000 pixels, more than"),
        "jpeg of 20000x20000": (_encoded(huge, "JPEG"), "20000x20000 pixels, more than"),
    }
