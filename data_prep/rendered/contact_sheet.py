"""People of the synthetic dataset on one page: a row per person, a column per camera, and their attributes.

python -m data_prep.rendered.contact_sheet --out=people.png
"""

import os
import pathlib

import cv2
import numpy as np
from absl import flags

from data_prep.rendered.cameras import CAMERAS
from data_prep.rendered.looks import CLASSES, Look, is_twin, random_looks
from data_prep.rendered.reid_set import HEIGHT, WIDTH, photograph, walk_past
from lrdnn_base import command
from lrdnn_base.errors import InputError
from lrdnn_base.images import write_image

_ZOOM = 1.5
_TEXT_WIDTH, _LINE, _HEADER = 300, 19, 26
_INK, _DIFFERENT = (30, 30, 30), (200, 30, 30)


def contact_sheet(seed: int = 0, people: int = 8) -> np.ndarray:
    """Draws people seen by all cameras. Attributes in which a near-twin differs from the row above are red.

    Args:
        seed: Seed of people, scenes and moments.
        people: Number of people.

    Returns:
        uint8 [height, width, 3], RGB.
    """
    looks = random_looks(np.random.default_rng([seed, 1]), people)
    width, height = int(WIDTH * _ZOOM), int(HEIGHT * _ZOOM)
    header = np.full((_HEADER, width * len(CAMERAS) + _TEXT_WIDTH, 3), 255, np.uint8)
    for number, camera in enumerate(CAMERAS):
        _write(header, f"c{number + 1} {camera.backdrop}", width * number + 6, 18, _INK)
    rows = [header]
    for number, look in enumerate(looks):
        rng = np.random.default_rng([seed, 5, number])
        crops = [
            photograph(walk_past(rng, look, camera), "good", seed, (WIDTH, HEIGHT), rng).image
            for camera in range(1, len(CAMERAS) + 1)
        ]
        crops = [cv2.resize(crop, (width, height), interpolation=cv2.INTER_CUBIC) for crop in crops]
        rows.append(np.hstack([*crops, _label(look, looks[number - 1] if is_twin(number) else look, height)]))
    return np.vstack(rows)


def _label(look: Look, other: Look, height: int) -> np.ndarray:
    """Two columns of attributes, red where those of the other person differ."""
    label = np.full((height, _TEXT_WIDTH, 3), 255, np.uint8)
    for number, task in enumerate(CLASSES):
        ink = _INK if look[task] == other[task] else _DIFFERENT
        column, line = divmod(number, 7)
        text = f"{task.replace('_', ' ')}: {look[task]}"
        _write(label, text, 10 + column * 150, 30 + line * _LINE, ink)
    return label


def _write(image: np.ndarray, text: str, x: int, y: int, ink: tuple[int, int, int]) -> None:
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, ink, 1, cv2.LINE_AA)


def write_contact_sheet(path: str | os.PathLike, seed: int = 0, people: int = 8) -> None:
    """Writes a contact sheet as PNG or JPEG, depending on the suffix.

    Raises:
        InputError: `people` is less than 1, or the file cannot be written.
    """
    if people < 1:
        raise InputError(f"--people={people}: at least 1 person is needed")
    path = pathlib.Path(path)
    if path.suffix not in (".png", ".jpg"):
        raise InputError(f"--out={path}: name a .png or a .jpg file")
    write_image(path, contact_sheet(seed, people)[..., ::-1])


def main() -> None:
    args = flags.FLAGS
    write_contact_sheet(args.out, args.seed, args.people)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "PNG or JPEG to write.", required=True)
    flags.DEFINE_integer("seed", 0, "Seed of people, scenes and moments.", lower_bound=0)
    flags.DEFINE_integer("people", 8, "Number of people.")
    command.run(main)
