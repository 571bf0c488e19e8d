import pytest

from experiments.benchmarks.backbones import run_benchmark
from experiments.benchmarks.training import Options
from lrdnn_tf.config import BACKBONES


@pytest.mark.slow
def test_small_run_measures_every_backbone():
    result = run_benchmark(Options(height=64, width=32, batch_size=4), repeats=1)
    for backbone in BACKBONES:
        assert result[f"{backbone}_training_images_per_s"] > 0
        assert result[f"{backbone}_inference_images_per_s"] > result[f"{backbone}_training_images_per_s"]
    parameters = [result[f"{backbone}_million_parameters"] for backbone in ("resnet50", "mobilenet_v2", "small")]
    assert parameters == sorted(parameters, reverse=True)
    assert parameters[:2] == pytest.approx([23.6 + 751 * 2049e-6, 2.26 + 751 * 1281e-6], abs=0.02)
    assert result["speedup"] == result["reference_s"] / result["ours_s"]
