"""The re-ID set: drawn people in Market-1501's folder layout, with their attributes in market_attribute.mat.

As in Market-1501, training and test identities are disjoint; every test identity has one query in each camera that
sees it; -1 is junk (bad boxes) and 0000 a distractor (other people, bad boxes).
"""

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.io

from data_prep.market1501 import LABEL_FIELDS, TASKS
from data_prep.rendered.body import random_stance
from data_prep.rendered.cameras import CAMERAS, SCENE_HEIGHT, SCENE_WIDTH, Camera, pixels_per_metre
from data_prep.rendered.looks import Look, random_look, random_looks
from data_prep.rendered.occluders import OCCLUDERS
from data_prep.rendered.parallel import draw_all
from data_prep.rendered.people import build_figure
from data_prep.rendered.scenes import Thing, View, encode_jpeg, render
from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import AttributeTask
from lrdnn_tf.data.dataset import DISTRACTOR, JUNK

WIDTH, HEIGHT = 64, 128
_MOST_IDENTITIES = 9999
_JUNK_SHARE, _DISTRACTOR_SHARE = 0.10, 0.10  # of the test images


class Track(NamedTuple):
    """One person passing one camera."""

    look: Look
    camera: int  # 1-based
    yaw: float
    action: str
    x: float  # scene pixel of the feet
    y: float


class Shot(NamedTuple):
    """One image file: a moment of a track. The drawing depends on nothing else."""

    path: str  # relative to the dataset
    track: Track
    box: str  # "good", "bad" (a fragment of the person) or "empty" (no person)
    scene_seed: int
    seed: tuple[int, ...]


class Plan(NamedTuple):
    """The identities of the set, and every image to draw."""

    train: dict[int, Look]  # by identity
    test: dict[int, Look]
    shots: list[Shot]


def plan_reid_set(seed: int, train_identities: int, test_identities: int, images_per_identity: int) -> Plan:
    """Chooses people, cameras and moments at random; see data_prep.rendered.dataset.Options for the sizes.

    Raises:
        InputError: There are more identities than file names can number.
    """
    if train_identities + test_identities > _MOST_IDENTITIES:
        raise InputError(
            f"--train_identities and --test_identities: {_MOST_IDENTITIES} together at most (names have four digits)"
        )
    rng = np.random.default_rng([seed, 1])
    looks = random_looks(rng, train_identities) + random_looks(rng, test_identities)
    numbers = rng.permutation(len(looks)) + 1
    cast = dict(zip(numbers.tolist(), looks, strict=True))
    train = {number: cast[number] for number in sorted(numbers[:train_identities].tolist())}
    test = {number: cast[number] for number in sorted(numbers[train_identities:].tolist())}
    clock, shots = _Clock(), []
    for people, split in ((train, "bounding_box_train"), (test, "bounding_box_test")):
        for identity, look in people.items():
            for camera, count in _appearances(rng, images_per_identity):
                track = walk_past(rng, look, camera)
                for number in range(count):
                    folder = "query" if split == "bounding_box_test" and number == 0 else split
                    path = f"{folder}/{clock.name(identity, camera, 0 if folder == 'query' else number)}"
                    shots.append(Shot(path, track, "good", seed, (seed, 3, len(shots))))
    others = test_identities * images_per_identity
    for identity, count in ((JUNK, round(_JUNK_SHARE * others)), (DISTRACTOR, round(_DISTRACTOR_SHARE * others))):
        for number in range(count):
            known = identity == JUNK
            look = test[int(rng.choice(list(test)))] if known else random_look(rng)
            box = str(rng.choice(("bad", "empty"))) if known or number % 5 == 0 else "good"
            track = walk_past(rng, look, int(rng.integers(len(CAMERAS))) + 1)
            path = f"bounding_box_test/{clock.name(identity, track.camera, number % 5)}"
            shots.append(Shot(path, track, box, seed, (seed, 3, len(shots))))
    return Plan(train, test, shots)


class _Clock:
    """Names files. Frame numbers increase in each camera, so that names are unique."""

    def __init__(self) -> None:
        self.frames = dict.fromkeys(range(1, len(CAMERAS) + 1), 100)

    def name(self, identity: int, camera: int, detection: int) -> str:
        self.frames[camera] += 25
        number = "-1" if identity == JUNK else f"{identity:04d}"
        sequence, frame = divmod(self.frames[camera], 200_000)
        return f"{number}_c{camera}s{sequence + 1}_{frame:06d}_{detection:02d}.jpg"


def _appearances(rng: np.random.Generator, images: int) -> list[tuple[int, int]]:
    """The cameras (from 1) that see a person and the number of images in each: at least two cameras and two images."""
    count = min(int(rng.choice((2, 3, 4, 5, 6), p=(0.1, 0.2, 0.3, 0.25, 0.15))), images // 2)
    cameras = sorted((rng.choice(len(CAMERAS), count, replace=False) + 1).tolist())
    return list(zip(cameras, (2 + rng.multinomial(images - 2 * count, [1 / count] * count)).tolist(), strict=True))


def walk_past(rng: np.random.Generator, look: Look, camera: int) -> Track:
    """A person passing a camera (1-based), mostly along the camera's main direction, either way."""
    horizon, flow = CAMERAS[camera - 1].horizon, CAMERAS[camera - 1].flow
    near = horizon + (SCENE_HEIGHT - horizon) * rng.uniform(0.5, 0.98)
    return Track(
        look=look,
        camera=camera,
        yaw=float(flow + rng.choice((0, np.pi)) + rng.normal(0, 0.45)),
        action=str(rng.choice(("walk", "stand", "carry"), p=(0.68, 0.2, 0.12))),
        x=float(rng.uniform(0.12, 0.88) * SCENE_WIDTH),
        y=float(near),
    )


def draw_shot(shot: Shot) -> bytes:
    """The JPEG file of a shot, of WIDTH x HEIGHT pixels."""
    rng = np.random.default_rng(shot.seed)
    view = photograph(shot.track, shot.box, shot.scene_seed, (WIDTH, HEIGHT), rng)
    return encode_jpeg(view.image, CAMERAS[shot.track.camera - 1].quality)


def photograph(track: Track, box: str, scene_seed: int, size: tuple[int, int], rng: np.random.Generator) -> View:
    """One moment of a track, cropped as by a person detector; the person is thing 0 of the view."""
    camera = CAMERAS[track.camera - 1]
    x, y = track.x + rng.normal(0, 25), track.y + rng.normal(0, 6)
    figure = build_figure(track.look, random_stance(rng, track.look, track.action)).turned(
        track.yaw + rng.normal(0, 0.18), camera.elevation + rng.normal(0, 0.03)
    )
    scale = pixels_per_metre(camera, y)
    left, bottom, right, top = (value * scale for value in figure.extent())
    window = _detector_box(rng, (x + left, y - top, x + right, y - bottom), box)
    person = Thing(figure, x - 3 * (right - left) if box == "empty" else x, y)
    return render(camera, scene_seed, [person, *_surroundings(rng, camera, x, y)], window, size, rng)


def _detector_box(
    rng: np.random.Generator, person: tuple[float, float, float, float], box: str
) -> tuple[float, float, float, float]:
    """Left, top, width and height of an inexact box around a person; a bad box shows a fragment."""
    left, top, right, bottom = person
    tall = bottom - top
    centre = (left + right) / 2 + rng.normal(0, 0.035) * tall
    top -= rng.uniform(-0.01, 0.08) * tall
    bottom += rng.uniform(-0.01, 0.07) * tall
    cut = rng.random()
    if cut < 0.10:
        bottom -= rng.uniform(0.08, 0.28) * tall
    elif cut < 0.15:
        top += rng.uniform(0.05, 0.13) * tall
    width = max(0.42 * (bottom - top), 0.95 * (right - left)) * rng.uniform(0.95, 1.15)
    if box == "bad":
        centre += rng.choice((-1, 1)) * rng.uniform(0.3, 0.5) * width
        top += rng.choice((-0.6, 0.5)) * rng.uniform(0.7, 1.0) * tall
        bottom = top + rng.uniform(0.5, 1.2) * tall
        width = (bottom - top) / 2
    return centre - width / 2, top, width, bottom - top


def _surroundings(rng: np.random.Generator, camera: Camera, x: float, y: float) -> list[Thing]:
    """Other people and occluders around a person, some of them partly in front."""
    scale = pixels_per_metre(camera, y)
    things = []
    if rng.random() < 0.2:
        look = random_look(rng)
        figure = build_figure(look, random_stance(rng, look, "walk"))
        figure = figure.turned(camera.flow + rng.uniform(0, 2 * np.pi), camera.elevation)
        aside = rng.choice((-1, 1)) * rng.uniform(0.3, 0.7) * scale
        things.append(Thing(figure, x + aside, y + rng.uniform(-0.35, 0.2) * scale))
    if rng.random() < 0.12:
        aside = rng.choice((-1, 1)) * rng.uniform(0.15, 0.55) * scale
        things.append(Thing(str(rng.choice(list(OCCLUDERS))), x + aside, y + rng.uniform(0.05, 0.3) * scale))
    return things


def write_reid_set(out_dir: pathlib.Path, plan: Plan, workers: int | None = None) -> None:
    """Draws the images of a plan into a new folder, and writes the attribute labels."""
    for name in ("bounding_box_train", "query", "bounding_box_test", "attribute"):
        (out_dir / name).mkdir(parents=True)
    for shot, image in zip(plan.shots, draw_all(draw_shot, plan.shots, "re-ID images", workers), strict=True):
        (out_dir / shot.path).write_bytes(image)
    write_market_attributes(
        out_dir / "attribute" / "market_attribute.mat",
        {identity: look.attributes for identity, look in plan.train.items()},
        {identity: look.attributes for identity, look in plan.test.items()},
    )


_HEADER = b"MATLAB 5.0 MAT-file, the attributes of a drawn dataset in the structure of market_attribute.mat"


def write_market_attributes(
    path: pathlib.Path, train: Mapping[int, Sequence[int]], test: Mapping[int, Sequence[int]]
) -> None:
    """Writes attributes in the structure of the published file, which data_prep.attribute_labels describes.

    Args:
        path: The file to write.
        train, test: For each identity one class index per task of Market-1501.
    """
    file = io.BytesIO()
    # The order of the fields differs between splits, as in the published file.
    splits = {"test": _fields(test, TASKS), "train": _fields(train, TASKS[::-1])}
    scipy.io.savemat(file, {"market_attribute": splits})
    # The first 116 bytes are free text, in which savemat writes the current time.
    path.write_bytes(_HEADER.ljust(116) + file.getvalue()[116:])


def _fields(people: Mapping[int, Sequence[int]], order: Sequence[AttributeTask]) -> dict[str, np.ndarray]:
    """The fields of one split, uint8 [1, identities], and the identities as strings."""
    identities = sorted(people)
    fields = {}
    for task in order:
        classes = np.array([[people[identity][TASKS.index(task)] for identity in identities]])
        names = LABEL_FIELDS[task.name]
        if isinstance(names, str):
            fields[names] = (classes + 1).astype(np.uint8)
        else:
            fields |= {name: np.where(classes == index, 2, 1).astype(np.uint8) for index, name in enumerate(names)}
    cells = np.empty((1, len(identities)), object)
    cells[0] = [f"{identity:04d}" for identity in identities]
    return fields | {"image_index": cells}
