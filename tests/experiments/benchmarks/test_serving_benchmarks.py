import json

import pytest

from experiments.benchmarks import search, serving


def last_line(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_search_in_small_finds_what_its_reference_finds(capsys):
    result = search.run_benchmark(images=3000, dimensions=32, queries=3)
    assert last_line(capsys) == result
    assert result["same_matches"] == 1
    assert min(result["ours_s"], result["reference_s"], result["filtered_s"], result["peak_mb"]) > 0


@pytest.mark.slow
def test_serving_in_small_measures_every_way_to_ask(capsys):
    options = serving.SMALL | {"height": 64, "width": 32, "pose_width": 0.1, "bilinear_dim": 128}
    result = serving.run_benchmark(requests=2, clients=4, model_options=options)
    assert last_line(capsys) == result
    for way in ("savedmodel", "grpc", "grpc_batching"):
        for size in serving.BATCH_SIZES:
            assert 0 < result[f"{way}_{size}_p50_ms"] <= result[f"{way}_{size}_p99_ms"]
    assert min(result["grpc_images_per_s"], result["grpc_batching_images_per_s"]) > 0
