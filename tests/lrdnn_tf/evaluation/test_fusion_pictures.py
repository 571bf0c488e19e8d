import dataclasses

import numpy as np
import pytest

from lrdnn_tf.config import ModelConfig
from lrdnn_tf.evaluation import fusion_pictures
from lrdnn_tf.model.channel_weights import channel_names
from lrdnn_tf.model.lrdnn import build_model

CONFIG = ModelConfig(
    identities=5, height=64, width=32, backbone="small", pose_width=0.1, pose_maps="both", bilinear_dim=64
)


@pytest.fixture(scope="module")
def model():
    return build_model(CONFIG)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (3, 64, 32, 3)).astype(np.float32)


def test_a_fused_response_is_the_length_of_a_positions_outer_product(model, images):
    main, aligned, fused = fusion_pictures.responses(model, images)
    assert main.shape == aligned.shape == fused.shape == (3, 4, 2)
    parts = [model.get_layer(name).output for name in ("align_features", "pose_pool")]
    x, y = (values.numpy() for values in type(model)(model.input, parts)(images))
    outer = np.einsum("bhwc,bhwd->bhwcd", x, y).reshape(3, 4, 2, -1)
    np.testing.assert_allclose(fused, np.linalg.norm(outer, axis=-1), rtol=1e-4)
    np.testing.assert_allclose(aligned, np.linalg.norm(x, axis=-1), rtol=1e-4)


def test_pose_maps_that_are_the_same_everywhere_change_nothing_in_the_picture(images):
    model = build_model(dataclasses.replace(CONFIG, pose_maps="confidence"))
    features, maps = (model.get_layer(name) for name in ("align_features", "align_pose_maps"))
    features.moving_mean.assign(np.full(features.moving_mean.shape, 1000))  # the strongest responses become the weakest
    maps.gamma.assign(np.zeros(19))
    maps.beta.assign(np.linspace(1, 2, 19))
    for panel in fusion_pictures.response_panels(model, images):
        main, aligned, fused = (panel[:, start : start + 128].astype(int) for start in (128, 256, 384))
        np.testing.assert_allclose(fused, aligned, atol=8)  # a step of the colour map
        assert np.abs(main - aligned).max() > 20


def test_poses_are_drawn_for_a_size_that_the_pose_network_does_not_accept():
    model = build_model(dataclasses.replace(CONFIG, height=70, width=37))
    (panel,) = fusion_pictures.pose_panels(model, np.full([1, 70, 37, 3], 128, np.float32))
    assert panel.shape == (4 * 72, 4 * 4 * 40, 3)


def test_panels_are_of_one_size_and_fit_on_a_sheet(model, images):
    panels = fusion_pictures.response_panels(model, images)
    assert {panel.shape for panel in panels} == {(256, 4 * 128, 3)}
    sheet = fusion_pictures.sheet(panels, fusion_pictures.RESPONSE_CAPTIONS)
    assert sheet.shape == (28 + 2 * (256 + 12), 2 * (512 + 12), 3)
    np.testing.assert_array_equal(sheet[28 : 28 + 256, 524 : 524 + 512], panels[1])
    assert (sheet[28 + 256 + 12 :, 524:] == 255).all()  # with three panels the fourth position is empty


def test_a_bar_has_the_colour_of_its_side():
    def pixels_of(colour: str, weight: float) -> int:
        table = channel_names("both").assign(weight=0.5, spread=0.0)
        table.loc[0, "weight"] = weight
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return int((fusion_pictures.channel_weight_chart(table) == rgb).all(axis=-1).sum())

    assert pixels_of(fusion_pictures.UP, 0.8) > 500
    assert pixels_of(fusion_pictures.DOWN, 0.8) == 0
    assert pixels_of(fusion_pictures.DOWN, 0.2) > 500
    assert pixels_of(fusion_pictures.UP, 0.2) == 0


@pytest.mark.parametrize(("change", "shown"), [({}, True), ({"fuse": "pool5"}, False), ({"pose_maps": "none"}, False)])
def test_only_models_that_fuse_maps_have_responses(change, shown):
    assert fusion_pictures.has_responses(dataclasses.replace(CONFIG, **change)) == shown
