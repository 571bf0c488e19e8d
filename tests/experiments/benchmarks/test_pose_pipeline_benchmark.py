import cv2
import numpy as np

from experiments.benchmarks import pose_pipeline
from pose_pretrain.targets import affinity_maps, confidence_maps


def test_small_run_measures_both_loops():
    result = pose_pipeline.run_benchmark(images=6, height=64, width=48, batch_size=3, repeats=1)
    assert result["benchmark"] == "pose_pipeline" and result["examples"] == 6
    assert min(result["ours_examples_per_s"], result["reference_examples_per_s"], result["peak_mb"]) > 0


def test_the_plain_loop_computes_the_same_targets():
    rng = np.random.default_rng(0)
    people = np.full((3, 18, 3), 2, np.float32)
    people[..., :2] = rng.uniform(0, 64, (3, 18, 2))
    people[:, :4, 2] = 0
    confidence, affinity = pose_pipeline._plain_targets(people, 8, 7, 6.0)
    np.testing.assert_allclose(confidence, confidence_maps(people[None], 8, 7, 6.0)[0], atol=1e-5)
    np.testing.assert_allclose(affinity, affinity_maps(people[None], 8, 7, 1.0)[0], atol=1e-5)


def test_pictures_have_the_size_of_coco_images():
    (picture,) = pose_pipeline.make_pictures(1, np.random.default_rng(0))
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)
    assert 100e3 < len(picture) < 200e3
