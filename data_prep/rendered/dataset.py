"""Both raw datasets in one folder: market1501/ and coco/."""

import dataclasses
import os
import pathlib
from typing import Any

from data_prep.rendered.pose_set import write_pose_set
from data_prep.rendered.reid_set import plan_reid_set, write_reid_set
from data_prep.shards import new_dataset
from lrdnn_base.options import check_options, option


@dataclasses.dataclass(frozen=True)
class Options:
    """The dataset to draw."""

    out_dir: str = option(help="Folder to create, with market1501/ and coco/; must not exist.")
    seed: int = option(0, "The same seed gives the same bytes.", at_least=0)
    train_identities: int = option(60, "People in the training split.", at_least=2)
    test_identities: int = option(60, "People in query and gallery.", at_least=2)
    images_per_identity: int = option(12, "Images of each person, over all cameras; two in each of two.", at_least=4)
    pose_images: int = option(700, "Images of the pose set's train2017.", at_least=1)
    pose_val_images: int = option(100, "Images of the pose set's val2017.", at_least=1)

    def __post_init__(self):
        check_options(self)


def write_dataset(out_dir: str | os.PathLike, workers: int | None = None, **options: Any) -> pathlib.Path:
    """Draws the synthetic dataset. The same options give the same bytes, for any number of workers.

    Args:
        out_dir: Folder to create; it appears only when the dataset is complete.
        workers: Processes; one per CPU core when None.
        options: The other fields of Options.

    Returns:
        out_dir.

    Raises:
        InputError: out_dir exists or cannot be written, or an option is out of bounds.
    """
    chosen = Options(out_dir, **options)
    plan = plan_reid_set(chosen.seed, chosen.train_identities, chosen.test_identities, chosen.images_per_identity)
    with new_dataset(out_dir) as folder:
        write_reid_set(folder / "market1501", plan, workers)
        write_pose_set(folder / "coco", chosen.seed, chosen.pose_images, chosen.pose_val_images, workers)
    return pathlib.Path(out_dir)
