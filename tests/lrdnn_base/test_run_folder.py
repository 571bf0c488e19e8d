"""The lock of a training's folder."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from lrdnn_base import run_folder
from lrdnn_base.devices import Runtime
from lrdnn_base.errors import InputError
from lrdnn_base.run_folder import locked

_HOLD = """
import pathlib, sys, time
from lrdnn_base.devices import Runtime
from lrdnn_base.run_folder import locked
with locked(pathlib.Path(sys.argv[1]), Runtime()):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other_process(tmp_path):
    """A process that holds the lock of tmp_path / "identity"."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "identity")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_locked_folder_is_refused_with_the_process_and_its_start(tmp_path, other_process):
    folder = tmp_path / "identity"
    lock = (folder / "training.lock").read_text()
    for _ in range(2):
        with pytest.raises(InputError, match=rf"{folder}: process {other_process.pid} .*, started 20\S*, trains here"):
            locked(folder, Runtime()).__enter__()
    assert list(folder.iterdir()) == [folder / "training.lock"]
    assert (folder / "training.lock").read_text() == lock


def test_the_lock_of_a_killed_process_does_not_block(tmp_path, other_process):
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    lock = tmp_path / "identity" / "training.lock"
    assert lock.is_file()
    with locked(tmp_path / "identity", Runtime()):
        assert lock.read_text().startswith(f"process {os.getpid()} ")
    assert not lock.exists()


def test_a_lock_that_was_removed_between_opening_and_locking_is_taken_again(tmp_path, monkeypatch):
    flock = run_folder.fcntl.flock

    def after_the_holder_has_ended(file, operation):
        monkeypatch.undo()
        (tmp_path / "training.lock").unlink()
        flock(file, operation)

    monkeypatch.setattr(run_folder.fcntl, "flock", after_the_holder_has_ended)
    with locked(tmp_path, Runtime()), pytest.raises(InputError, match=f"process {os.getpid()} "):
        locked(tmp_path, Runtime()).__enter__()


def test_a_folder_that_stays_empty_is_removed(tmp_path):
    with pytest.raises(InputError, match="no weights"), locked(tmp_path / "identity", Runtime()):
        raise InputError("no weights")
    assert not any(tmp_path.iterdir())


def test_a_filesystem_without_locks_warns(tmp_path, monkeypatch, capsys):
    def unsupported(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_folder.fcntl, "flock", unsupported)
    with locked(tmp_path, Runtime()):
        assert f"{tmp_path} cannot be locked (No locks available)" in capsys.readouterr().out


def test_only_the_chief_of_several_workers_locks(tmp_path):
    class Worker:
        class extended:
            should_checkpoint = False

    with locked(tmp_path, Runtime()), locked(tmp_path, Runtime(Worker())):
        assert (tmp_path / "training.lock").is_file()
