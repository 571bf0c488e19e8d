"""Converts COCO's person keypoints to TFRecords for pose pretraining: one record per image.

    python -m data_prep.coco --raw_dir=coco --out_dir=data/coco
    python -m data_prep.coco --images=some/folder --annotations=some/person_keypoints.json --out_dir=data/few

The first form expects train2017, val2017 and annotations/person_keypoints_{train,val}2017.json in raw_dir. The second
takes one folder and writes it as each --split, by default as both. Images without a person with keypoints are left
out, as in OpenPose (Cao et al., CVPR 2017). People without keypoints and crowds become a mask of pixels that the loss
ignores.
"""

# First, since it suppresses the start-up messages of TensorFlow, which the imports below bring.
from lrdnn_base import command  # isort: skip

import collections
import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags, logging
from pycocotools import mask as coco_mask

from data_prep import shards as shard_files
from data_prep.output import Output, command_line, count_table, list_all
from lrdnn_base.errors import InputError
from lrdnn_base.files import read_json
from lrdnn_base.options import option
from pose_pretrain import records
from pose_pretrain.skeleton import COCO_KEYPOINTS

NAME = "coco"
SPLITS = ("train", "val")
_PERSON_KEYS = ("id", "image_id", "iscrowd", "keypoints", "bbox", "area", "segmentation")


@dataclasses.dataclass(frozen=True)
class Input:
    """The raw dataset to read."""

    raw_dir: str | None = option(None, "Folder with train2017, val2017 and annotations.")
    images: str | None = option(None, "Folder of images, in place of --raw_dir.")
    annotations: str | None = option(None, "COCO person keypoints of --images.")
    split: str = option(",".join(SPLITS), "Splits that --images is written as, separated by a comma.")


class Scene(NamedTuple):
    """One image with its annotations: people with keypoints, and those that the loss ignores."""

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
    command: str = "",
    **options: Any,
) -> dict[str, Any]:
    """Writes a converted pose dataset. The same input gives the same shards, byte by byte.

    Args:
        sources: For each split the folder of images and the file of annotations.
        out_dir: Folder to create; must not exist.
        command: Recorded in dataset.json.
        options: The other fields of data_prep.output.Output.

    Returns:
        The `splits` of dataset.json.

    Raises:
        InputError: A file of annotations is not COCO person keypoints, no person in it has keypoints, out_dir exists or
            cannot be written, or images are missing or do not decode.
    """
    output = Output(out_dir, **options)
    scenes = {split: read_scenes(*source) for split, source in sources.items()}
    with shard_files.new_dataset(output.out_dir) as folder:
        written = {
            split: shard_files.write_split(folder, split, found, lambda scene: scene.path, encode_scene, output.shards)
            for split, found in scenes.items()
        }
        bad_images = [image for part in written.values() for image in part.bad_images]
        shard_files.check_bad_images(bad_images, output.skip_bad_images)
        splits = {}
        for split, part in written.items():
            people = sum(len(scene.people) for scene in part.items)
            splits[split] = {"examples": len(part.items), "people": people, "shards": part.shards}
        name = output.name or NAME
        shard_files.write_description(folder, "pose", name, splits=splits, skipped=bad_images, command=command)
    return splits


def read_scenes(images: str | os.PathLike, annotations: str | os.PathLike) -> list[Scene]:
    """The images with at least one person with keypoints, in the order of their ids.

    Args:
        images: Folder of the images.
        annotations: A person_keypoints_*.json.

    Raises:
        InputError: The file is not COCO person keypoints, or no person in it has keypoints.
    """
    images, path = pathlib.Path(images), pathlib.Path(annotations)
    content = read_json(path, "name a file of COCO person keypoints")
    if missing := [key for key in ("images", "annotations", "categories") if key not in content]:
        raise InputError(f"{path}: not COCO person keypoints, it has no {', '.join(missing)}")
    try:
        people_of = collections.defaultdict(list)
        for annotation in _person_annotations(content, path):
            people_of[annotation["image_id"]].append(annotation)
        unknown = sorted(set(people_of) - {image["id"] for image in content["images"]})
        scenes = [_scene(images, image, people_of[image["id"]]) for image in content["images"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not COCO person keypoints ({type(error).__name__}: {error})") from error
    if unknown:
        raise InputError(f"{path}: {list_all(unknown, 'image ids that only annotations have')}")
    scenes = sorted((scene for scene in scenes if scene.people), key=lambda scene: scene.image_id)
    if not scenes:
        raise InputError(f"{path}: no person in it has keypoints")
    if left_out := len(content["images"]) - len(scenes):
        logging.info("%s: left out %d images without a person with keypoints", path, left_out)
    return scenes


def encode_scene(scene: Scene, image: shard_files.ImageFile) -> bytes:
    """The serialized example of one image.

    Raises:
        data_prep.shards.BadImageError: The size of the image is not the one in its annotations.
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
        uint8 [height, width] of 0 and 1; None when there is nothing to ignore.
    """
    masks = [_run_lengths(found["segmentation"], height, width) for found in annotations if found["segmentation"]]
    if not masks:
        return None
    return coco_mask.decode(coco_mask.merge(masks))


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


def _sources(given: Input) -> dict[str, tuple[str | os.PathLike, str | os.PathLike]]:
    if bool(given.raw_dir) == bool(given.images or given.annotations):
        raise InputError("give either --raw_dir, or --images and --annotations")
    if given.raw_dir:
        return coco_folders(given.raw_dir)
    if not (given.images and given.annotations):
        raise InputError("--images and --annotations go together")
    splits = given.split.split(",")
    if unknown := set(splits) - set(SPLITS):
        raise InputError(f"--split={given.split}: {', '.join(sorted(unknown))} is not one of {', '.join(SPLITS)}")
    return dict.fromkeys(splits, (given.images, given.annotations))


def main() -> None:
    given, output = Input(**command.read_flags(Input)), Output(**command.read_flags(Output))
    values = {**vars(given), **vars(output), "name": output.name or NAME}
    if given.raw_dir:
        values["split"] = None
    print(count_table(convert(_sources(given), command=command_line("data_prep.coco", values), **vars(output))))


if __name__ == "__main__":
    command.define_flags(Input)
    command.define_flags(Output)
    flags.mark_flags_as_required(["out_dir"])
    command.run(main)
