import itertools
import json
from functools import partial

import numpy as np
import pytest

from experiments import measure
from experiments.benchmarks.compare import Comparison, compare
from lrdnn_base.errors import InputError


def test_variants_are_called_in_turn_after_the_warm_up():
    calls = []

    def prepare(name):
        calls.append(f"prepare {name}")
        return partial(calls.append, name)

    variants = {name: partial(prepare, name) for name in ("ours", "reference", "other")}
    comparison = compare(
        "order", variants["ours"], variants["reference"], {"other": variants["other"]},
        repeats=2, reference_repeats=1, warm_up=1,
    )  # fmt: skip
    first = ["prepare ours", "ours", "prepare other", "other", "prepare reference", "reference"]
    assert calls == [*first, "ours", "other", "reference", "ours", "other"]
    assert {name: len(seconds) for name, seconds in comparison.seconds.items()} == {
        "ours": 2, "other": 2, "reference": 1,
    }  # fmt: skip


def test_preparation_is_not_timed_and_the_last_result_is_returned(monkeypatch):
    now = 0.0
    monkeypatch.setattr(measure.time, "perf_counter", lambda: now)
    returned = itertools.count()

    def call():
        nonlocal now
        now += 2.0
        return next(returned)

    def prepare():
        nonlocal now
        now += 50.0
        return call

    comparison = compare("count", prepare, repeats=3)
    assert comparison.seconds == {"ours": [2.0, 2.0, 2.0]}
    assert comparison.results == {"ours": 2}


def prepare_ones(count):
    return partial(np.ones, count)


def test_the_peak_of_an_own_process_is_that_of_its_variant():
    variants = {name: partial(prepare_ones, count) for name, count in (("small", 1), ("large", 10 << 20))}
    comparison = compare("ones", variants["small"], variants["large"], repeats=2, own_processes=True)
    assert comparison.results["reference"].sum() == 10 << 20
    assert 70 < comparison.peaks_mb["reference"] - comparison.peaks_mb["ours"] < 110


def prepare_failure():
    raise InputError("k1=30: too large")


@pytest.mark.parametrize("own_processes", [False, True])
def test_an_input_error_of_a_variant_keeps_its_message(own_processes):
    with pytest.raises(InputError, match="k1=30: too large"):
        compare("failure", prepare_failure, own_processes=own_processes)


def test_the_report_ends_in_a_json_line_with_medians_ratios_and_details(capsys):
    seconds = {"ours": [1.0, 9.0, 2.0], "cached": [1.0], "reference": [8.0]}
    comparison = Comparison("pipeline", seconds, {"ours": 100.0, "cached": 50.0})
    result = comparison.report(images=7, mAP=0.5)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result
    assert result == {
        "benchmark": "pipeline", "ours_s": 2.0, "reference_s": 8.0, "speedup": 4.0, "peak_mb": 100.0,
        "cached_s": 1.0, "cached_speedup": 8.0, "cached_peak_mb": 50.0, "images": 7, "mAP": 0.5,
    }  # fmt: skip
