import pytest

from lrdnn_base.errors import InputError
from lrdnn_tf.config import ModelConfig, TrainingConfig


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schedule": "steps"}, "schedule='steps' is not one of decay, cosine"),
        ({"warmup_epochs": -1}, "warmup_epochs=-1"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"ema": 1.0}, "ema=1.0"),
        ({"triplet_weight": 1.0}, "--images_per_identity=4"),
    ],
)
def test_settings_out_of_range_are_named(options, words):
    with pytest.raises(InputError, match=words):
        TrainingConfig(epochs=1, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "large"}, "backbone='large' is not one of resnet50, mobilenet_v2, small"),
        ({"last_stride": 3}, "last_stride=3 is not one of 1, 2"),
        ({"bilinear_dim": 0}, "bilinear_dim=0 must be at least 1"),
        ({"identities": 0}, "identities=0 must be at least 1"),
    ],
)
def test_a_model_that_cannot_be_is_named(options, message):
    with pytest.raises(InputError, match=message):
        ModelConfig(**{"identities": 3} | options)
