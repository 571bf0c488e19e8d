"""Steps are run as processes; here of a module that only waits, writes a file or fails."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from experiments.tables import runner
from experiments.tables.plan import SUMMARY, Step
from pose_pretrain.errors import InputError, Stopped

MODULE = """
import json, os, pathlib, signal, sys, time
done, seconds, code = pathlib.Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
signal.signal(signal.SIGTERM, lambda *_: (done.with_suffix(".stopped").touch(), sys.exit(143)))
began = time.time()
done.with_suffix(".began").touch()
time.sleep(seconds)
if code:
    print("error: no luck")
    sys.exit(code)
done.write_text(json.dumps([began, time.time(), os.environ.get("CUDA_VISIBLE_DEVICES")]))
"""


@pytest.fixture
def step(tmp_path, monkeypatch):
    """Makes a step by its name: how long it takes, how it ends, what it needs."""
    (tmp_path / "a_step.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(name: str, needs: tuple[Step, ...] = (), seconds: float = 0.0, code: int = 0, settings=()) -> Step:
        done = tmp_path / "runs" / name
        done.parent.mkdir(exist_ok=True)
        command = ("a_step", str(done), str(seconds), str(code))
        return Step(name, command, done, tuple(other.done for other in needs), settings)

    return make


@pytest.fixture
def logs(tmp_path) -> pathlib.Path:
    return tmp_path / "logs"


def content(step: Step) -> list:
    return json.loads(step.done.read_text())


def test_steps_run_in_turn_and_nothing_twice(step, logs, capsys):
    first = step("first")
    second = step("second", (first,))
    after = []
    runner.run([first, second], logs, after.append)
    assert after == [first, second]
    assert content(first)[1] <= content(second)[0]
    written = first.done.stat().st_mtime_ns
    runner.run([first, second], logs, after.append)
    assert len(after) == 2
    assert first.done.stat().st_mtime_ns == written
    printed = capsys.readouterr().out
    assert "[2 of 2] second: done after" in printed
    assert (logs / "first.log").read_text().startswith("python -m a_step ")


def test_steps_run_in_parallel_but_not_before_what_they_need(step, logs):
    pair = [step("one", seconds=0.5), step("two", seconds=0.5)]
    last = step("last", tuple(pair))
    runner.run([*pair, last], logs, jobs=2, gpus=["4", "7"])
    (one_began, one_ended, one_gpu), (two_began, two_ended, two_gpu), (last_began, *_) = map(content, (*pair, last))
    assert max(one_began, two_began) < min(one_ended, two_ended)
    assert last_began >= max(one_ended, two_ended)
    assert {one_gpu, two_gpu} == {"4", "7"}


def test_what_fails_is_named_and_does_not_stop_the_rest(step, logs):
    bad = step("bad", code=1)
    needs_it, other = step("needs_it", (bad,)), step("other")
    with pytest.raises(InputError, match=r"bad failed \(no luck\), see .*bad.log; 1 steps that need it were left out"):
        runner.run([bad, needs_it, other], logs)
    assert other.done.is_file()
    assert not needs_it.done.exists()
    runner.run([step("bad"), needs_it, other], logs)
    assert needs_it.done.is_file()


def test_a_stopped_table_stops_its_steps_and_goes_on_later(step, logs):
    slow = step("slow", seconds=30)

    def stop():
        while not slow.done.with_suffix(".began").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(Stopped) as stopped:
        runner.run([slow], logs)
    stopper.join()
    assert stopped.value.signal == signal.SIGTERM
    assert slow.done.with_suffix(".stopped").exists()
    runner.run([step("slow")], logs)
    assert slow.done.is_file()


def test_a_step_that_a_killed_table_left_running_is_not_started_again(step, logs, tmp_path):
    left = step("left", seconds=30)
    logs.mkdir()
    with open(logs / "left.log", "a") as log:
        runner._lock(log, left)
        process = subprocess.Popen([sys.executable, "-m", *left.command], stdout=log)
    try:
        with pytest.raises(InputError, match="left is being run by another process"):
            runner.run([left], logs)
    finally:
        process.kill()
        process.wait()
    runner.run([step("left")], logs)
    assert left.done.is_file()


def test_a_result_of_other_flags_is_refused(step, logs):
    runner.run([step("row", settings=("--epochs=3",))], logs)
    with pytest.raises(InputError, match=r"--epochs=3 there, --epochs=4 here.*another --out_dir"):
        runner.run([step("row", settings=("--epochs=4",))], logs)


def test_weights_that_were_trained_anew_are_measured_anew(step, logs):
    weights = step("weights")
    report = step(SUMMARY, (weights,))
    runner.run([weights, report], logs)
    assert runner.is_done(report)
    later = report.done.stat().st_mtime + 10
    os.utime(weights.done, (later, later))
    assert not runner.is_done(report)
    weights.done.unlink()
    assert not runner.is_done(report)


def test_what_nobody_makes_must_be_there(step, logs):
    with pytest.raises(InputError, match="given is not there, and row needs it"):
        runner.run([step("row", (step("given"),))], logs)
