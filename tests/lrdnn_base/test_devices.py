"""What is reported about devices, and TensorFlow's start-up messages."""

import os
import subprocess
import sys

import pytest

from lrdnn_base import devices

IMPORT = [sys.executable, "-c", "import lrdnn_base.command"]


def test_without_a_driver_the_cpu_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(devices, "_gpu_details", list)
    monkeypatch.setattr(devices, "_NVIDIA_DRIVER", tmp_path / "version")
    assert devices.device_names() == "the CPU: TensorFlow found no GPU"


@pytest.mark.parametrize(
    ("libraries", "words"),
    [(("libno-such-library.so.1",), "cannot load libno-such-library.so.1"), ((), "TF_CPP_MIN_LOG_LEVEL=0")],
)
def test_a_driver_without_a_usable_gpu_names_the_missing_library(monkeypatch, tmp_path, libraries, words):
    driver = tmp_path / "version"
    driver.write_text("NVRM version")
    monkeypatch.setattr(devices, "_gpu_details", list)
    monkeypatch.setattr(devices, "_NVIDIA_DRIVER", driver)
    monkeypatch.setattr(devices, "_CUDA_LIBRARIES", ("libc.so.6", *libraries))
    assert "has an NVIDIA driver, but TensorFlow cannot use the GPU" in devices.device_names()
    assert words in devices.device_names()
    assert "libc.so.6" not in devices.device_names()


def test_gpus_are_named(monkeypatch):
    monkeypatch.setattr(devices, "_gpu_details", lambda: [{"device_name": "A"}, {}])
    assert devices.device_names() == "A, GPU"


def test_start_up_messages_are_hidden_unless_the_user_sets_the_log_level():
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    quiet = subprocess.run(IMPORT, env=environment, capture_output=True, text=True, check=True)
    verbose = subprocess.run(
        IMPORT, env=environment | {"TF_CPP_MIN_LOG_LEVEL": "0"}, capture_output=True, text=True, check=True
    )
    assert quiet.stderr == ""
    assert "TensorFlow" in verbose.stderr
