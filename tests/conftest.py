"""Fixtures that every test may use."""

import pathlib
import sys

import pytest

import lrdnn_base.command  # noqa: F401, imports TensorFlow without its start-up messages

SHARED_DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder with the published attribute labels and four real COCO images, or a skip with the reason."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real label and image files are not here: ../shared/data is missing")
    return SHARED_DATA


@pytest.fixture(scope="session")
def needs_addons() -> None:
    """Skips a test where TensorFlow Addons cannot exist; where it can, its absence is a failure."""
    if sys.version_info >= (3, 12):
        pytest.skip("needs TensorFlow Addons, which does not exist for Python 3.12 and later")
