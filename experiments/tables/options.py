"""The options of a table's command, from which its flags come."""

import dataclasses
import pathlib
import re

from experiments.tables.rows import DATASETS
from lrdnn_base.errors import InputError
from lrdnn_base.options import check_options, option

EXPERIMENTS = pathlib.Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Options:
    """What a table is made from, where it goes, and how its steps run. Lists are separated by commas."""

    dataset: str = option(help="The dataset. It decides the schedules, experiments/paper/SIZE.", choices=DATASETS)
    data_dir: str = option(help="Folder of that dataset, as data_prep converted it.")
    seeds: str = option("0,1,2", "Seeds of the trainings.")
    rows: str | None = option(None, "Names of the rows to make. Default: all.")
    out_dir: str | None = option(None, "Folder of the runs, which tables share. Default: runs/paper/DATASET.")
    pose_dir: str | None = option(None, "A trained pose network, such as runs/NAME/pose.")
    pose_data_dir: str | None = option(None, "Without --pose_dir: the pose dataset to train a pose network on.")
    results_dir: str = option(str(EXPERIMENTS / "results"), "Folder of the page, the CSV file and the plot.")
    jobs: int | None = option(None, "Steps at a time. Default: one, or one for each of --gpus.", at_least=1)
    gpus: str = option("", "GPUs to distribute the steps over, such as 0,1,2,3.")
    dry_run: bool = option(False, "Only print the commands.")
    images: str = ""  # not a flag: training_images_hash of the dataset in data_dir

    def __post_init__(self):
        check_options(self)
        if not re.fullmatch(r"\d+(,\d+)*", self.seeds):
            raise InputError(f"--seeds={self.seeds}: expected whole numbers, such as 0,1,2")

    @property
    def runs(self) -> pathlib.Path:
        """Folder of all runs."""
        return pathlib.Path(self.out_dir or f"runs/paper/{self.dataset}")

    @property
    def pose_network(self) -> pathlib.Path:
        """Folder of the pose network: the given one, or the one that a step trains."""
        return pathlib.Path(self.pose_dir) if self.pose_dir else self.runs / "pose"

    @property
    def seed_list(self) -> list[int]:
        """The seeds, each once."""
        return list(dict.fromkeys(map(int, self.seeds.split(","))))
