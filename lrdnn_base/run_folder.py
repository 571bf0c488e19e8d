"""Files of a training's folder: its lock, its config, its weights, and a record of every time it was started."""

import contextlib
import datetime
import fcntl
import os
import pathlib
import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, TextIO

import tensorflow as tf
import tf_keras as keras

from lrdnn_base.command import command_line
from lrdnn_base.devices import Runtime, gpu_names
from lrdnn_base.errors import InputError
from lrdnn_base.files import read_json, replacing, write_json

CONFIG_FILE = "config.json"
ENVIRONMENT_FILE = "environment.json"
CHECKPOINTS = "checkpoints/*.index"
WEIGHTS_FILE = "model.weights.h5"  # there only once a training is complete
LOCK_FILE = "training.lock"  # there only while a training runs, or after it was killed
_LIBRARIES = ("tensorflow", "tf_keras", "numpy")


@contextlib.contextmanager
def locked(folder: pathlib.Path, runtime: Runtime) -> Iterator[None]:
    """Creates a folder and keeps other trainings out of it while the block runs; the chief locks for all workers.

    The operating system releases the lock of a process that died. A folder that is still empty after the block is
    removed.

    Raises:
        InputError: Another training runs in the folder.
    """
    with contextlib.ExitStack() as stack:
        refusal = None
        if runtime.is_chief:
            try:
                stack.enter_context(_locked(folder))
            except InputError as error:
                refusal = error
        if runtime.agree(int(refusal is not None)):
            raise refusal or InputError(f"{folder}: the chief of these workers cannot train there: see its message")
        yield


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    path = folder / LOCK_FILE
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with open(path, "a+", encoding="utf-8") as file:
            _lock(file, folder)
            if not os.fstat(file.fileno()).st_nlink:  # the previous training removed it after it was opened here
                continue
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}, started {_now()}")
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # not empty: a training was started
                    folder.rmdir()
        return


def _lock(file: TextIO, folder: pathlib.Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read() or "a process that has just started"
        raise InputError(
            f"{folder}: {holder}, trains here already: wait until it ends, stop it, or use another --run_dir"
        ) from None
    except OSError as error:
        print(f"warning: {folder} cannot be locked ({error.strerror}): start no other training in it")


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def read_run_json(path: pathlib.Path) -> dict[str, Any]:
    """The content of config.json or environment.json; InputError when it cannot be used."""
    return read_json(path, f"delete {path.parent} to train again")


def save_weights(model: keras.Model, path: pathlib.Path) -> None:
    """Saves weights, completely or not at all, without the optimizer's state, which would triple the file."""
    with replacing(path) as temporary:
        keras.Model(model.input, model.output).save_weights(temporary)


def note_start(folder: pathlib.Path, steps_done: int) -> None:
    """Adds an entry to environment.json: when, by which command and with which versions a training (re)started."""
    path = folder / ENVIRONMENT_FILE
    starts = read_run_json(path)["starts"] if path.is_file() else []
    start = {
        "time": _now(),
        "steps_done": steps_done,
        "command": command_line(),
        "git_revision": _git_revision(),
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in _LIBRARIES},
        "precision": keras.mixed_precision.global_policy().name,
        "devices": [device.name for device in tf.config.list_logical_devices()],
        "machine": _machine(),
    }
    write_json(path, {"starts": [*starts, start]})


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
    """The git revision of this code where it runs from a checkout, with "+" when files were changed."""
    git = ["git", "-C", str(pathlib.Path(__file__).parent), "describe", "--always", "--abbrev=40", "--dirty=+"]
    try:
        return subprocess.run([*git, "--exclude=*"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or no checkout
        return None


def was_started(folder: pathlib.Path) -> bool:
    """Whether the folder holds a state that a training can resume from, and with it a config that must not change."""
    return (folder / CONFIG_FILE).is_file() and ((folder / WEIGHTS_FILE).is_file() or any(folder.glob(CHECKPOINTS)))


def refuse_other_config(folder: str | os.PathLike, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises an InputError that lists the differences when a folder was started with another config.

    A field that an older version did not write counts as equal.
    """
    differences = [
        f"{name} {stored[name]!r} there, {value!r} here"
        for name, value in wanted.items()
        if stored.get(name, value) != value
    ]
    if differences:
        raise InputError(
            f"{folder} was started with another config ({'; '.join(differences)}): "
            "use the same flags, another --run_dir, or delete that folder"
        )
