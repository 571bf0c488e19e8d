import numpy as np
import pandas as pd
import pytest

from experiments.benchmarks import growth, msmt17, ranking, reranking
from experiments.benchmarks.descriptors import Sizes, make_descriptors, rank, rank_reranked

SMALL = Sizes(queries=60, gallery=400, identities=20, dimensions=16, noise=1.0)


@pytest.mark.parametrize("benchmark", [ranking, reranking])
def test_small_run_agrees_with_its_reference(benchmark):
    result = benchmark.run_benchmark(SMALL, repeats=1)
    assert result["benchmark"] == benchmark.__name__.rpartition(".")[2]
    assert result["largest_difference"] < 1e-5
    assert min(result["ours_s"], result["reference_s"], result["speedup"], result["peak_mb"]) > 0
    assert 0.2 < result["mAP"] < 1


def test_small_run_of_msmt17_reports_the_map_of_both_rankings():
    result = msmt17.run_benchmark(SMALL)
    data = make_descriptors(SMALL)
    assert (result["mAP_plain"], result["mAP"]) == (rank(data).mean_ap, rank_reranked(data).mean_ap)
    assert result["mAP"] > result["mAP_plain"]
    assert result["ours_s"] == result["rank_s"] + result["rerank_s"] > 0


def test_growth_writes_a_row_per_method_and_size_and_a_picture(tmp_path):
    growth.run_benchmark((100, 300), queries=30, dimensions=8, out_dir=tmp_path)
    table = pd.read_csv(tmp_path / "growth.csv")
    assert table[["method", "gallery"]].to_numpy().tolist() == [
        [method, gallery] for gallery in (100, 300) for method in ("rank", "re-rank")
    ]
    assert (table[["seconds", "peak_mb", "mAP"]] > 0).all(axis=None)
    assert (tmp_path / "growth.png").stat().st_size > 10_000


def test_descriptors_are_the_same_each_time_and_hold_distractors():
    first, again = (make_descriptors(Sizes(50, 300, 10, 8, 1.0)) for _ in range(2))
    for one, other in zip(first[2:], again[2:], strict=True):
        assert np.array_equal(one.identities, other.identities) and np.array_equal(one.cameras, other.cameras)
    assert all(np.array_equal(one, other) for one, other in zip(first[:2], again[:2], strict=True))
    assert 0 in first.gallery_labels.identities
    assert 0 not in first.query_labels.identities
