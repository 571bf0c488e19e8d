"""Both raw datasets in one folder: market1501/ and coco/."""

import pathlib

from data_prep.rendered.pose_set import write_pose_set
from data_prep.rendered.reid_set import plan_reid_set, write_reid_set
from data_prep.shards import new_dataset
from lrdnn_base.errors import InputError


def write_dataset(
    out_dir: str | pathlib.Path,
    seed: int = 0,
    train_identities: int = 60,
    test_identities: int = 60,
    images_per_identity: int = 12,
    pose_images: int = 700,
    pose_val_images: int = 100,
    workers: int | None = None,
) -> pathlib.Path:
    """Draws the built-in dataset. The same arguments give the same bytes, whatever the number of workers.

    Args:
        out_dir: a folder that does not exist yet; it appears only when everything is in it.
        workers: processes; None for one a core.

    Returns:
        out_dir.

    Raises:
        InputError: if out_dir exists or cannot be written, or a size is too small.
    """
    out_dir = pathlib.Path(out_dir)
    if min(pose_images, pose_val_images) < 1:
        raise InputError("--pose_images and --pose_val_images must be at least 1")
    plan = plan_reid_set(seed, train_identities, test_identities, images_per_identity)
    with new_dataset(out_dir) as folder:
        write_reid_set(folder / "market1501", plan, workers)
        write_pose_set(folder / "coco", seed, pose_images, pose_val_images, workers)
    return out_dir
