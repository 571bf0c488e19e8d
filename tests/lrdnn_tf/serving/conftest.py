"""An exported model, crops as files, and the server that speaks TensorFlow Serving's protocols."""

import pathlib

import pytest

from lrdnn_tf.data.pipeline import read_images
from lrdnn_tf.export import export
from lrdnn_tf.serving.loopback import LoopbackServer
from lrdnn_tf.serving.saved_model import LocalModel


@pytest.fixture(scope="session")
def export_dir(trained_run, tmp_path_factory) -> pathlib.Path:
    """Holds version 1, the fusion phase of `trained_run`."""
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
    """Without batching."""
    with LoopbackServer(export_dir) as server:
        yield server


@pytest.fixture(scope="session")
def crops(tiny_dataset) -> list[bytes]:
    """Image files of the gallery."""
    return read_images(tiny_dataset, "gallery", range(tiny_dataset.splits["gallery"].examples))
