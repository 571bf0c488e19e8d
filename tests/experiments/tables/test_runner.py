"""Steps are run as processes; here of a module that only waits, writes a file or fails."""

import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest

from experiments.tables import runner
from experiments.tables.plan import SUMMARY, Step, is_done
from lrdnn_base.errors import InputError, Stopped

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
        return Step(name, command, done, tuple(other.done for other in needs), settings, done)

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


def test_what_fails_is_named_and_does_not_stop_the_rest(step, logs, capsys):
    bad = step("bad", code=1)
    needs_it, other = step("needs_it", (bad,)), step("other")
    with pytest.raises(InputError, match=r"bad failed, see .*bad.log; left out, since they need it: needs_it"):
        runner.run([bad, needs_it, other], logs)
    assert "FAILED" in (printed := capsys.readouterr().out)
    assert "error: no luck" in printed
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


def test_a_step_that_memory_ran_out_for_is_named(step, logs, capsys):
    slow = step("slow", seconds=30)

    def kill():
        while not slow.done.with_suffix(".began").exists():
            time.sleep(0.05)
        subprocess.run(["pkill", "-KILL", "-f", str(slow.done)], check=True)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(InputError, match="slow failed"):
        runner.run([slow], logs)
    killer.join()
    assert "slow was ended by SIGKILL; did memory run out?" in capsys.readouterr().out


def test_a_step_that_a_killed_table_left_running_is_waited_for(step, logs, capsys):
    left = step("left", seconds=1)
    logs.mkdir()
    process = runner._start(left, logs, 0, 1, ())
    assert runner._start(left, logs, 0, 1, ()) is None
    runner.run([left, step("next", (left,))], logs)
    assert process.wait() == 0
    assert content(left)[1] <= content(step("next"))[0]
    printed = capsys.readouterr().out
    assert printed.count("waiting for left: another process is at it") == 1
    assert "left: done" not in printed


def test_a_result_of_other_settings_is_refused(step, logs):
    runner.run([step("row", settings=("--epochs=3",))], logs)
    runner.check_finished([step("row", settings=("--epochs=3",))], logs)
    with pytest.raises(InputError, match=r"row was made with other settings \(--epochs=3 there, --epochs=4 here\)"):
        runner.check_finished([step("row", settings=("--epochs=4",))], logs)
    step("row").done.unlink()
    runner.check_finished([step("row", settings=("--epochs=4",))], logs)


def test_weights_that_were_trained_anew_are_measured_anew_and_not_built_on(step, logs):
    weights = step("weights")
    report, later = step(SUMMARY, (weights,)), step("later", (weights,))
    runner.run([weights, report, later], logs)
    runner.check_finished([weights, report, later], logs)
    assert is_done(report)
    newer = report.done.stat().st_mtime + 10
    os.utime(weights.done, (newer, newer))
    assert not is_done(report)
    with pytest.raises(InputError, match=r"later is older than .*weights, which it starts from: delete .*later"):
        runner.check_finished([weights, report, later], logs)
    weights.done.unlink()
    assert not is_done(report)


def test_what_nobody_makes_must_be_there(step):
    given = step("given")
    with pytest.raises(InputError, match="given is not there, and row needs it"):
        runner.check_needs([step("row", (given,))])
    given.done.touch()
    runner.check_needs([step("row", (given,))])
