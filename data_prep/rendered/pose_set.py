"""The pose set: drawn scenes in COCO's layout, with person_keypoints_*.json.

Scenes show one to four people of all sizes, overlapping and cut by the border; about a third of the images are crops
of one person, as in the re-ID set. As in COCO, some scenes have a crowd (iscrowd 1, run-length mask), and some people
have a mask but no keypoints.
"""

import itertools
import json
import pathlib
from typing import NamedTuple

import cv2
import numpy as np

from data_prep.rendered.body import random_stance
from data_prep.rendered.cameras import CAMERAS, SCENE_HEIGHT, SCENE_WIDTH, Camera, pixels_per_metre
from data_prep.rendered.looks import random_look
from data_prep.rendered.occluders import OCCLUDERS
from data_prep.rendered.parallel import draw_all
from data_prep.rendered.people import build_figure
from data_prep.rendered.reid_set import Track, photograph
from data_prep.rendered.scenes import Thing, View, encode_jpeg, render
from pose_pretrain.skeleton import COCO_KEYPOINTS, to_coco

_ACTIONS, _ACTION_SHARES = ("walk", "stand", "carry", "gesture"), (0.45, 0.2, 0.1, 0.25)
_SCENE_SIZES = ((192, 192), (256, 192), (192, 256), (256, 256), (320, 256))
_BOX_SIZES = ((64, 128), (96, 192), (128, 256))
_BOX_SHARE, _CROWD_SHARE, _UNANNOTATED_SHARE = 0.35, 0.08, 0.08
_SMALLEST_AREA = 40  # pixels; smaller people have no keypoints, as in COCO
_SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9),
    (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
_INFO = {
    "info": {"description": "people drawn by data_prep.rendered", "version": "1.0"},
    "licenses": [],
    "categories": [
        {"id": 1, "name": "person", "supercategory": "person", "keypoints": COCO_KEYPOINTS, "skeleton": _SKELETON}
    ],
}


class Picture(NamedTuple):
    """One image to draw, which depends on these two numbers only."""

    image_id: int
    seed: int


def write_pose_set(out_dir: pathlib.Path, seed: int, train: int, val: int, workers: int | None = None) -> None:
    """Draws train2017 and val2017, numbered consecutively, into a new folder, and writes their annotations."""
    (out_dir / "annotations").mkdir(parents=True)
    splits = {"train2017": range(1, train + 1), "val2017": range(train + 1, train + val + 1)}
    pictures = [Picture(image_id, seed) for image_ids in splits.values() for image_id in image_ids]
    drawn = zip(pictures, draw_all(draw_picture, pictures, "pose images", workers), strict=True)
    for split, image_ids in splits.items():
        (out_dir / split).mkdir()
        images, annotations = [], []
        for picture, (jpeg, width, height, people) in itertools.islice(drawn, len(image_ids)):
            file_name = f"{picture.image_id:012d}.jpg"
            (out_dir / split / file_name).write_bytes(jpeg)
            images.append({"id": picture.image_id, "file_name": file_name, "width": width, "height": height})
            annotations += [
                {"id": picture.image_id * 100 + number, "image_id": picture.image_id, "category_id": 1, **person}
                for number, person in enumerate(people)
            ]
        content = _INFO | {"images": images, "annotations": annotations}
        (out_dir / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(content))


def draw_picture(picture: Picture) -> tuple[bytes, int, int, list[dict]]:
    """The JPEG file of a picture, its width and height, and its annotations without their ids."""
    rng = np.random.default_rng([picture.seed, 4, picture.image_id])
    number = int(rng.integers(len(CAMERAS)))
    camera = CAMERAS[number]
    if rng.random() < _BOX_SHARE:
        look = random_look(rng)
        track = Track(
            look=look,
            camera=number + 1,
            yaw=float(rng.uniform(0, 2 * np.pi)),
            action=str(rng.choice(_ACTIONS, p=_ACTION_SHARES)),
            x=float(rng.uniform(0.1, 0.9) * SCENE_WIDTH),
            y=float(camera.horizon + (SCENE_HEIGHT - camera.horizon) * rng.uniform(0.5, 0.98)),
        )
        size = _BOX_SIZES[rng.integers(len(_BOX_SIZES))]
        view, crowd = photograph(track, "good", picture.seed, size, rng), []
    else:
        view, crowd = _scene(camera, picture.seed, rng)
    people = [number for number in range(len(view.masks)) if number not in crowd]
    found = [_person(view.masks[n], view.keypoints[n], rng.random() < _UNANNOTATED_SHARE) for n in people]
    annotations = [annotation for annotation in found if annotation]
    if crowd and (mask := view.masks[crowd].any(axis=0)).any():
        annotations.append(_crowd(mask))
    height, width = view.image.shape[:2]
    return encode_jpeg(view.image, camera.quality), width, height, annotations


def _scene(camera: Camera, seed: int, rng: np.random.Generator) -> tuple[View, list[int]]:
    """A picture with several people, and the indices of those that form a crowd."""
    size = _SCENE_SIZES[rng.integers(len(_SCENE_SIZES))]
    y = camera.horizon + (SCENE_HEIGHT - camera.horizon) * rng.uniform(0.5, 0.97)
    x = rng.uniform(0.2, 0.8) * SCENE_WIDTH
    scale = pixels_per_metre(camera, y)
    tall = 1.65 * scale / rng.uniform(0.38, 0.95)  # rows of the scene in the picture
    wide = tall * size[0] / size[1]
    window = (x - wide * rng.uniform(0.15, 0.85), y - tall * rng.uniform(0.75, 1.03), wide, tall)
    things = [_random_person(rng, camera, x, y)]
    for _ in range(rng.integers(0, 4)):
        far = np.clip(y + rng.uniform(-0.9, 0.45) * scale, camera.horizon + 110, SCENE_HEIGHT + 40)
        things.append(_random_person(rng, camera, window[0] + wide * rng.uniform(-0.02, 1.02), far))
    if rng.random() < 0.25:
        aside = rng.uniform(-0.5, 0.5) * wide
        things.append(Thing(str(rng.choice(list(OCCLUDERS))), x + aside, y + rng.uniform(-0.3, 0.4) * scale))
    crowd = []
    if rng.random() < _CROWD_SHARE:
        far = camera.horizon + (y - camera.horizon) * 0.45
        middle = window[0] + wide * rng.uniform(0.2, 0.8)
        crowd = list(range(len(things), len(things) + 7))
        things += [
            _random_person(rng, camera, middle + rng.normal(0, 0.15) * wide, far + rng.normal(0, 4)) for _ in crowd
        ]
    return render(camera, seed, things, window, size, rng), crowd


def _random_person(rng: np.random.Generator, camera: Camera, x: float, y: float) -> Thing:
    look = random_look(rng)
    figure = build_figure(look, random_stance(rng, look, str(rng.choice(_ACTIONS, p=_ACTION_SHARES))))
    return Thing(figure.turned(rng.uniform(0, 2 * np.pi), camera.elevation + rng.normal(0, 0.05)), x, float(y))


def _person(mask: np.ndarray, keypoints: np.ndarray, without_keypoints: bool) -> dict | None:
    """The annotation of one person, None when there is no outline."""
    polygons = _polygons(mask)
    if not polygons:
        return None
    area = float(mask.sum())
    coco = np.round(to_coco(keypoints[None])[0], 1)
    if without_keypoints or area < _SMALLEST_AREA:
        coco = np.zeros_like(coco)
    return {
        "bbox": _box(mask),
        "area": area,
        "segmentation": polygons,
        "iscrowd": 0,
        "keypoints": [int(value) if index % 3 == 2 else value for index, value in enumerate(coco.ravel().tolist())],
        "num_keypoints": int((coco[:, 2] > 0).sum()),
    }


def _crowd(mask: np.ndarray) -> dict:
    return {
        "bbox": _box(mask),
        "area": float(mask.sum()),
        "segmentation": {"counts": run_lengths(mask), "size": list(mask.shape)},
        "iscrowd": 1,
        "keypoints": [0] * (3 * len(COCO_KEYPOINTS)),
        "num_keypoints": 0,
    }


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths of a bool mask [height, width]: column by column, starting with zeros."""
    values = mask.ravel(order="F")
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [len(values)]])).tolist()
    return [0, *counts] if values[0] else counts


def _polygons(mask: np.ndarray) -> list[list[float]]:
    """The outlines of a mask's connected components as x, y, x, y, ...; pixel i covers i to i + 1."""
    # Traced at twice the size: outlines pass through pixel centres, which would lose half a pixel on every side.
    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    shapes = [(cv2.approxPolyDP(contour, 0.8, True).reshape(-1, 2) + 0.5) / 2 for contour in contours]
    return [shape.ravel().tolist() for shape in shapes if len(shape) >= 3]


def _box(mask: np.ndarray) -> list[float]:
    """Left, top, width and height of a mask."""
    return list(map(float, cv2.boundingRect(mask.astype(np.uint8))))
