"""Training people who are held out."""

import collections

import numpy as np
import pytest

from data_prep.crops import Crop
from data_prep.held_out import HeldOut, hold_out
from lrdnn_base.errors import InputError


def _crops(seed=0, people=30, unknown_cameras=False):
    """Training people with 1 to 9 images from 1 to 4 cameras, junk among them, and test people of other numbers."""
    rng = np.random.default_rng(seed)
    train = []
    for identity in range(-1, people):
        cameras = [0] if unknown_cameras else rng.choice(np.arange(1, 7), rng.integers(1, 5), replace=False)
        for number in range(rng.integers(1, 10)):
            train.append(Crop(f"{identity}/{number}.jpg", identity, int(rng.choice(cameras)), (number,)))
    return {"train": train, "query": [Crop("q.jpg", 99, 1)], "gallery": [Crop("g.jpg", 99, 2), Crop("s.jpg", 0, 2)]}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("unknown_cameras", [False, True])
def test_every_query_has_a_match_and_no_image_is_lost(seed, unknown_cameras):
    crops = _crops(seed, unknown_cameras=unknown_cameras)
    held = hold_out(crops, HeldOut(held_out=10, held_out_seed=seed))
    assert collections.Counter(crop for split in held.values() for crop in split) == collections.Counter(crops["train"])
    tested = {crop.identity for crop in held["query"]}
    assert len(tested) == 10 and min(tested) > 0
    assert {crop.identity for crop in held["gallery"]} == tested
    assert not tested & {crop.identity for crop in held["train"]}
    for query in held["query"]:
        own = [crop for crop in held["gallery"] if crop.identity == query.identity]
        assert any(crop.camera != query.camera or unknown_cameras for crop in own)
    of_camera = collections.Counter((crop.identity, crop.camera) for crop in held["query"])
    assert set(of_camera.values()) == {1}
    assert unknown_cameras or len(held["query"]) > 15  # most people are asked for from several cameras


def test_the_seed_decides_who_is_held_out():
    held = [hold_out(_crops(), HeldOut(held_out=10, held_out_seed=seed)) for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


def test_without_held_out_people_nothing_changes():
    assert hold_out(_crops(), HeldOut()) == _crops()


def test_more_people_than_can_be_searched_for_are_refused():
    with pytest.raises(InputError, match=r"--held_out=31: \d\d of the 29 training people have images from two cameras"):
        hold_out(_crops(), HeldOut(held_out=31))
