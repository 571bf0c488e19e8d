import pytest

from experiments.benchmarks import compact_bilinear as benchmark


@pytest.mark.slow  # four processes that load TensorFlow
def test_small_run_agrees_with_the_textbook():
    sizes = benchmark.Sizes(2, 3, 2, first_channels=20, second_channels=5, output_dim=200)
    result = benchmark.run_benchmark(sizes, repeats=1)
    assert result["benchmark"] == "compact_bilinear"
    assert result["largest_difference"] < 1e-5
    assert min(result[key] for key in ("ours_s", "outer_product_s", "reference_s", "speedup")) > 0
    assert min(result[key] for key in ("peak_mb", "outer_product_peak_mb", "reference_peak_mb")) > 100
