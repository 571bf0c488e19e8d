"""Records to batches with tf.data.

The records of a split are held in memory as they are on disk (Market-1501's training split takes 40 MB), so that an
epoch is a permutation of indices. The permutation and the augmentation of an epoch are functions of (seed, epoch), so
that a run that goes on from epoch k sees the batches that it would have seen had it never stopped.
"""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from lrdnn_base.addons import addons
from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import UNKNOWN
from lrdnn_tf.data import augment
from lrdnn_tf.data.dataset import Dataset, shard_paths
from lrdnn_tf.data.decode import decode_image, decode_pixels, resize_image
from lrdnn_tf.data.records import parse_examples

_READ = 1024  # records parsed at a time
_READY = 4  # batches prepared ahead; left to itself, TensorFlow holds gigabytes of them
_AT_ONCE = 8  # images that one call of a map prepares: the calls took as long as the augmentation
_JPEG = b"\xff\xd8\xff"  # how such a file begins


@dataclasses.dataclass(frozen=True)
class Records:
    """All records of a split, column by column, in record order.

    Attributes:
        images: string [n], original bytes of the image files.
        paths: n paths, relative to the raw dataset.
        identity, label, camera: int32 [n].
        attributes: int32 [n, tasks].
    """

    images: tf.Tensor
    paths: list[str]
    identity: np.ndarray
    label: np.ndarray
    camera: np.ndarray
    attributes: np.ndarray


def read_records(dataset: Dataset, split: str) -> Records:
    """Reads a split into memory.

    Raises:
        InputError: No such split, a missing, damaged or incomplete shard, a label outside of its range.
    """
    shards = zip(shard_paths(dataset, split), dataset.splits[split].shards, strict=True)
    parts = [part for path, shard in shards for part in _read_shard(path, shard.examples, len(dataset.attributes))]
    if not parts:
        raise InputError(f"{dataset.path}: the split {split!r} is empty; convert the dataset again")
    columns = {name: tf.concat([part[name] for part in parts], axis=0) for name in parts[0]}
    arrays = {name: columns[name].numpy().astype(np.int32) for name in ("identity", "label", "camera", "attributes")}
    records = Records(columns["image"], [path.decode() for path in columns["path"].numpy()], **arrays)
    _check_labels(dataset, split, records)
    return records


def training_batches(
    dataset: Dataset,
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
    """Shuffled, augmented batches of the training split, epoch after epoch without end.

    Every epoch holds the same number of full batches, examples // batch_size; what is left over is another part of
    the split in each epoch.

    Args:
        dataset: A converted dataset.
        height, width: Size of the network's input in pixels.
        batch_size: Examples in a batch.
        seed: Decides shuffling and augmentation, together with the epoch.
        first_epoch, first_step: Where to begin; the batches are those of a run from 0 at that step of that epoch.
        part: (index, count) of the worker that reads: of each batch it gets the index-th of count equal parts.
        images_per_identity: K of identity-balanced sampling: a batch holds batch_size / K identities with K images
            each, which repeat where somebody has fewer. 0 samples images instead.
        random_erasing: Probability that a part of an image is erased.
        cache_images: Decode once and keep the pixels in memory (320 MB for Market-1501); changes no number.

    Returns:
        Batches (images, labels): images float32 [batch_size, height, width, 3], RGB 0..255; labels a dict with
        int32 [batch_size] under "identity" and under the name of each attribute task, unknown = -1. A worker's are
        batch_size / count long.

    Raises:
        InputError: The split cannot be read, cannot fill a batch, or random erasing is not at hand.
    """
    records = read_records(dataset, "train")
    examples = len(records.paths)
    if not 0 < batch_size <= examples:
        raise InputError(f"batch_size={batch_size}: must be between 1 and the {examples} training images")
    length = examples // batch_size * batch_size
    own_size = batch_size // part[1]
    group = math.gcd(own_size, _AT_ONCE)
    names = ["identity", *(task.name for task in dataset.attributes)]
    labels = tf.constant(np.column_stack([records.label, records.attributes]))
    pixels_of = _cached_pixels(records) if cache_images else lambda index: decode_pixels(records.images[index])
    draw_order = (
        balanced_order(records.label, batch_size, images_per_identity)
        if images_per_identity
        else lambda order_seed: tf.random.experimental.stateless_shuffle(tf.range(examples), order_seed, alg="philox")
    )
    if random_erasing:
        addons("--random_erasing")  # fail before the first epoch, not inside the graph

    def epoch_order(epoch: tf.Tensor) -> tf.data.Dataset:
        order_seed, draws_seed = tf.unstack(tf.random.split([seed, epoch], alg="philox"))
        draws = tf.random.stateless_uniform([length, augment.DRAWS], draws_seed, alg="philox")
        places = tf.reshape(tf.range(length), [-1, batch_size])
        done = tf.where(epoch == first_epoch, first_step, 0)
        own = tf.reshape(places[done:, part[0] * own_size : (part[0] + 1) * own_size], [-1])
        own = tf.reshape(own, [-1, group])
        return tf.data.Dataset.from_tensor_slices((tf.gather(draw_order(order_seed), own), tf.gather(draws, own)))

    # Images of one size, as Market-1501's, are resized as a batch: resized one by one they would all be copied into
    # the batch afterwards, and by then they are many times larger.
    shape = _shared_shape(records.images)

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

    return (
        tf.data.Dataset.counter(first_epoch, dtype=tf.int32)
        .flat_map(epoch_order)
        .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(own_size // group, drop_remainder=True)
        .map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(_READY)
    )


def _shared_shape(images: tf.Tensor) -> tuple[int, int, int] | None:
    """(h, w, 3) when all of these files are JPEGs of one size, by their headers; None otherwise."""
    if not all(image.startswith(_JPEG) for image in images.numpy()):
        return None
    shapes = tf.map_fn(tf.image.extract_jpeg_shape, images, fn_output_signature=tf.int32).numpy()
    sizes = {(int(height), int(width), 3) for height, width, _ in shapes}
    return sizes.pop() if len(sizes) == 1 else None


def balanced_order(labels: np.ndarray, batch_size: int, images_per_identity: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """An epoch's order in which every batch holds few identities, with several images of each.

    Args:
        labels: int [examples], class indices.
        batch_size: Examples in a batch, a multiple of images_per_identity.
        images_per_identity: Images of an identity in a batch, all different unless it has fewer.

    Returns:
        Function from a seed, int [2], to indices int32 of at least as many examples as there are.

    Raises:
        InputError: The numbers do not divide, or there are too few identities for a batch.
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
    # Whole batches of different identities from each shuffle of them, as many shuffles as an epoch takes.
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


def _cached_pixels(records: Records) -> Callable[[tf.Tensor], tf.Tensor]:
    """Decodes every image once. Returns a function from a record number to its pixels, uint8 [h, w, 3]."""
    decoded = tf.data.Dataset.from_tensor_slices(records.images).map(
        decode_pixels, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    images = list(decoded.as_numpy_iterator())
    ends = np.cumsum([image.size for image in images])
    with tf.device("CPU"):  # constants would go to a GPU's memory
        flat = tf.constant(np.concatenate([image.ravel() for image in images]))
        shapes = tf.constant([image.shape for image in images])
        starts = tf.constant(np.concatenate([[0], ends[:-1]]))

    def pixels_of(index: tf.Tensor) -> tf.Tensor:
        shape = shapes[index]
        pixels = tf.slice(flat, [starts[index]], [tf.cast(tf.reduce_prod(shape), tf.int64)])
        return tf.ensure_shape(tf.reshape(pixels, shape), (None, None, 3))

    return pixels_of


def evaluation_batches(dataset: Dataset, split: str, height: int, width: int, batch_size: int) -> tf.data.Dataset:
    """Batches of float32 [batch_size, height, width, 3], RGB 0..255, in record order; the last one may be smaller."""
    return (
        tf.data.Dataset.from_tensor_slices(read_records(dataset, split).images)
        .map(lambda image: decode_image(image, height, width), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size)
        .prefetch(_READY)
    )


def read_labels(dataset: Dataset, split: str) -> pd.DataFrame:
    """Labels in record order: path, identity, label, camera and one integer column for each attribute task."""
    records = read_records(dataset, split)
    table = pd.DataFrame(
        {"path": records.paths, "identity": records.identity, "label": records.label, "camera": records.camera}
    )
    for column, task in enumerate(dataset.attributes):
        table[task.name] = records.attributes[:, column]
    return table


def read_images(dataset: Dataset, split: str, indices: Sequence[int]) -> list[bytes]:
    """The original bytes of the image files of these records, for pictures."""
    return list(tf.gather(read_records(dataset, split).images, np.asarray(indices, np.int64)).numpy())


def _read_shard(path: pathlib.Path, examples: int, tasks: int) -> Iterator[dict[str, tf.Tensor]]:
    read = 0
    try:
        for serialized in tf.data.TFRecordDataset(str(path)).batch(_READ):
            yield parse_examples(serialized, tasks)
            read += len(serialized)
    except tf.errors.OpError as error:
        number = _first_bad_record(path, tasks)
        raise InputError(f"{path}: record {number} is damaged; copy the dataset again or convert it again") from error
    if read != examples:
        raise InputError(f"{path}: {read} records, dataset.json says {examples}; copy or convert the dataset again")


def _first_bad_record(path: pathlib.Path, tasks: int) -> int:
    number = 0
    try:
        for serialized in tf.data.TFRecordDataset(str(path)):
            parse_examples(serialized[tf.newaxis], tasks)
            number += 1
    except tf.errors.OpError:
        return number
    return number


def _check_labels(dataset: Dataset, split: str, records: Records) -> None:
    """Class indices must fit the heads that dataset.json leads to: out of range they would be NaN or a crash later."""
    identities = len(dataset.identities) if split == "train" else 0
    checks = [("label", records.label, 0 if split == "train" else -1, identities)]
    for column, task in enumerate(dataset.attributes):
        checks.append((task.name, records.attributes[:, column], UNKNOWN, len(task.classes)))
    for name, values, low, high in checks:
        bad = np.flatnonzero((values < low) | (values >= high))
        if bad.size:
            where = f"{dataset.path}: split {split!r}, record {bad[0]} ({records.paths[bad[0]]})"
            raise InputError(f"{where}: {name} is {values[bad[0]]}, not in {low}..{high - 1}; convert it again")
