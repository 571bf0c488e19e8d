"""Converts COCO's person keypoints to TFRecords for pose pretraining: one record an image, its people inside.

    python -m data_prep.coco --raw_dir=coco --out_dir=data/coco
    python -m data_prep.coco --images=some/folder --annotations=some/person_keypoints.json --out_dir=data/few

The first form expects train2017, val2017 and annotations/person_keypoints_{train,val}2017.json in raw_dir. The second
takes one folder and writes it as each --split, by default as both. Images without a single person with keypoints are
left out, as in OpenPose (Cao et al., CVPR 2017). People without keypoints and crowds become a mask, where the loss has
no say.
"""

# First, so that TensorFlow's start-up notes stay off the screen.
from lrdnn_base import command  # isort: skip

import collections
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags, logging
from pycocotools import mask as coco_mask

from data_prep import reid
from data_prep import shards as shard_files
from lrdnn_base.errors import InputError
from pose_pretrain import records
from pose_pretrain.skeleton import COCO_KEYPOINTS

NAME = "coco"
SPLITS = ("train", "val")
_PERSON_KEYS = ("id", "image_id", "iscrowd", "keypoints", "bbox", "area", "segmentation")


class Scene(NamedTuple):
    """One image with its annotations: people with keypoints, and those whom the loss must leave alone."""

    path: pathlib.Path
    image_id: int
    height: int
    width: int
    people: list[dict[str, Any]]
    ignored: list[dict[str, Any]]


def coco_folders(raw_dir: str | os.PathLike) -> dict[str, tuple[pathlib.Path, pathlib.Path]]:
    """For each split the folder of images and the file of annotations, named as COCO 2017 is distributed."""
    raw_dir = pathlib.Path(raw_dir)
    return {
        split: (raw_dir / f"{split}2017", raw_dir / "annotations" / f"person_keypoints_{split}2017.json")
        for split in SPLITS
    }


def convert(
    sources: Mapping[str, tuple[str | os.PathLike, str | os.PathLike]],
    out_dir: str | os.PathLike,
    name: str = NAME,
    shards: int = 4,
    skip_bad_images: bool = False,
    command: str = "",
) -> dict[str, Any]:
    """Writes a converted pose dataset. The same input gives the same shards, byte by byte.

    Args:
        sources: For each split the folder of images and the file of annotations.
        out_dir: Folder to make; must not exist.
        name: Name of the dataset.
        shards: TFRecord files per split.
        skip_bad_images: Whether to leave out images that are missing or do not decode, and list them in dataset.json.
        command: Recorded in dataset.json.

    Returns:
        The `splits` of dataset.json.

    Raises:
        InputError: A file of annotations is not COCO person keypoints, nobody in it has keypoints, out_dir exists or
            cannot be written, or images are missing or do not decode.
    """
    scenes = {split: read_scenes(*source) for split, source in sources.items()}
    with shard_files.new_dataset(out_dir) as folder:
        written = {
            split: shard_files.write_split(folder, split, found, lambda scene: scene.path, encode_scene, shards)
            for split, found in scenes.items()
        }
        bad_images = [image for part in written.values() for image in part.bad_images]
        shard_files.check_bad_images(bad_images, skip_bad_images)
        splits = {
            split: {
                "examples": len(part.items),
                "people": sum(len(scene.people) for scene in part.items),
                "shards": part.shards,
            }
            for split, part in written.items()
        }
        shard_files.write_description(folder, "pose", name, splits=splits, skipped=bad_images, command=command)
    return splits


def read_scenes(images: str | os.PathLike, annotations: str | os.PathLike) -> list[Scene]:
    """The images that show at least one person with keypoints, in the order of their ids.

    Args:
        images: Folder of the images.
        annotations: A person_keypoints_*.json.

    Raises:
        InputError: The file is not COCO person keypoints, or nobody in it has any.
    """
    images, path = pathlib.Path(images), pathlib.Path(annotations)
    content = _read_json(path)
    try:
        people_of = collections.defaultdict(list)
        for annotation in _person_annotations(content, path):
            people_of[annotation["image_id"]].append(annotation)
        unknown = sorted(set(people_of) - {image["id"] for image in content["images"]})
        scenes = [_scene(images, image, people_of[image["id"]]) for image in content["images"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not COCO person keypoints ({type(error).__name__}: {error})") from error
    if unknown:
        raise InputError(f"{path}: {shard_files.list_all(unknown, 'image ids that only annotations have')}")
    scenes = sorted((scene for scene in scenes if scene.people), key=lambda scene: scene.image_id)
    if not scenes:
        raise InputError(f"{path}: nobody in it has keypoints")
    if left_out := len(content["images"]) - len(scenes):
        logging.info("%s: left out %d images without a person with keypoints", path, left_out)
    return scenes


def encode_scene(scene: Scene, image: shard_files.ImageFile) -> bytes:
    """The serialized example of one image.

    Raises:
        data_prep.shards.BadImageError: The image is not of the size that its annotations are for.
    """
    height, width = image.height, image.width
    if (height, width) != (scene.height, scene.width):
        raise shard_files.BadImageError(
            f"{scene.path} ({width}x{height} pixels, its annotations say {scene.width}x{scene.height})"
        )
    return records.encode_example(
        image.content,
        scene.image_id,
        height,
        width,
        keypoints=np.array([person["keypoints"] for person in scene.people], np.float32).reshape(-1, 17, 3),
        boxes=np.array([person["bbox"] for person in scene.people], np.float32),
        areas=np.array([person["area"] for person in scene.people], np.float32),
        ignore_mask=ignore_mask(scene.ignored, height, width),
    )


def ignore_mask(annotations: Sequence[Mapping[str, Any]], height: int, width: int) -> np.ndarray | None:
    """The union of the annotations' masks.

    Args:
        annotations: COCO annotations, `segmentation` being polygons or run lengths, plain or compressed.
        height, width: Size of the image.

    Returns:
        uint8 [height, width] of 0 and 1; None where there is nothing to ignore.
    """
    masks = [_run_lengths(found["segmentation"], height, width) for found in annotations if found["segmentation"]]
    if not masks:
        return None
    return coco_mask.decode(coco_mask.merge(masks))


def table(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """The counts of a converted dataset as text for people."""
    lines = [f"{'':10}{'images':>14}{'people':>14}"]
    lines += [f"{split:10}{counts['examples']:>14,}{counts['people']:>14,}" for split, counts in splits.items()]
    return "\n".join(lines)


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not COCO person keypoints, it holds a {type(content).__name__}")
    if missing := [key for key in ("images", "annotations", "categories") if key not in content]:
        raise InputError(f"{path}: not COCO person keypoints, it has no {', '.join(missing)}")
    return content


def _person_annotations(content: dict[str, Any], path: pathlib.Path) -> list[dict[str, Any]]:
    person_ids = {category["id"] for category in content["categories"] if category["name"] == "person"}
    people = [annotation for annotation in content["annotations"] if annotation["category_id"] in person_ids]
    for person in people:
        if missing := [key for key in _PERSON_KEYS if key not in person]:
            raise InputError(f"{path}: annotation {person.get('id')} has no {', '.join(missing)}")
        if len(person["keypoints"]) != 3 * len(COCO_KEYPOINTS):
            raise InputError(f"{path}: annotation {person['id']} does not have {len(COCO_KEYPOINTS)} keypoints")
    return people


def _scene(images: pathlib.Path, image: dict[str, Any], annotations: list[dict[str, Any]]) -> Scene:
    people, ignored = [], []
    for annotation in annotations:
        labelled = not annotation["iscrowd"] and any(annotation["keypoints"][2::3])
        (people if labelled else ignored).append(annotation)
    return Scene(images / image["file_name"], image["id"], image["height"], image["width"], people, ignored)


def _run_lengths(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """A segmentation in any of COCO's three forms as one compressed run-length mask."""
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


def main() -> None:
    args = flags.FLAGS
    if bool(args.raw_dir) == bool(args.images or args.annotations):
        raise InputError("give either --raw_dir, or --images and --annotations")
    if not args.raw_dir and not (args.images and args.annotations):
        raise InputError("--images and --annotations go together")
    few = dict.fromkeys(args.split, (args.images, args.annotations))
    sources = coco_folders(args.raw_dir) if args.raw_dir else few
    command = reid.command_line(
        "data_prep.coco",
        raw_dir=args.raw_dir,
        images=args.images,
        annotations=args.annotations,
        split=",".join(sources) if args.images else None,
        out_dir=args.out_dir,
        name=args.name,
        shards=args.shards,
        skip_bad_images=args.skip_bad_images,
    )
    print(table(convert(sources, args.out_dir, args.name, args.shards, args.skip_bad_images, command)))


if __name__ == "__main__":
    flags.DEFINE_string("raw_dir", None, "folder with train2017, val2017 and annotations")
    flags.DEFINE_string("images", None, "folder of images, in place of raw_dir")
    flags.DEFINE_string("annotations", None, "COCO person keypoints of --images")
    flags.DEFINE_list("split", list(SPLITS), "which splits --images is written as")
    flags.register_validator("split", set(SPLITS).issuperset, "must be train, val or both")
    flags.DEFINE_string("out_dir", None, "folder to make; must not exist", required=True)
    flags.DEFINE_string("name", NAME, "name of the dataset")
    flags.DEFINE_integer("shards", 4, "TFRecord files per split", lower_bound=1)
    flags.DEFINE_bool("skip_bad_images", False, "leave out images that do not decode, and list them in dataset.json")
    command.run(main)
