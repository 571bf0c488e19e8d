import pytest

from experiments.benchmarks import search, serving


def test_small_search_finds_the_matches_of_its_reference():
    result = search.run_benchmark(images=3000, dimensions=32, queries=3)
    assert result["same_matches"] == 1
    assert min(result["ours_s"], result["reference_s"], result["filtered_s"], result["peak_mb"]) > 0


@pytest.mark.slow
def test_small_run_of_serving_measures_every_kind_of_request():
    options = serving.SMALL | {"height": 64, "width": 32, "pose_width": 0.1, "bilinear_dim": 128}
    result = serving.run_benchmark(requests=2, clients=4, model_options=options)
    for kind in ("savedmodel", "grpc", "grpc_batching"):
        for size in serving.BATCH_SIZES:
            assert 0 < result[f"{kind}_{size}_p50_ms"] <= result[f"{kind}_{size}_p99_ms"]
    assert min(result["grpc_images_per_s"], result["grpc_batching_images_per_s"]) > 0
