"""Pictures of a fusion on any crops: python -m lrdnn_tf.visualize --run_dir=runs/NAME --images=DIR --out_dir=DIR"""

import os
import pathlib

import cv2
import numpy as np
import tensorflow as tf
from absl import flags
from tqdm import tqdm

from lrdnn_base import command
from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.data.decode import decode_image
from lrdnn_tf.evaluation import fusion_pictures

_SUFFIXES = (".jpg", ".jpeg", ".png")
_BATCH_SIZE = 32


def visualize(
    run_dir: str | os.PathLike, images: str | os.PathLike, out_dir: str | os.PathLike, limit: int = 12
) -> None:
    """Writes pose_maps.jpg (the paper's Fig. 2), and responses.jpg (Fig. 4) where the model fuses maps.

    Args:
        run_dir: A run with the fusion phase.
        images: Folder of crops; subfolders count, too.
        out_dir: Gets the pictures.
        limit: At most so many of the crops, evenly taken.

    Raises:
        InputError: No fusion phase, no image, or an image that cannot be read.
    """
    paths = find_images(images, limit)
    model, config = runs.load_model(run_dir, "fusion")
    pixels = np.stack([_read(path, config.height, config.width) for path in paths])
    kinds = {"pose_maps": (fusion_pictures.pose_panels, fusion_pictures.POSE_CAPTIONS)}
    if fusion_pictures.has_responses(config):
        kinds["responses"] = (fusion_pictures.response_panels, fusion_pictures.RESPONSE_CAPTIONS)
    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    for name, (draw, captions) in kinds.items():
        panels = []
        for start in tqdm(range(0, len(pixels), _BATCH_SIZE), desc=name.replace("_", " "), unit="batch", disable=None):
            panels += draw(model, pixels[start : start + _BATCH_SIZE])
        path = out_dir / f"{name}.jpg"
        if not cv2.imwrite(str(path), fusion_pictures.sheet(panels, captions)[..., ::-1]):
            raise InputError(f"cannot write {path}: is the disk full?")
        print(f"wrote {path}")


def find_images(folder: str | os.PathLike, limit: int) -> list[pathlib.Path]:
    """The image files of a folder and its subfolders by name, or `limit` of them evenly spread.

    Raises:
        InputError: There is no such folder, or no image in it.
    """
    folder = pathlib.Path(folder)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not paths:
        raise InputError(f"no image ({', '.join(_SUFFIXES)}) in {folder}: name a folder of crops")
    return [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, min(limit, len(paths))).round().astype(int))]


def _read(path: pathlib.Path, height: int, width: int) -> np.ndarray:
    try:
        return decode_image(path.read_bytes(), height, width).numpy()
    except tf.errors.InvalidArgumentError:
        raise InputError(f"{path} is not an image that can be read: remove or repair it") from None


def main() -> None:
    args = flags.FLAGS
    visualize(args.run_dir, args.images, args.out_dir, args.limit)


if __name__ == "__main__":
    flags.DEFINE_string("run_dir", None, "The run, such as runs/NAME, with its fusion phase.")
    flags.DEFINE_string("images", None, "Folder of crops.")
    flags.DEFINE_string("out_dir", None, "Gets pose_maps.jpg and responses.jpg.")
    flags.DEFINE_integer("limit", 12, "At most so many crops, evenly taken from the folder.", lower_bound=1)
    flags.mark_flags_as_required(["run_dir", "images", "out_dir"])
    command.run(main)
