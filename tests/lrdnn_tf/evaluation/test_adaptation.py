import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from lrdnn_tf import runs
from lrdnn_tf.data.split import read_split
from lrdnn_tf.evaluation import results
from lrdnn_tf.evaluation.adaptation import adapt_batch_norms
from lrdnn_tf.evaluation.descriptors import describe
from lrdnn_tf.evaluation.results import Settings
from lrdnn_tf.model.lrdnn import POSE_BRANCH

SMALL = Settings(k1=5, k2=2)  # the gallery has 12 images


@pytest.fixture
def train(tiny_dataset):
    return read_split(tiny_dataset, "train")


def test_averages_become_those_of_the_images_and_weights_stay(trained_run, train):
    model, _ = runs.load_model(trained_run, "identity")
    kernels = [weight.numpy() for weight in model.trainable_weights]
    momentum = model.get_layer("stem_bn").momentum
    adapt_batch_norms(model, train, batch_size=24)  # all images are one batch
    convolved = keras.Model(model.input, model.get_layer("stem_conv").output)
    (images,) = train.batches(64, 32, 24)
    values = convolved(images).numpy()
    batch_norm = model.get_layer("stem_bn")
    np.testing.assert_allclose(batch_norm.moving_mean, values.mean((0, 1, 2)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(batch_norm.moving_variance, values.var((0, 1, 2)), rtol=1e-3)
    assert batch_norm.momentum == momentum
    for before, after in zip(kernels, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(before, after)


def test_averages_are_means_over_batches(trained_run, train):
    model, _ = runs.load_model(trained_run, "identity")
    adapt_batch_norms(model, train, batch_size=10, seed=3)  # two batches of 10; 4 of the 24 images are left out
    order = np.random.default_rng(3).permutation(24)
    convolved = keras.Model(model.input, model.get_layer("stem_conv").output)
    (images,) = train.batches(64, 32, 24)
    batches = [convolved(images.numpy()[order[start : start + 10]]).numpy() for start in (0, 10)]
    batch_norm = model.get_layer("stem_bn")
    for average, statistic in ((batch_norm.moving_mean, np.mean), (batch_norm.moving_variance, np.var)):
        expected = np.mean([statistic(values, (0, 1, 2)) for values in batches], axis=0)
        np.testing.assert_allclose(average, expected, rtol=1e-3, atol=1e-4)


def test_a_nested_pose_branch_is_adapted_too(trained_run, train):
    model, _ = runs.load_model(trained_run, "fusion")
    before = [weight.numpy() for weight in model.get_layer(POSE_BRANCH).non_trainable_weights]
    adapt_batch_norms(model, train, batch_size=8)
    after = model.get_layer(POSE_BRANCH).non_trainable_weights
    assert all(np.any(one != other) for one, other in zip(before, after, strict=True))


def test_an_adapted_evaluation_does_not_depend_on_the_stored_averages(
    trained_run, tiny_dataset, splits, tmp_path, monkeypatch
):
    shutil.copytree(trained_run / "identity", tmp_path / "identity")
    model, _ = runs.load_model(trained_run, "identity")
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign_add(tf.random.stateless_normal(layer.moving_mean.shape, [0, 1]))
    model.save_weights(tmp_path / "identity" / "model.weights.h5")
    described = []
    monkeypatch.setattr(results, "describe", lambda *args: described.append(describe(*args)) or described[-1])

    def query_embeddings(adapt):
        described.clear()
        for run_dir in (trained_run, tmp_path):
            settings = dataclasses.replace(SMALL, adapt_batch_norm=adapt)
            results.evaluate_phase(run_dir, "identity", tiny_dataset, *splits, settings=settings)
        return [descriptions.embeddings for descriptions in described[::2]]

    given, changed = query_embeddings(adapt=False)
    assert not np.allclose(given, changed, rtol=0.01)
    given, changed = query_embeddings(adapt=True)
    np.testing.assert_array_equal(given, changed)
