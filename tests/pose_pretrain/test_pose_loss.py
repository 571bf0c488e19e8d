import numpy as np
import tf_keras as keras

from pose_pretrain.loss import map_loss, weighted_targets


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    target, predicted = rng.normal(size=(2, 3, 4, 5, 7)).astype(np.float32)
    weights = rng.integers(0, 2, (3, 4, 5, 1)).astype(np.float32)
    return target, predicted, weights


def test_map_loss_is_equation_3():
    target, predicted, weights = arrays()
    expected = np.zeros(3)
    for image in range(3):
        for i in range(4):
            for j in range(5):
                for k in range(7):
                    expected[image] += (
                        weights[image, i, j, 0] * (predicted[image, i, j, k] - target[image, i, j, k]) ** 2
                    )
    np.testing.assert_allclose(map_loss(weighted_targets(target, weights), predicted), expected, rtol=1e-5)


def test_positions_without_weight_do_not_count():
    target, predicted, weights = arrays()
    changed = predicted + 100 * (1 - weights)
    np.testing.assert_array_equal(
        map_loss(weighted_targets(target, weights), predicted), map_loss(weighted_targets(target, weights), changed)
    )


def test_keras_averages_over_the_batch():
    target, predicted, weights = arrays()
    model = keras.Sequential([keras.layers.Activation("linear", input_shape=(4, 5, 7))])
    model.compile(loss=map_loss)
    loss = model.evaluate(predicted, weighted_targets(target, weights), batch_size=3, verbose=0)
    np.testing.assert_allclose(loss, np.mean(map_loss(weighted_targets(target, weights), predicted)), rtol=1e-5)
