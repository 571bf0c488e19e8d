import json

import pytest

from experiments.benchmarks import ranking, reranking

SMALL = {"queries": 60, "gallery": 400, "identities": 20, "dimensions": 16, "noise": 1.0, "repeats": 1}


@pytest.mark.parametrize("benchmark", [ranking, reranking])
def test_small_run_agrees_with_its_reference_and_ends_in_a_json_line(benchmark, capsys):
    result = benchmark.run_benchmark(**SMALL)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result
    assert result["benchmark"] == benchmark.__name__.rpartition(".")[2]
    assert result["largest_difference"] < 1e-5
    assert min(result["ours_s"], result["reference_s"], result["speedup"], result["peak_mb"]) > 0
    assert 0.2 < result["mAP"] < 1


def test_descriptors_are_the_same_for_a_seed_and_hold_distractors():
    first, again = (ranking.make_descriptors(50, 300, 10, 8, 1.0, seed=3) for _ in range(2))
    assert all((first[name] == again[name]).all() for name in first)
    assert 0 in first["gallery_ids"]
    assert 0 not in first["query_ids"]
