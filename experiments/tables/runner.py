"""Runs the steps of a table, in turn or in parallel; what is done is skipped, and what fails does not stop the rest."""

import fcntl
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from experiments.tables.plan import Step, is_done, newer_needs
from lrdnn_base.errors import InputError, Stopped

_SECONDS_BETWEEN_LOOKS = 0.2
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Running(NamedTuple):
    step: Step
    process: subprocess.Popen
    slot: int
    started: float


def run(
    steps: Sequence[Step],
    logs: pathlib.Path,
    after: Callable[[Step], None] = lambda step: None,
    jobs: int = 1,
    gpus: Sequence[str] = (),
) -> None:
    """Runs what is not done yet, `jobs` steps at a time, each as soon as what it needs is there.

    A line is printed as a step begins and ends; its own output goes to LOGS/NAME.log. A step that another process is
    at, of another table or of one that was killed, is waited for.

    Args:
        steps: Of plan.steps; see check_finished for those that are done.
        logs: Folder for the outputs, and for the settings that each step had.
        after: Called with each step that ends well.
        jobs: Steps at a time.
        gpus: Their names for CUDA_VISIBLE_DEVICES; the steps that run at a time are spread over them. Empty: what
            each step finds.

    Raises:
        InputError: Steps failed, or something needed is missing. Those that do not need them were run nevertheless.
        Stopped: SIGTERM, SIGHUP or Ctrl-C; the trainings were told to stop, and saved.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting = [step for step in steps if not is_done(step)]
    total, running, failed, free, elsewhere = len(waiting), [], [], list(range(jobs)), set()
    with _stopping(running) as check_stopped:
        while waiting or running:
            check_stopped()
            due = {step.done for step in (*waiting, *failed)} | {one.step.done for one in running}
            ready = [step for step in waiting if not due.intersection(step.needs)]
            for step in ready:
                if not free:
                    break
                process = _start(step, logs, free[0], jobs, gpus)
                if process:
                    waiting.remove(step)
                    running.append(_Running(step, process, free.pop(0), time.time()))
                    print(f"python -m {shlex.join(step.command)}", flush=True)
                elif step.name not in elsewhere:
                    elsewhere.add(step.name)
                    print(f"waiting for {step.name}: another process is at it, {_log(step, logs)}", flush=True)
            if not running and not ready:  # what is left needs something that failed
                break
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            waiting = [step for step in waiting if step.name not in elsewhere or not is_done(step)]
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                free.append(one.slot)
                well = one.process.returncode == 0
                left = f"{total - len(waiting) - len(running)} of {total}"
                ended = "done" if well else "FAILED"
                print(f"[{left}] {one.step.name}: {ended} after {time.time() - one.started:.0f} s", flush=True)
                if well:
                    after(one.step)
                else:
                    failed.append(one.step)
                    print(_why(one, logs), flush=True)
    if failed:
        raise InputError(_what_failed(failed, waiting, logs))


def check_finished(steps: Sequence[Step], logs: pathlib.Path) -> None:
    """Refuses what must not stand in one table.

    Raises:
        InputError: A finished step had other settings, or what it started from was made anew since.
    """
    made = {step.done for step in steps}
    for step in steps:
        path = _settings_file(step, logs)
        there = path.read_text().splitlines() if path.is_file() and step.folder.exists() else list(step.settings)
        if there != list(step.settings):
            differences = [f"{setting} there" for setting in there if setting not in step.settings]
            differences += [f"{setting} here" for setting in step.settings if setting not in there]
            raise InputError(
                f"{step.folder} was made with other settings ({', '.join(differences)}): "
                "use another --out_dir, or delete that folder"
            )
        if not is_done(step):  # it is still to be made, or to be measured again
            continue
        for need in newer_needs(step):
            if need in made and need.is_file():
                raise InputError(f"{step.folder} is older than {need}, which it starts from: delete {step.folder}")


def check_needs(steps: Sequence[Step]) -> None:
    """Raises an InputError where a step needs a file that is not there and that no step makes."""
    made = {step.done for step in steps}
    for step in steps:
        for path in step.needs:
            if path not in made and not path.is_file():
                raise InputError(f"{path} is not there, and {step.name} needs it")


def _start(step: Step, logs: pathlib.Path, slot: int, jobs: int, gpus: Sequence[str]) -> subprocess.Popen | None:
    """Starts a step; None where another process is at it."""
    environment = dict(os.environ)
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    if jobs > 1:  # otherwise each of them would use every core
        environment.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    with open(_log(step, logs), "a") as log:
        try:
            # The lock is the open file's, which the step's process inherits: it ends with the last of both.
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        _settings_file(step, logs).write_text("".join(f"{setting}\n" for setting in step.settings))
        print(f"python -m {shlex.join(step.command)}", file=log, flush=True)
        # A session of its own: Ctrl-C reaches this process alone, which then tells its steps to stop, once.
        return subprocess.Popen(
            [sys.executable, "-m", *step.command],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


@contextmanager
def _stopping(running: list[_Running]) -> Iterator[Callable[[], None]]:
    """Lets nothing run on when this process is stopped. Gives what raises Stopped once a signal has come."""
    came = []

    def check() -> None:
        if came:
            raise Stopped(came[0], "stopped: the same command goes on from here")

    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in _STOP_SIGNALS}
    try:
        yield check
    finally:
        for one in running:
            one.process.terminate()
        for one in running:
            one.process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _log(step: Step, logs: pathlib.Path) -> pathlib.Path:
    return logs / f"{step.name}.log"


def _settings_file(step: Step, logs: pathlib.Path) -> pathlib.Path:
    return logs / f"{step.name}.settings"


def _why(one: _Running, logs: pathlib.Path) -> str:
    """The last line that a failed step printed, or the signal that ended it."""
    code = one.process.returncode
    if code < 0:
        return f"{one.step.name} was ended by {signal.Signals(-code).name}" + (
            "; did memory run out?" if code == -9 else ""
        )
    return (_log(one.step, logs).read_text().strip().splitlines() or ["it printed nothing"])[-1]


def _what_failed(failed: Sequence[Step], left_out: Sequence[Step], logs: pathlib.Path) -> str:
    lines = [f"{step.name} failed, see {_log(step, logs)}" for step in failed]
    if left_out:
        lines.append(f"left out, since they need it: {', '.join(step.name for step in left_out)}")
    return "; ".join(lines)
