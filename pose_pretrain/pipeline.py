"""Records to batches. What training sees is a function of (seed, epoch, image): a run that goes on sees the same."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence

import tensorflow as tf

from lrdnn_base.errors import InputError
from pose_pretrain import augment, targets
from pose_pretrain.network import STRIDE
from pose_pretrain.records import decode_ignore_mask, parse_example
from pose_pretrain.skeleton import COCO_KEYPOINTS, KEYPOINTS

_WINDOW = 1024  # records shuffled together, as they lie on disk: about 160 MB of COCO
_PARALLEL_READS = 4
_FROM_COCO_AND_NECK = tuple((*COCO_KEYPOINTS, "neck").index(name) for name in KEYPOINTS)


@dataclasses.dataclass(frozen=True)
class PoseDataset:
    """A converted pose dataset: its folder, its name, and dataset.json's entry of each split."""

    path: pathlib.Path
    name: str
    splits: dict[str, dict]

    def examples(self, split: str) -> int:
        """Number of images in a split."""
        return self.splits[split]["examples"]

    def shards(self, split: str) -> list[str]:
        """Paths of a split's files, in order."""
        return [str(self.path / shard["file"]) for shard in self.splits[split]["shards"]]


def read_pose_dataset(data_dir: str | os.PathLike, needed: Sequence[str] = ("train", "val")) -> PoseDataset:
    """Reads dataset.json of a converted pose dataset.

    Args:
        data_dir: The folder.
        needed: Splits that must be there and have somebody in them.

    Raises:
        InputError: data_dir is not such a dataset, or a needed split, or a file of it, is missing.
    """
    path = pathlib.Path(data_dir)
    convert = "make one with python -m data_prep.coco"
    if not (path / "dataset.json").is_file():
        raise InputError(f"{path} is not a converted pose dataset (no dataset.json): {convert}")
    try:
        stored = json.loads((path / "dataset.json").read_text())
        kind, name, splits = stored["kind"], stored["name"], stored["splits"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path / 'dataset.json'} cannot be read ({error!r}): {convert}") from error
    if kind != "pose":
        raise InputError(f"{path} is a dataset of kind {kind!r}, not of poses: {convert}")
    dataset = PoseDataset(path, name, splits)
    for split in needed:
        if not splits.get(split, {}).get("people"):
            raise InputError(f"{path} has nobody in split {split!r}: {convert}, from images of people")
        for shard in dataset.shards(split):
            if not os.path.isfile(shard):
                raise InputError(f"{shard} is named in dataset.json and missing: convert the dataset again")
    return dataset


def default_sigma(height: int, width: int) -> float:
    """Sigma of the Gaussians in pixels: OpenPose's 7 at 368x368, in proportion to the longer side elsewhere.

    Not below 6, three quarters of a cell: narrower Gaussians fall between the centres of the cells. With 2.4 in
    place of 6 at 128x128 the small network found 47 % of the keypoints in place of 80 %.
    """
    return max(7 * max(height, width) / 368, 6.0)


def training_batches(
    dataset: PoseDataset,
    height: int,
    width: int,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    first_step: int = 0,
    part: tuple[int, int] = (0, 1),
    sigma: float | None = None,
    limb_width: float = 1.0,
    rotation: float = 40.0,
) -> tf.data.Dataset:
    """Batches of augmented crops with their target maps, epoch after epoch without end.

    Each epoch holds steps_per_epoch(...) batches; what is left over at its end is dropped.

    Args:
        dataset: Of read_pose_dataset; its "train" split is read.
        height, width: Size of the crops in pixels, multiples of 8.
        batch_size: Images per batch; all of them where the dataset has fewer.
        seed: Of shuffling and augmentation.
        first_epoch, first_step: Where to begin; the batches are those of a run from 0 at that step of that epoch.
        part: (index, count) of the worker that reads: of each batch it gets the index-th of count equal parts.
        sigma: Of the Gaussians in pixels; None is default_sigma.
        limb_width: Half the width of limbs in cells.
        rotation: The most that crops are turned either way, in degrees.

    Returns:
        Dataset of (images float32 [B, height, width, 3], 0..255, {"confidence": [B, h, w, 19],
        "affinity": [B, h, w, 38], "weight": [B, h, w, 1]}), h = height / 8, w = width / 8.
    """
    sigma = default_sigma(height, width) if sigma is None else sigma
    batch_size = min(batch_size, dataset.examples("train"))
    own_size = batch_size // part[1]

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        epoch_seed = tf.random.experimental.stateless_fold_in(tf.constant([seed, 0], tf.int64), epoch)
        done = tf.where(epoch == first_epoch, first_step, 0)
        batches = _shuffled_records(dataset.shards("train"), epoch_seed).batch(batch_size, drop_remainder=True)
        own = batches.skip(tf.cast(done, tf.int64)).map(
            lambda records: records[part[0] * own_size : (part[0] + 1) * own_size]
        )
        crops = own.unbatch().map(
            lambda record: _training_crop(record, epoch_seed, height, width, rotation), tf.data.AUTOTUNE
        )
        return crops.padded_batch(own_size, drop_remainder=True)

    def with_targets(images: tf.Tensor, ignored: tf.Tensor, keypoints: tf.Tensor):
        grid = (height // STRIDE, width // STRIDE)
        return images, {
            "confidence": targets.confidence_maps(keypoints, *grid, sigma),
            "affinity": targets.affinity_maps(keypoints, *grid, limb_width),
            "weight": targets.position_weights(ignored),
        }

    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
    return epochs.flat_map(epoch_batches).map(with_targets, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def steps_per_epoch(dataset: PoseDataset, batch_size: int) -> int:
    """Number of batches that training_batches gives per epoch."""
    examples = dataset.examples("train")
    return examples // min(batch_size, examples)


def evaluation_people(dataset: PoseDataset, split: str, height: int, width: int, batch_size: int) -> tf.data.Dataset:
    """One crop around the box of each labelled person of a split, in record order.

    Returns:
        Dataset of dicts: image float32 [B, height, width, 3] 0..255, warp float32 [B, 3, 3] (from the original
        image to the crop), image_id int64 [B], image_size int64 [B, 2] (height, width), keypoints float32
        [B, 18, 3] and box float32 [B, 4] in the original image, area float32 [B].
    """

    def people(record: tf.Tensor) -> tf.data.Dataset:
        example, image, _, keypoints = _decode(record)
        size = tf.stack([example["height"], example["width"]])

        def crop(person: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            warp = augment.person_warp(person["box"], size, height, width)
            cropped, _ = augment.warp_image(image, tf.zeros_like(image[..., :1]), warp, height, width)
            return person | {"image": cropped, "warp": warp, "image_id": example["image_id"], "image_size": size}

        each = {"keypoints": keypoints, "box": example["boxes"], "area": example["areas"]}
        return tf.data.Dataset.from_tensor_slices(each).map(crop)

    crops = tf.data.TFRecordDataset(dataset.shards(split)).flat_map(people)
    return crops.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def with_neck(keypoints: tf.Tensor) -> tf.Tensor:
    """skeleton.from_coco as TensorFlow ops: [people, 17, 3] to [people, 18, 3]."""
    shoulders = tf.gather(keypoints, [COCO_KEYPOINTS.index(f"{side}_shoulder") for side in ("left", "right")], axis=1)
    visibility = tf.reduce_min(shoulders[..., 2:], axis=1)
    neck = tf.concat([tf.reduce_mean(shoulders[..., :2], axis=1), visibility], axis=-1)
    neck = tf.where(visibility > 0, neck, 0.0)
    return tf.gather(tf.concat([keypoints, neck[:, tf.newaxis]], axis=1), _FROM_COCO_AND_NECK, axis=1)


def _shuffled_records(shards: list[str], seed: tf.Tensor) -> tf.data.Dataset:
    """The records of an epoch: shards in random order, several at a time, then shuffled window by window.

    Dataset.shuffle would do, but its order hangs on TensorFlow's global seed too.
    """
    shuffle = tf.random.experimental.stateless_shuffle

    def shuffle_window(number: tf.Tensor, records: tf.Tensor) -> tf.Tensor:
        return tf.gather(
            records, shuffle(tf.range(tf.size(records)), tf.random.experimental.stateless_fold_in(seed, number))
        )

    records = tf.data.TFRecordDataset(shuffle(tf.constant(shards), seed), num_parallel_reads=_PARALLEL_READS)
    return records.batch(_WINDOW).enumerate().map(shuffle_window).prefetch(1).unbatch()


def _training_crop(record: tf.Tensor, epoch_seed: tf.Tensor, height: int, width: int, rotation: float):
    example, image, ignored, keypoints = _decode(record)
    seed = tf.random.experimental.stateless_fold_in(epoch_seed, example["image_id"])
    warp, mirrored = augment.random_warp(seed, example["boxes"], tf.shape(image)[:2], height, width, rotation)
    image, ignored = augment.warp_image(image, ignored, warp, height, width)
    return image, ignored, augment.warp_keypoints(keypoints, warp, mirrored)


def _decode(record: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor, tf.Tensor]:
    """The parsed record, its image float32 [h, w, 3], its ignore mask [h, w, 1] and keypoints [people, 18, 3]."""
    example = parse_example(record)
    image = tf.io.decode_image(example["image"], channels=3, expand_animations=False)
    image = tf.ensure_shape(tf.cast(image, tf.float32), [None, None, 3])
    keypoints = with_neck(_without_impossible(example["keypoints"], tf.shape(image)[:2]))
    return example, image, decode_ignore_mask(example), keypoints


def _without_impossible(keypoints: tf.Tensor, image_size: tf.Tensor) -> tf.Tensor:
    """Keypoints labelled outside the image, or nowhere (NaN), become unlabelled: nobody can have seen them."""
    height, width = tf.unstack(tf.cast(image_size, tf.float32))
    x, y, v = tf.unstack(keypoints, axis=-1)
    inside = (x >= -1) & (x <= width) & (y >= -1) & (y <= height)  # a pixel of tolerance: annotators click on edges
    return tf.where((inside & (v > 0))[..., tf.newaxis], keypoints, 0.0)
