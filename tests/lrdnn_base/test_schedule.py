import numpy as np
import pytest

from lrdnn_base.schedule import LearningRate

STEPS = 5


def rates(epochs=10, **options):
    rate = LearningRate(2e-3, STEPS, epochs, **{"decay": 0.96, **options})
    return np.array([float(rate(step)) for step in range(epochs * STEPS)])


def test_the_papers_rate_falls_by_a_factor_after_every_epoch():
    np.testing.assert_allclose(rates(), np.repeat(2e-3 * 0.96 ** np.arange(10), STEPS), rtol=1e-5)


def test_warm_up_rises_linearly_to_the_full_rate():
    warm = rates(warmup_epochs=2, decay=1.0)
    np.testing.assert_allclose(warm[:10], 2e-3 * np.arange(1, 11) / 10, rtol=1e-5)
    np.testing.assert_allclose(rates(warmup_epochs=2)[10:], rates()[10:], rtol=1e-6)


def test_cosine_falls_from_the_full_rate_to_zero():
    cosine = rates(schedule="cosine", warmup_epochs=2)
    assert cosine[9] == pytest.approx(2e-3, rel=1e-5)
    expected = 2e-3 * (1 + np.cos(np.pi * np.arange(40) / 40)) / 2
    np.testing.assert_allclose(cosine[10:], expected, rtol=1e-4, atol=1e-9)
    assert cosine[-1] < 1e-5


def test_a_schedule_is_restored_from_its_config():
    rate = LearningRate(1e-4, STEPS, epochs=3, schedule="cosine")
    again = LearningRate.from_config(rate.get_config())
    assert float(again(7)) == float(rate(7))
