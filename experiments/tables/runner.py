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
from typing import IO, NamedTuple

from experiments.tables.plan import SUMMARY, Step
from pose_pretrain.errors import InputError, Stopped

_SECONDS_BETWEEN_LOOKS = 0.2


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

    A line is printed as a step begins and ends; its own output goes to LOGS/NAME.log.

    Args:
        steps: Of plan.steps.
        logs: Folder for the outputs, and for the settings that each step had.
        after: Called with each step that ends well.
        jobs: Steps at a time; with gpus, at least as many as there are of them make sense.
        gpus: As CUDA counts them; the steps that run at a time are spread over them. Empty: what each step finds.

    Raises:
        InputError: Something needed is missing, a finished step had other settings, another process is at the
            same step, or steps failed; those that do not need them were run nevertheless.
        Stopped: SIGTERM or Ctrl-C; the trainings were told to stop, and saved.
    """
    logs.mkdir(parents=True, exist_ok=True)
    _refuse_other_settings(steps, logs)
    _refuse_missing(steps)
    waiting = [step for step in steps if not is_done(step)]
    total, running, failed, free = len(waiting), [], [], list(range(jobs))
    with _stopping(running):
        while waiting or running:
            due = {step.done for step in waiting} | {one.step.done for one in running} | {step.done for step in failed}
            ready = [step for step in waiting if not due.intersection(step.needs)]
            for step in ready[: len(free)]:
                waiting.remove(step)
                print(f"python -m {shlex.join(step.command)}", flush=True)
                running.append(_start(step, logs, free.pop(0), jobs, gpus))
            if not running:  # what is left needs something that failed
                break
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                free.append(one.slot)
                well = one.process.returncode == 0
                ended = "done" if well else "FAILED"
                left = f"{total - len(waiting) - len(running)} of {total}"
                print(f"[{left}] {one.step.name}: {ended} after {time.time() - one.started:.0f} s", flush=True)
                if well:
                    after(one.step)
                else:
                    failed.append(one.step)
    if failed:
        raise InputError(_what_failed(failed, waiting, logs))


def is_done(step: Step) -> bool:
    """Whether a step is complete; a measurement of weights that were trained anew since is not."""
    if not step.done.is_file():
        return False
    measured = step.done.stat().st_mtime
    return step.done.name != SUMMARY or all(path.is_file() and path.stat().st_mtime <= measured for path in step.needs)


def settings_file(step: Step, logs: pathlib.Path) -> pathlib.Path:
    """Where the settings that a step had are kept."""
    return logs / f"{step.name}.settings"


def _start(step: Step, logs: pathlib.Path, slot: int, jobs: int, gpus: Sequence[str]) -> _Running:
    environment = dict(os.environ)
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    if jobs > 1:  # otherwise each of them would use every core
        environment.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    with open(logs / f"{step.name}.log", "a") as log:
        _lock(log, step)
        settings_file(step, logs).write_text("".join(f"{flag}\n" for flag in step.settings))
        print(f"python -m {shlex.join(step.command)}", file=log, flush=True)
        # A session of its own: Ctrl-C reaches this process alone, which then tells its steps to stop, once.
        process = subprocess.Popen(
            [sys.executable, "-m", *step.command],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    return _Running(step, process, slot, time.time())


def _lock(log: IO, step: Step) -> None:
    """The lock is the open file's, which the step's process inherits: it ends with the process, whoever started it."""
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{step.name} is being run by another process, see {log.name}: wait for it") from None


@contextmanager
def _stopping(running: list[_Running]) -> Iterator[None]:
    """Lets nothing run on when this process is stopped."""

    def stop(number: int, frame: object) -> None:
        raise Stopped(number, "stopped: the same command goes on from here")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one in running:
            one.process.terminate()
        for one in running:
            one.process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse_other_settings(steps: Sequence[Step], logs: pathlib.Path) -> None:
    """A result of other flags must not end up in a table under these."""
    for step in steps:
        path = settings_file(step, logs)
        if not path.is_file() or not step.done.parent.exists():
            continue
        there = path.read_text().splitlines()
        if there != list(step.settings):
            differences = [f"{flag} there" for flag in there if flag not in step.settings]
            differences += [f"{flag} here" for flag in step.settings if flag not in there]
            raise InputError(
                f"{step.done.parent} was made with other flags ({', '.join(differences) or 'in another order'}): "
                "use another --out_dir, or delete that folder"
            )


def _refuse_missing(steps: Sequence[Step]) -> None:
    made = {step.done for step in steps}
    for step in steps:
        for path in step.needs:
            if path not in made and not path.is_file():
                raise InputError(f"{path} is not there, and {step.name} needs it")


def _what_failed(failed: Sequence[Step], left_out: Sequence[Step], logs: pathlib.Path) -> str:
    lines = []
    for step in failed:
        log = logs / f"{step.name}.log"
        last = (log.read_text().strip().splitlines() or [""])[-1]
        lines.append(f"{step.name} failed ({last.removeprefix('error: ')}), see {log}")
    if left_out:
        lines.append(f"{len(left_out)} steps that need it were left out")
    return "; ".join(lines)
