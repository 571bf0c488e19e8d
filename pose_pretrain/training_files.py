"""Files of a training folder: whole or not there, and never of two configs at once."""

import datetime
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import tensorflow as tf
import tf_keras as keras

from pose_pretrain.errors import InputError

CONFIG_FILE = "config.json"
ENVIRONMENT_FILE = "environment.json"
CHECKPOINTS = "checkpoints/*.index"
WEIGHTS_FILE = "model.weights.h5"  # there only once a training is complete
_LIBRARIES = ("tensorflow", "tf_keras", "numpy")


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    """Writes under a temporary name first, so that a reader never meets half a file."""
    temporary = path.with_name(f"writing.{path.name}")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)


def read_json(path: pathlib.Path) -> dict:
    """The content of a JSON file; InputError when it is not readable as one."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path} ({error}): delete {path.parent} to train again") from None


def save_weights(model: keras.Model, path: pathlib.Path) -> None:
    """The same for weights, without the optimizer's state, which would triple the file."""
    temporary = path.with_name(f"writing.{path.name}")  # Keras looks at the ending of the name, which stays
    keras.Model(model.input, model.output).save_weights(temporary)
    temporary.replace(path)


def note_start(folder: pathlib.Path, steps_done: int) -> None:
    """Adds a line to environment.json: when, by which command and with which versions a training began or went on."""
    path = folder / ENVIRONMENT_FILE
    starts = read_json(path)["starts"] if path.is_file() else []
    start = {
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "steps_done": steps_done,
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "git_revision": _git_revision(),
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in _LIBRARIES},
        "precision": keras.mixed_precision.global_policy().name,
        "devices": [device.name for device in tf.config.list_logical_devices()],
        "machine": _machine(),
    }
    write_json(path, {"starts": [*starts, start]})


def gpu_names() -> str:
    """The GPUs that TensorFlow sees, in words; empty where there are none."""
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return ", ".join(gpu.get("device_name", "GPU") for gpu in gpus)


def _machine() -> str:
    """The GPUs, or else the processor: "2 cores of Intel(R) Xeon(R) ..."."""
    if gpus := gpu_names():
        return gpus
    info = pathlib.Path("/proc/cpuinfo")  # Linux; platform.processor() says "x86_64" there
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores of {name}"


def _git_revision() -> str | None:
    """The revision of this code where it runs from a checkout, with "+" when files of it were changed."""
    git = ["git", "-C", str(pathlib.Path(__file__).parent), "describe", "--always", "--abbrev=40", "--dirty=+"]
    try:
        return subprocess.run([*git, "--exclude=*"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or no checkout
        return None


def has_begun(folder: pathlib.Path) -> bool:
    """Whether a training left anything in its folder to go on from, and with it a config that must stay."""
    return (folder / CONFIG_FILE).is_file() and ((folder / WEIGHTS_FILE).is_file() or any(folder.glob(CHECKPOINTS)))


def refuse_other_config(folder: str | os.PathLike, begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises an InputError that shows the differences when a folder was begun with another config.

    What an older version did not write yet counts as equal.
    """
    differences = [
        f"{name} {begun[name]!r} there, {value!r} here"
        for name, value in wanted.items()
        if begun.get(name, value) != value
    ]
    if differences:
        raise InputError(
            f"{folder} was begun with another config ({'; '.join(differences)}): "
            "use the same flags, another --run_dir, or delete that folder"
        )
