"""BatchNorms adapted to the images of another dataset, without labels (AdaBN, Li et al., Pattern Recognition 2018)."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras as keras

from lrdnn_tf.data.split import Split


def adapt_batch_norms(model: keras.Model, split: Split, batch_size: int = 64, seed: int = 0) -> None:
    """Replaces the averages of every BatchNorm, those of nested models included, by those of other images.

    Each average is the mean over shuffled batches of what BatchNorm normalizes with in training. Nothing is trained.

    Args:
        model: Model returned by `lrdnn_tf.model.lrdnn.build_model`, which is changed.
        split: The images; their labels are not used.
        batch_size: Images at a time. A last batch with fewer images is left out, unless it is the only one.
        seed: Seed of the shuffle: records are sorted by person, and a batch of few people would vary too little.
    """
    layers = list(_batch_norms(model))
    momenta = [layer.momentum for layer in layers]
    order = np.random.default_rng(seed).permutation(len(split))
    kept = max(len(split) // batch_size * batch_size, min(len(split), batch_size))
    shuffled = dataclasses.replace(
        split, images=tf.gather(split.images, order[:kept]), labels=split.labels.iloc[order[:kept]]
    )
    _, height, width, _ = model.input_shape
    for number, images in enumerate(shuffled.batches(height, width, batch_size)):
        for layer in layers:
            layer.momentum = number / (number + 1)  # a cumulative mean; not in a graph, which would keep the first one
        model(images, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def _batch_norms(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _batch_norms(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            yield layer
