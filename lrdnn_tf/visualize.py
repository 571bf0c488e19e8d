"""Pictures of a fusion on any crops: python -m lrdnn_tf.visualize --run_dir=runs/NAME --images=DIR --out_dir=DIR"""

import os
import pathlib

import numpy as np
from absl import flags
from tqdm import tqdm

from lrdnn_base import command
from lrdnn_base.errors import InputError
from lrdnn_base.files import find_images
from lrdnn_base.images import write_image
from lrdnn_tf import runs
from lrdnn_tf.data.decode import read_image
from lrdnn_tf.evaluation import fusion_pictures
from lrdnn_tf.evaluation.results import Settings

_BATCH_SIZE = 32


def visualize(
    run_dir: str | os.PathLike,
    images: str | os.PathLike,
    out_dir: str | os.PathLike,
    limit: int = 12,
    weights: str = "last",
) -> None:
    """Writes pose_maps.jpg (the paper's Fig. 2), and responses.jpg (Fig. 4) where the model fuses maps.

    Args:
        run_dir: A run with the fusion phase.
        images: Folder of crops, including its subfolders, or one crop.
        out_dir: Folder for the pictures.
        limit: Maximum number of crops, which are evenly spread over the sorted files.
        weights: "last" or "best".

    Raises:
        InputError: No fusion phase or no such weights, a fusion without a pose branch, no image, an image that cannot
            be decoded, or a picture that cannot be written.
    """
    paths = find_images(images)
    paths = [paths[index] for index in np.linspace(0, len(paths) - 1, min(limit, len(paths))).round().astype(int)]
    model, config = runs.load_model(run_dir, "fusion", weights)
    if not config.has_pose_branch:
        raise InputError(
            f"the fusion phase of {run_dir} has no pose branch (pose_maps={config.pose_maps}): "
            "give a run that fuses confidence maps, affinity maps or both"
        )
    pixels = np.stack([read_image(path, config.height, config.width) for path in paths])
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
        write_image(path, fusion_pictures.sheet(panels, captions)[..., ::-1])
        print(f"wrote {path}")


def main() -> None:
    args = flags.FLAGS
    visualize(args.run_dir, args.images, args.out_dir, args.limit, args.weights)


if __name__ == "__main__":
    flags.DEFINE_string("run_dir", None, "The run, such as runs/NAME, with its fusion phase.")
    flags.DEFINE_string("images", None, "Folder of crops.")
    flags.DEFINE_string("out_dir", None, "Folder for pose_maps.jpg and responses.jpg.")
    flags.DEFINE_integer("limit", 12, "Maximum number of crops, evenly spread over the folder.", lower_bound=1)
    command.define_flags(Settings, ["weights"])
    flags.mark_flags_as_required(["run_dir", "images", "out_dir"])
    command.run(main)
