import numpy as np
import pytest
import tensorflow as tf

from lrdnn_tf.training.losses import KnownAccuracy, known_cross_entropy, loss_weights, triplet_loss

LOGITS = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [5.0, 0.0, 0.0]], np.float32)


def test_loss_is_the_negative_log_of_the_softmax():
    probabilities = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    expected = -np.log(probabilities[[0, 1, 2], [0, 2, 1]])
    np.testing.assert_allclose(known_cross_entropy(np.array([0, 2, 1]), LOGITS), expected, rtol=1e-5)


def test_unknown_labels_take_no_part_in_loss_gradient_or_accuracy():
    labels, logits = np.array([0, -1, 1]), tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = known_cross_entropy(labels, logits)
    assert losses[1] == 0
    gradient = tape.gradient(losses, logits).numpy()
    assert not gradient[1].any()
    assert gradient[0].any()
    accuracy = KnownAccuracy()
    accuracy.update_state(labels, LOGITS)
    assert float(accuracy.result()) == pytest.approx(0.5)


def test_half_precision_logits_do_not_overflow():
    losses = known_cross_entropy(np.array([1]), tf.constant([[6e4, -6e4]], tf.float16))
    assert losses.dtype == tf.float32
    assert np.isfinite(losses).all()


def test_attribute_tasks_share_one_weight():
    weights = loss_weights(["identity", "hat", "hair"], 0.5, "identity")
    assert weights == {"identity": 1.0, "hat": 0.25, "hair": 0.25}
    assert loss_weights(["identity"], 1.0, "identity") == {"identity": 1.0}


def test_smoothing_spreads_a_share_of_the_label():
    logits = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    labels = np.array([0, 3, 4, 1])
    targets = 0.9 * np.eye(5)[labels] + 0.1 / 5
    expected = -(targets * np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))).sum(axis=1)
    np.testing.assert_allclose(known_cross_entropy(labels, logits, 0.1), expected, rtol=1e-5)
    assert known_cross_entropy(np.array([-1]), logits[:1], 0.1).numpy() == [0]


@pytest.mark.usefixtures("needs_addons")
def test_triplet_loss_compares_the_furthest_positive_with_the_nearest_negative():
    """Descriptors are scaled to unit length first."""
    embeddings = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    identities = np.repeat([7, 8, 9, 10], 2)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    distances = np.linalg.norm(unit[:, None] - unit[None], axis=-1)
    same = identities[:, None] == identities
    furthest = np.where(same, distances, -np.inf).max(axis=1)
    nearest = np.where(same, np.inf, distances).min(axis=1)
    expected = np.maximum(furthest - nearest + 0.3, 0).mean()
    for labels in (identities, identities[:, None]):
        assert float(triplet_loss(labels, 5 * embeddings, 0.3)) == pytest.approx(expected, rel=1e-4)
