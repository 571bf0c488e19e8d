import json

import numpy as np
import pandas as pd
import pytest

from experiments import measure
from experiments.benchmarks import __main__ as bench
from experiments.benchmarks import growth, msmt17, ranking, reranking

SMALL = {"queries": 60, "gallery": 400, "identities": 20, "dimensions": 16, "noise": 1.0}


def printed(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("benchmark", [ranking, reranking])
def test_small_run_agrees_with_its_reference_and_ends_in_a_json_line(benchmark, capsys):
    result = benchmark.run_benchmark(**SMALL, repeats=1)
    assert printed(capsys) == result
    assert result["benchmark"] == benchmark.__name__.rpartition(".")[2]
    assert result["largest_difference"] < 1e-5
    assert min(result["ours_s"], result["reference_s"], result["speedup"], result["peak_mb"]) > 0
    assert 0.2 < result["mAP"] < 1


def test_small_run_of_msmt17_finds_what_the_others_find(capsys):
    result = msmt17.run_benchmark(**SMALL)
    assert printed(capsys) == result
    both = msmt17.rank_both(ranking.make_descriptors(**SMALL, seed=0))
    assert (result["mAP_plain"], result["mAP"]) == pytest.approx((both["mAP_plain"], both["mAP"]))
    assert result["mAP"] > result["mAP_plain"]
    assert result["ours_s"] >= result["rank_s"] + result["rerank_s"] > 0


def test_growth_writes_a_row_per_method_and_size_and_a_picture(capsys, tmp_path):
    result = growth.run_benchmark([100, 300], queries=30, dimensions=8, out_dir=tmp_path)
    assert printed(capsys) == result
    table = pd.read_csv(tmp_path / "growth.csv")
    assert table[["method", "gallery"]].to_numpy().tolist() == [
        [method, gallery] for gallery in (100, 300) for method in ("rank", "re-rank")
    ]
    assert (table[["seconds", "peak_mb", "mAP"]] > 0).all(axis=None)
    assert (tmp_path / "growth.png").stat().st_size > 10_000


def test_the_page_has_a_row_per_benchmark_with_and_without_a_reference():
    shared = {"ours_s": 2.0, "peak_mb": 1234.5}
    with_reference = {"benchmark": "a", **shared, "reference_s": 8.0, "speedup": 4.0, "mAP": 0.5}
    without = {"benchmark": "b", **shared, "reference_s": None, "speedup": None, "images": 7}
    lines = bench.page([with_reference, without]).splitlines()
    assert "| a | 2 s | 8 s | 4.0 | 1,234 MB |" in lines
    assert "| b | 2 s | - | - | 1,234 MB |" in lines
    assert {"growth", "msmt17", "ranking", "reranking"} <= set(bench.names())


def test_memory_of_a_process_of_its_own_is_that_of_the_call():
    small, large = (measure.in_own_process(np.ones, size) for size in (1, 10 << 20))
    assert large.result.sum() == 10 << 20
    assert 70 < large.peak_mb - small.peak_mb < 110


def test_descriptors_are_the_same_for_a_seed_and_hold_distractors():
    first, again = (ranking.make_descriptors(50, 300, 10, 8, 1.0, seed=3) for _ in range(2))
    assert all((first[name] == again[name]).all() for name in first)
    assert 0 in first["gallery_ids"]
    assert 0 not in first["query_ids"]
