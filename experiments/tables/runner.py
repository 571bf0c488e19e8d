"""Runs the steps of a table that are not done, one after another or in parallel."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from experiments.tables.plan import SUMMARY, Step, is_done, newer_needs
from lrdnn_base.errors import InputError, Stopped

_SECONDS_BETWEEN_POLLS = 0.2
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(
    steps: Sequence[Step], report: Callable[[], object] = lambda: None, jobs: int = 1, gpus: Sequence[str] = ()
) -> None:
    """Runs the steps that are not done, `jobs` at a time, each as soon as the files that it needs exist.

    A step that another process is running, of another table or of a killed one, is waited for.

    Args:
        steps: Steps returned by plan.steps; see check_finished for those that are done.
        report: Called when a row was evaluated.
        jobs: Steps at a time.
        gpus: GPUs as CUDA_VISIBLE_DEVICES names them, which concurrent steps are distributed over; empty for all.

    Raises:
        InputError: Steps failed. Steps that do not need them were run nevertheless.
        Stopped: SIGTERM, SIGHUP or Ctrl-C arrived; the running steps were terminated, and the trainings saved.
    """
    waiting = [step for step in steps if not is_done(step)]
    total, failed, elsewhere, signals = len(waiting), [], set(), []
    running = {}  # step, process and start time by slot
    handlers = {number: signal.signal(number, lambda number, _: signals.append(number)) for number in _STOP_SIGNALS}
    try:
        while waiting or running:
            if signals:
                raise Stopped(signals[0], "stopped: rerun the same command to resume")
            missing = {step.done for step in [*waiting, *failed, *(step for step, _, _ in running.values())]}
            ready = [step for step in waiting if not missing.intersection(step.needs)]
            if not running and not ready:  # the steps that are left need one that failed
                break
            for step in ready:
                free = set(range(jobs)) - running.keys()
                if free and (process := _start(step, min(free), jobs, gpus)):
                    waiting.remove(step)
                    running[min(free)] = step, process, time.time()
                elif free and step not in elsewhere:
                    elsewhere.add(step)
                    print(f"waiting for {step.name}: another process is running it, {step.log}", flush=True)
            time.sleep(_SECONDS_BETWEEN_POLLS)
            waiting = [step for step in waiting if not is_done(step)]
            for slot, (step, process, started) in list(running.items()):
                if (code := process.poll()) is None:
                    continue
                del running[slot]
                count, seconds = total - len(waiting) - len(running), time.time() - started
                print(f"[{count} of {total}] {step.name}: {_outcome(step, code, seconds)}", flush=True)
                if code:
                    failed.append(step)
                elif step.done.name == SUMMARY:
                    report()
    finally:
        for _, process, _ in running.values():
            process.terminate()
        for _, process, _ in running.values():
            process.wait()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if failed:
        skipped = f"; skipped, since they need it: {', '.join(step.name for step in waiting)}" if waiting else ""
        raise InputError("; ".join(f"{step.name} failed, see {step.log}" for step in failed) + skipped)


def check_finished(steps: Sequence[Step]) -> None:
    """Refuses results that must not appear in one table.

    Raises:
        InputError: A step was run with other settings, or a file that a finished step needs was overwritten since.
    """
    made = {step.done for step in steps}
    for step in steps:
        folder, file = step.done.parent, step.log.with_suffix(".settings")
        there = tuple(file.read_text().splitlines()) if file.is_file() and folder.exists() else step.settings
        if there != step.settings:
            differences = [f"{setting} there" for setting in there if setting not in step.settings]
            differences += [f"{setting} here" for setting in step.settings if setting not in there]
            raise InputError(
                f"{folder} was made with other settings ({', '.join(differences)}): "
                "use another --out_dir, or delete that folder"
            )
        for need in newer_needs(step) if is_done(step) else ():
            if need in made and need.is_file():
                raise InputError(f"{folder} is older than {need}, which it starts from: delete {folder}")


def _start(step: Step, slot: int, jobs: int, gpus: Sequence[str]) -> subprocess.Popen | None:
    """Starts a step; None if another process is running it."""
    environment = dict(os.environ)
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    if jobs > 1:  # otherwise each step would use every core
        environment.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    step.log.parent.mkdir(parents=True, exist_ok=True)
    with open(step.log, "a") as log:
        try:
            # The lock belongs to the open file, which the step inherits: it is held until both processes have ended.
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        step.log.with_suffix(".settings").write_text("".join(f"{setting}\n" for setting in step.settings))
        for output in (log, sys.stdout):
            print(f"python -m {shlex.join(step.command)}", file=output, flush=True)
        command = [sys.executable, "-m", *step.command]
        # A session of its own, since Ctrl-C must reach only this process, which then terminates each step once.
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def _outcome(step: Step, code: int, seconds: float) -> str:
    """Whether a step succeeded; otherwise also the last line that it printed, or the signal that ended it."""
    if code == 0:
        return f"done after {seconds:.0f} s"
    if code < 0:
        memory = "; did memory run out?" if code == -signal.SIGKILL else ""
        return f"FAILED after {seconds:.0f} s, ended by {signal.Signals(-code).name}{memory}"
    return f"FAILED after {seconds:.0f} s\n{step.log.read_text().strip().splitlines()[-1]}"
