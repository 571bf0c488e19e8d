"""experiments.pose_maps; here, since it needs the trained run of these tests."""

import numpy as np
import pytest

from experiments import pose_maps
from experiments.pose_maps import PARTS, measure


def test_fixed_maps_and_all_parts_of_pose_maps_are_ranked(tiny_dataset, trained_run):
    table = measure(trained_run, tiny_dataset.path, [str(trained_run / "pose")])
    assert table["part"].tolist() == ["one fixed map per position", *PARTS]
    assert table[["mAP", "rank1"]].stack().between(0, 1).all()
    assert table["positions"].dropna().between(1, 4 * 2).all()


def test_the_descriptions_of_maps_mean_what_they_say():
    everywhere = np.ones([5, 4, 2, 3])
    assert pose_maps._positions(everywhere) == pytest.approx(8)
    one = np.zeros([5, 4, 2, 3])
    one[:, 1, 1] = 7.0
    assert pose_maps._positions(one) == pytest.approx(1)
    assert pose_maps._fixed_share(one) == pytest.approx(1)  # the same in every image
    random = np.random.default_rng(0).normal(size=[500, 4, 2, 3])
    assert pose_maps._fixed_share(random) < 0.01
