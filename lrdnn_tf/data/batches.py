"""Training batches with tf.data.

An epoch is a permutation of the records in memory. The permutation and the augmentation of an epoch are functions of
(seed, epoch), so that a run that resumes from epoch k sees the same batches as one that was never interrupted.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from lrdnn_base.addons import addons
from lrdnn_base.errors import InputError
from lrdnn_tf.data import augment
from lrdnn_tf.data.decode import decode_pixels, resize_image
from lrdnn_tf.data.split import PREFETCHED_BATCHES, Split

_IMAGES_PER_CALL = 8  # with one image per call of a map, the calls take as long as the augmentation
_JPEG = b"\xff\xd8\xff"  # the first bytes of a JPEG file


def training_batches(
    split: Split,
    height: int,
    width: int,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    first_step: int = 0,
    part: tuple[int, int] = (0, 1),
    *,
    images_per_identity: int = 0,
    random_erasing: float = 0.0,
    cache_images: bool = False,
) -> tf.data.Dataset:
    """Shuffled, augmented batches of a split, epoch after epoch without end.

    Every epoch holds the same number of full batches, examples // batch_size; the examples that are left over differ
    from epoch to epoch.

    Args:
        split: The training split.
        height, width: Size of the network's input in pixels.
        batch_size: Examples in a batch.
        seed: Decides shuffling and augmentation, together with the epoch.
        first_epoch, first_step: Where to start; the batches are those of a run from 0 at that step of that epoch.
        part: (index, count) of the worker that reads: of each batch it gets the index-th of count equal parts.
        images_per_identity: K of identity-balanced sampling: a batch holds batch_size / K identities with K images
            each, which repeat for an identity that has fewer. 0 samples images instead.
        random_erasing: Probability that a rectangle of an image is erased.
        cache_images: Decode once and keep the pixels in memory (320 MB for Market-1501); changes no number.

    Returns:
        Batches (images, labels): images float32 [batch_size, height, width, 3], RGB 0..255; labels a dict with
        int32 [batch_size] under "identity" and under the name of each attribute task, unknown = -1. A worker's are
        batch_size / count long.

    Raises:
        InputError: The split cannot fill a batch, or random erasing needs TensorFlow Addons, which is not installed.
    """
    examples = len(split)
    if not 0 < batch_size <= examples:
        raise InputError(f"batch_size={batch_size}: must be between 1 and the {examples} training images")
    if random_erasing:
        addons("--random_erasing")  # fails before the first epoch, not inside the graph
    length = examples // batch_size * batch_size
    own_size = batch_size // part[1]
    group = math.gcd(own_size, _IMAGES_PER_CALL)
    draw_order = _order(split, batch_size, images_per_identity)
    load, finish = _loading(split, height, width, own_size, group, random_erasing, cache_images)

    def epoch_order(epoch: tf.Tensor) -> tf.data.Dataset:
        order_seed, draws_seed = tf.unstack(tf.random.split([seed, epoch], alg="philox"))
        draws = tf.random.stateless_uniform([length, augment.DRAWS], draws_seed, alg="philox")
        steps = tf.reshape(tf.range(length), [-1, batch_size])
        done = tf.where(epoch == first_epoch, first_step, 0)
        own = tf.reshape(steps[done:, part[0] * own_size : (part[0] + 1) * own_size], [-1, group])
        return tf.data.Dataset.from_tensor_slices((tf.gather(draw_order(order_seed), own), tf.gather(draws, own)))

    return (
        tf.data.Dataset.counter(first_epoch, dtype=tf.int32)
        .flat_map(epoch_order)
        .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(own_size // group, drop_remainder=True)
        .map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(PREFETCHED_BATCHES)
    )


def _loading(
    split: Split, height: int, width: int, own_size: int, group: int, random_erasing: float, cache_images: bool
) -> tuple[Callable, Callable]:
    """Two functions of a pipeline: from `group` records to augmented images, and from all groups to a batch."""
    names = ["identity", *split.tasks]
    labels = tf.constant(split.labels[["label", *split.tasks]].to_numpy(np.int32))  # class indices
    pixels_of = _cached_pixels(split) if cache_images else lambda index: decode_pixels(split.images[index])
    # Images of one size, as Market-1501's, are resized as a batch. Resized one by one, they would all be copied into
    # the batch afterwards, when they are many times larger.
    shape = _shared_shape(split.images)

    def load_one(index: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        pixels = tf.ensure_shape(pixels_of(index), shape or (None, None, 3))
        pixels = augment.flip_and_crop(pixels, draws[: augment.FLIP_AND_CROP_DRAWS])
        return pixels if shape else resize_image(pixels, height, width)

    def load(indices: tf.Tensor, draws: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return tf.stack([load_one(indices[i], draws[i]) for i in range(group)]), indices, draws

    def finish(*groups: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        images, indices, draws = (tf.reshape(each, [own_size, *each.shape[2:]]) for each in groups)
        if shape:
            images = resize_image(images, height, width)
        if random_erasing:
            images = augment.random_erase(images, draws[:, augment.FLIP_AND_CROP_DRAWS :], random_erasing)
        return images, dict(zip(names, tf.unstack(tf.gather(labels, indices), axis=1), strict=True))

    return load, finish


def _shared_shape(images: tf.Tensor) -> tuple[int, int, int] | None:
    """(h, w, 3) when all of these files are JPEGs of one size, by their headers; None otherwise."""
    if not all(image.startswith(_JPEG) for image in images.numpy()):
        return None
    shapes = tf.map_fn(tf.image.extract_jpeg_shape, images, fn_output_signature=tf.int32).numpy()
    sizes = {(int(height), int(width), 3) for height, width, _ in shapes}
    return sizes.pop() if len(sizes) == 1 else None


def _order(split: Split, batch_size: int, images_per_identity: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Function from a seed, int [2], to the order of an epoch, int32 record numbers."""
    if images_per_identity:
        return balanced_order(split.labels["label"].to_numpy(), batch_size, images_per_identity)
    return lambda seed: tf.random.experimental.stateless_shuffle(tf.range(len(split)), seed, alg="philox")


def balanced_order(labels: np.ndarray, batch_size: int, images_per_identity: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """An epoch's order in which every batch holds few identities, with several images of each.

    Args:
        labels: int [examples], class indices.
        batch_size: Examples in a batch, a multiple of images_per_identity.
        images_per_identity: Images of an identity in a batch, all different unless it has fewer.

    Returns:
        Function from a seed, int [2], to indices, int32, at least as many as there are examples.

    Raises:
        InputError: The batch size is not a multiple of images_per_identity, or there are too few identities.
    """
    identities, counts = np.unique(labels, return_counts=True)
    in_batch = batch_size // images_per_identity
    if batch_size % images_per_identity or in_batch > len(identities):
        raise InputError(
            f"--images_per_identity={images_per_identity}: --batch_size={batch_size} must be a multiple of it, and "
            f"their quotient at most the {len(identities)} training identities"
        )
    by_identity = np.full([len(identities), max(counts.max(), images_per_identity)], -1, np.int32)
    for row, identity in enumerate(identities):
        by_identity[row, : counts[row]] = np.flatnonzero(labels == identity)
    # Each shuffle of the identities gives full batches only; an epoch takes as many shuffles as it needs.
    from_shuffle = len(identities) // in_batch * in_batch
    shuffles = -(-len(labels) // (from_shuffle * images_per_identity))

    def order(seed: tf.Tensor) -> tf.Tensor:
        shuffle_seed, pick_seed = tf.unstack(tf.random.split(seed, alg="philox"))
        keys = tf.random.stateless_uniform([shuffles, len(identities)], shuffle_seed, alg="philox")
        people = tf.reshape(tf.argsort(keys, axis=1)[:, :from_shuffle], [-1])
        images = tf.gather(by_identity, people)
        keys = tf.random.stateless_uniform(tf.shape(images), pick_seed, alg="philox")
        shuffled = tf.gather(images, tf.argsort(tf.where(images < 0, 2.0, keys), axis=1), batch_dims=1)
        column = tf.range(images_per_identity) % tf.gather(counts.astype(np.int32), people)[:, tf.newaxis]
        return tf.reshape(tf.gather(shuffled, column, batch_dims=1), [-1])

    return order


def _cached_pixels(split: Split) -> Callable[[tf.Tensor], tf.Tensor]:
    """Decodes every image once. Returns a function from a record number to its pixels, uint8 [h, w, 3]."""
    decoded = tf.data.Dataset.from_tensor_slices(split.images).map(
        decode_pixels, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    images = list(decoded.as_numpy_iterator())
    ends = np.cumsum([image.size for image in images])
    with tf.device("CPU"):  # constants would be placed in a GPU's memory
        flat = tf.constant(np.concatenate([image.ravel() for image in images]))
        shapes = tf.constant([image.shape for image in images])
        starts = tf.constant(np.concatenate([[0], ends[:-1]]))

    def pixels_of(index: tf.Tensor) -> tf.Tensor:
        shape = shapes[index]
        pixels = tf.slice(flat, [starts[index]], [tf.cast(tf.reduce_prod(shape), tf.int64)])
        return tf.ensure_shape(tf.reshape(pixels, shape), (None, None, 3))

    return pixels_of
