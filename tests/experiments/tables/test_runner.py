"""Steps are run as processes, here of a module that waits for a file, writes a file or fails."""

import json
import os
import pathlib
import shutil
import signal
import threading
import time

import pytest

from experiments.tables import runner
from experiments.tables.plan import SUMMARY, Step, is_done
from lrdnn_base.errors import InputError, Stopped

# Arguments: the file to write, files to wait for (separated by commas), the exit code. NAME.began appears at the start;
# the written file lists which of the other files existed then.
MODULE = """
import json, os, pathlib, signal, sys, time
done, awaited, code = pathlib.Path(sys.argv[1]), [*filter(None, sys.argv[2].split(","))], int(sys.argv[3])
signal.signal(signal.SIGTERM, lambda *_: (done.with_suffix(".stopped").touch(), sys.exit(143)))
there = sorted(path.name for path in done.parents[1].glob("*/*"))
done.with_suffix(".pid").write_text(str(os.getpid()))
done.with_suffix(".began").touch()
deadline = time.monotonic() + 120
while not all(os.path.exists(path) for path in awaited):
    if time.monotonic() > deadline:
        sys.exit("error: waited in vain")
    time.sleep(0.02)
if code:
    print("error: no luck")
    sys.exit(code)
done.write_text(json.dumps({"there": there, "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}))
"""
NEVER = pathlib.Path("/no/such/file")


@pytest.fixture
def step(tmp_path, monkeypatch):
    """Makes a step from its name, the steps that it needs, the files that it waits for, its exit code and settings."""
    (tmp_path / "a_step.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(name: str, needs: tuple[Step, ...] = (), awaited=(), code: int = 0, settings=()) -> Step:
        done = tmp_path / "runs" / name.partition(".")[0] / name
        done.parent.mkdir(parents=True, exist_ok=True)
        command = ("a_step", str(done), ",".join(map(str, awaited)), str(code))
        return Step(command, done, tmp_path / "logs" / f"{name}.log", tuple(other.done for other in needs), settings)

    return make


def began(step: Step) -> pathlib.Path:
    return step.done.with_suffix(".began")


def content(step: Step) -> dict:
    return json.loads(step.done.read_text())


def once_there(path: pathlib.Path, action) -> threading.Thread:
    """Starts a thread that calls `action` as soon as a file exists."""

    def wait_and_act():
        while not path.exists():
            time.sleep(0.02)
        action()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_steps_run_in_their_order_and_once(step, capsys):
    first = step("first")
    second = step("second", (first,))
    runner.run([first, second])
    assert "first" in content(second)["there"]
    assert "second.began" not in content(first)["there"]
    written = first.done.stat().st_mtime_ns
    runner.run([first, second])
    assert first.done.stat().st_mtime_ns == written
    printed = capsys.readouterr().out
    assert "[2 of 2] second: done after" in printed
    assert printed.count("python -m a_step") == 2
    assert first.log.read_text().startswith("python -m a_step ")


def test_the_page_is_written_after_every_evaluation(step):
    steps = [step("weights"), step(SUMMARY)]
    calls = []
    for _ in range(2):
        runner.run(steps, lambda: calls.append(steps[1].done.is_file()))
    assert calls == [True]


def test_steps_run_in_parallel_but_not_before_what_they_need(step):
    one, two = step("one"), step("two")
    pair = [step("one", awaited=[began(two)]), step("two", awaited=[began(one)])]  # each ends only beside the other
    last = step("last", tuple(pair))
    runner.run([*pair, last], jobs=2, gpus=["4", "7"])
    assert {"one", "two"} <= set(content(last)["there"])
    assert {content(one)["gpu"], content(two)["gpu"]} == {"4", "7"}


def test_no_more_steps_run_at_a_time_than_jobs(step):
    steps = [step("one"), step("two"), step("three")]
    runner.run(steps, jobs=1)
    written = [{"one", "two", "three"} & set(content(one)["there"]) for one in steps]
    assert [len(names) for names in written] == [0, 1, 2]


def test_a_step_that_fails_is_named_and_does_not_stop_the_rest(step, capsys):
    bad = step("bad", code=1)
    needs_it, other = step("needs_it", (bad,)), step("other")
    with pytest.raises(InputError, match=r"bad failed, see .*bad.log; skipped, since they need it: needs_it"):
        runner.run([bad, needs_it, other])
    assert "FAILED" in (printed := capsys.readouterr().out)
    assert "error: no luck" in printed
    assert other.done.is_file()
    assert not needs_it.done.exists()
    runner.run([step("bad"), needs_it, other])
    assert needs_it.done.is_file()


def test_a_stopped_table_stops_its_steps_and_resumes(step):
    slow = step("slow", awaited=[NEVER])
    stopper = once_there(began(slow), lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped) as stopped:
        runner.run([slow])
    stopper.join()
    assert stopped.value.signal == signal.SIGTERM
    assert slow.done.with_suffix(".stopped").exists()
    runner.run([step("slow")])
    assert slow.done.is_file()


def test_a_step_that_was_killed_names_the_signal(step, capsys):
    slow = step("slow", awaited=[NEVER])
    pid = slow.done.with_suffix(".pid")
    killer = once_there(began(slow), lambda: os.kill(int(pid.read_text()), signal.SIGKILL))
    with pytest.raises(InputError, match="slow failed"):
        runner.run([slow])
    killer.join()
    assert "ended by SIGKILL; did memory run out?" in capsys.readouterr().out


def test_a_step_that_another_process_runs_is_waited_for(step, tmp_path, capsys, monkeypatch):
    left, after = step("left", awaited=[tmp_path / "go"]), step("next", (step("left"),))
    process = runner._start(left, 0, 1, ())
    assert runner._start(left, 0, 1, ()) is None
    polls = []

    def sleep(seconds: float) -> None:  # the other process ends only after several polls
        polls.append(seconds)
        if len(polls) == 3:
            (tmp_path / "go").touch()
            process.wait()

    monkeypatch.setattr(runner.time, "sleep", sleep)
    runner.run([left, after])
    assert process.wait() == 0
    assert "left" in content(after)["there"]
    printed = capsys.readouterr().out
    assert printed.count("waiting for left: another process is running it") == 1
    assert "left: done" not in printed


def test_a_result_of_other_settings_is_refused(step):
    runner.run([step("row", settings=("--epochs=3",))])
    runner.check_finished([step("row", settings=("--epochs=3",))])
    other = step("row", settings=("--epochs=4",))
    with pytest.raises(InputError, match=r"row was made with other settings \(--epochs=3 there, --epochs=4 here\)"):
        runner.check_finished([other])
    shutil.rmtree(other.done.parent)
    runner.check_finished([other])


def test_retrained_weights_are_evaluated_again_and_not_built_on(step):
    weights = step("weights")
    report, later = step(SUMMARY, (weights,)), step("later", (weights,))
    runner.run([weights, report, later])
    runner.check_finished([weights, report, later])
    assert is_done(report)
    newer = report.done.stat().st_mtime + 10
    os.utime(weights.done, (newer, newer))
    assert not is_done(report)
    with pytest.raises(InputError, match=r"later is older than .*weights, which it starts from: delete .*later"):
        runner.check_finished([weights, report, later])
    weights.done.unlink()
    assert not is_done(report)
