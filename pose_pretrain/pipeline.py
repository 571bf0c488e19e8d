"""Records to batches. Training batches are a function of (seed, epoch, image): a resumed run gets the same ones."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import tensorflow as tf

from lrdnn_base.errors import InputError
from lrdnn_base.files import read_json
from pose_pretrain import augment, targets
from pose_pretrain.network import STRIDE
from pose_pretrain.records import decode_ignore_mask, parse_example
from pose_pretrain.skeleton import COCO_KEYPOINTS, KEYPOINTS

_WINDOW = 1024  # consecutive records that are shuffled together: about 160 MB of COCO
_PARALLEL_READS = 4
_FROM_COCO_AND_NECK = tuple((*COCO_KEYPOINTS, "neck").index(name) for name in KEYPOINTS)


@dataclasses.dataclass(frozen=True)
class PoseDataset:
    """A converted pose dataset: its folder, its name, and the entry of each split in dataset.json."""

    path: pathlib.Path
    name: str
    splits: dict[str, dict]

    def examples(self, split: str) -> int:
        """Returns the number of images of a split."""
        return self.splits[split]["examples"]

    def shards(self, split: str) -> list[str]:
        """Returns the paths of a split's TFRecord files, in order."""
        return [str(self.path / shard["file"]) for shard in self.splits[split]["shards"]]


def read_pose_dataset(data_dir: str | os.PathLike, needed: Sequence[str] = ("train", "val")) -> PoseDataset:
    """Reads dataset.json of a converted pose dataset.

    Args:
        data_dir: Folder of a pose dataset that data_prep.coco converted.
        needed: Names of the splits that must exist and contain people.

    Raises:
        InputError: data_dir is not such a dataset, or a needed split or one of its files is missing.
    """
    path = pathlib.Path(data_dir)
    remedy = "create a pose dataset with python -m data_prep.coco"
    stored = read_json(path / "dataset.json", remedy)
    try:
        kind, name, splits = stored["kind"], stored["name"], stored["splits"]
    except KeyError as error:
        raise InputError(f"{path / 'dataset.json'} has no entry {error}: {remedy}") from None
    if kind != "pose":
        raise InputError(f"{path} is a dataset of kind {kind!r}, not 'pose': {remedy}")
    dataset = PoseDataset(path, name, splits)
    for split in needed:
        if not splits.get(split, {}).get("people"):
            raise InputError(f"{path} has no people in split {split!r}: {remedy}, from images of people")
        for shard in dataset.shards(split):
            if not os.path.isfile(shard):
                raise InputError(f"{shard} is listed in dataset.json, but missing: convert the dataset again")
    return dataset


def default_sigma(height: int, width: int) -> float:
    """Returns sigma of the Gaussians in pixels: OpenPose's 7 at 368x368, scaled with the longer side, at least 6.

    6 is three quarters of a cell: narrower Gaussians fall between the centres of the cells. With 2.4 instead of 6 at
    128x128, the small network found 47 % of the keypoints instead of 80 %.
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
    """Builds batches of augmented crops with their target maps, epoch after epoch, without end.

    Each epoch has steps_per_epoch(...) batches; the remaining images of an epoch are dropped.

    Args:
        dataset: Dataset returned by read_pose_dataset; its "train" split is read.
        height, width: Size of the crops in pixels, multiples of 8.
        batch_size: Images per batch, or all images if the dataset has fewer.
        seed: Seed of shuffling and augmentation.
        first_epoch, first_step: The first batch; all batches from there on are those of a run that starts at 0, 0.
        part: Index of this worker and number of workers, each of which gets an equal part of every batch.
        sigma: Sigma of the Gaussians in pixels; None selects default_sigma.
        limb_width: Half the width of limbs in cells.
        rotation: Largest rotation of crops in either direction, in degrees.

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
    """Returns the number of batches per epoch of training_batches."""
    examples = dataset.examples("train")
    return examples // min(batch_size, examples)


def evaluation_people(dataset: PoseDataset, split: str, height: int, width: int, batch_size: int) -> tf.data.Dataset:
    """Builds batches of crops, one around the box of each labelled person of a split, in record order.

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
    """Converts keypoints like skeleton.from_coco, as TensorFlow ops: float32 [people, 17, 3] to [people, 18, 3]."""
    shoulders = tf.gather(keypoints, [COCO_KEYPOINTS.index(f"{side}_shoulder") for side in ("left", "right")], axis=1)
    visibility = tf.reduce_min(shoulders[..., 2:], axis=1)
    neck = tf.concat([tf.reduce_mean(shoulders[..., :2], axis=1), visibility], axis=-1)
    neck = tf.where(visibility > 0, neck, 0.0)
    return tf.gather(tf.concat([keypoints, neck[:, tf.newaxis]], axis=1), _FROM_COCO_AND_NECK, axis=1)


def _shuffled_records(shards: list[str], seed: tf.Tensor) -> tf.data.Dataset:
    """Reads the records of an epoch: shards in random order, interleaved, then shuffled window by window.

    The order of Dataset.shuffle would also depend on TensorFlow's global seed.
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
    """Returns the parsed record, its image float32 [h, w, 3], ignore mask [h, w, 1] and keypoints [people, 18, 3]."""
    example = parse_example(record)
    image = tf.io.decode_image(example["image"], channels=3, expand_animations=False)
    image = tf.ensure_shape(tf.cast(image, tf.float32), [None, None, 3])
    keypoints = with_neck(_without_invalid(example["keypoints"], tf.shape(image)[:2]))
    return example, image, decode_ignore_mask(example), keypoints


def _without_invalid(keypoints: tf.Tensor, image_size: tf.Tensor) -> tf.Tensor:
    """Marks keypoints outside the image, or with coordinates that are NaN, as unlabelled."""
    height, width = tf.unstack(tf.cast(image_size, tf.float32))
    x, y, v = tf.unstack(keypoints, axis=-1)
    inside = (x >= -1) & (x <= width) & (y >= -1) & (y <= height)  # annotators click on edges
    return tf.where((inside & (v > 0))[..., tf.newaxis], keypoints, 0.0)
