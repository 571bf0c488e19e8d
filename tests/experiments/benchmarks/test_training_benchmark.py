import math

import pytest

from experiments.benchmarks.training import Options, forward_gflops, phase_model, run_benchmark


@pytest.mark.slow
def test_small_run_measures_every_phase(tmp_path):
    sizes = {"backbone": "small", "height": 64, "width": 32, "pose_width": 0.125, "bilinear_dim": 64}
    settings = {"batch_size": 4, "steps": 1, "repeats": 1, "precision": "float32"}
    result = run_benchmark(Options(**sizes, **settings, trace_dir=str(tmp_path)))
    for phase in ("identity", "attributes", "fusion"):
        for kind in ("synthetic", "real"):
            assert math.isfinite(result[f"{phase}_{kind}_images_per_s"])
        assert list((tmp_path / phase).rglob("*.xplane.pb"))
    assert result["speedup"] == result["reference_s"] / result["ours_s"]


def test_operations_are_counted():
    """ResNet-50 takes 4.1e9 multiplications and as many additions at 224x224, 8.2e9 operations."""
    model = phase_model("identity", Options(height=64, width=64))
    assert forward_gflops(model) == pytest.approx(8.2 * (64 / 224) ** 2, rel=0.1)
