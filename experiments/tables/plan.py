"""The steps of a row: the commands that train and evaluate it, their options, and the folders that they write.

OUT/pose/                       the pose network, unless --pose_dir names one
OUT/seed0/shuffled/             a corrupted copy of it; each seed corrupts it in another way
OUT/seed0/ROW/PHASE/            the phase that the row trains, as lrdnn_tf.train leaves it
OUT/seed0/ROW/report/           its evaluation
OUT/logs/                       the output and the settings of every step

Tables that share OUT share the rows that they have in common. All seeds share one pose network.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from experiments.tables.rows import DATASETS, OTHER, PRETRAINED, SIZES, Row, effective
from lrdnn_base.errors import InputError
from lrdnn_base.options import check_options, option
from lrdnn_base.run_folder import WEIGHTS_FILE

SUMMARY = "summary.json"
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
    other_pose_dir: str | None = option(None, "Another trained pose network, for the rows that compare with it.")
    imagenet_weights: str | None = option(None, "File of the backbone's ImageNet weights, which are fetched otherwise.")
    measured_elsewhere: str = option(
        "", "CSV files of this table that were made on other machines, for other seeds, whose lines are added."
    )
    results_dir: str = option(str(EXPERIMENTS / "results"), "Folder of the page, the CSV file and the plot.")
    jobs: int | None = option(None, "Steps at a time. Default: one, or one for each of --gpus.", at_least=1)
    gpus: str = option("", "GPUs to distribute the steps over, such as 0,1,2,3.")
    dry_run: bool = option(False, "Only print the commands.")
    images: str = ""  # not a flag: training_images_hash of the dataset in data_dir

    def __post_init__(self):
        check_options(self)
        if not re.fullmatch(r"\d+(, *\d+)*", self.seeds):
            raise InputError(f"--seeds={self.seeds}: expected whole numbers, such as 0,1,2")

    @property
    def seed_list(self) -> list[int]:
        """The seeds, each once."""
        return list(dict.fromkeys(map(int, self.seeds.split(","))))

    @property
    def runs(self) -> pathlib.Path:
        """Folder of all runs."""
        return pathlib.Path(self.out_dir or f"runs/paper/{self.dataset}")

    @property
    def pose_network(self) -> pathlib.Path:
        """Folder of the pose network: the given one, or the one that a step trains."""
        return pathlib.Path(self.pose_dir or self.runs / "pose")


class Step(NamedTuple):
    """One command.

    Attributes:
        command: Module and flags, as `python -m` takes them.
        done: The file that exists once the step is complete. To repeat the step, delete its folder.
        log: Gets the output; its stem is the name of the step.
        needs: Files that must exist before the step starts.
        settings: What the result depends on: the effective flags, training images, pose network.
    """

    command: tuple[str, ...]
    done: pathlib.Path
    log: pathlib.Path
    needs: tuple[pathlib.Path, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Short name for messages."""
        return self.log.stem


def steps(rows: Sequence[Row], seeds: Sequence[int], options: Options) -> list[Step]:
    """The steps of all rows and seeds, seed by seed, each once and after the steps that it needs."""
    planned = (step for seed in seeds for row in rows for step in _of_row(row, seed, options))
    return list({step.done: step for step in planned}.values())


def is_done(step: Step) -> bool:
    """Whether a step is complete; an evaluation of weights that were retrained since is not."""
    return step.done.is_file() and not (step.done.name == SUMMARY and newer_needs(step))


def newer_needs(step: Step) -> list[pathlib.Path]:
    """The files that a finished step was made from and that are missing or were overwritten since."""
    finished = step.done.stat().st_mtime
    return [path for path in step.needs if not path.is_file() or path.stat().st_mtime > finished]


def run_dir(row: Row, seed: int, options: Options) -> pathlib.Path:
    """The run of a row. A variant whose settings equal those of the row that it changes shares that row's run."""
    base = row.variant_of
    is_base = base and base.pose == row.pose and _flags(base, options) == _flags(row, options)
    return options.runs / f"seed{seed}" / (base.folder if is_base else row.folder)


def weights(row: Row, seed: int, options: Options) -> pathlib.Path:
    """The trained weights of a row."""
    return run_dir(row, seed, options) / row.phase / WEIGHTS_FILE


def evaluation(row: Row, seed: int, options: Options) -> Step:
    """The last step of a row, which writes its scores to summary.json."""
    own = run_dir(row, seed, options)
    command = ("lrdnn_tf.evaluate", f"--run_dir={own}", f"--data_dir={options.data_dir}", f"--phases={row.phase}")
    command += (f"--report_dir={own / 'report'}",)
    log = options.runs / "logs" / f"seed{seed}_{own.name}_report.log"
    return Step(command, own / "report" / SUMMARY, log, (weights(row, seed, options),))


def _of_row(row: Row, seed: int, options: Options) -> Iterator[Step]:
    if row.start:
        yield from list(_of_row(row.start, seed, options))[:-1]  # its trainings; its evaluation is not needed here
    own, file = run_dir(row, seed, options), _flag_file(row.schedule or row.phase, options)
    command = ["lrdnn_tf.train", f"--flagfile={file}", *_after_flag_file(row, options)]
    command += [f"--run_dir={own}", f"--data_dir={options.data_dir}", f"--seed={seed}"]
    needs, settings = [], [*_flags(row, options), f"training images {options.images}"]
    if row.start:
        command.append(f"--start_from={run_dir(row.start, seed, options)}")
        needs.append(weights(row.start, seed, options))
    if needs_pose_network(row):
        yield from _pose_steps(row, seed, options)
        pose_dir = _pose_dir(row, seed, options)
        command.append(f"--pose_dir={pose_dir}")
        needs.append(pose_dir / WEIGHTS_FILE)
        settings.append(f"pose network {pose_dir if row.pose == OTHER else options.pose_network}")
    log = options.runs / "logs" / f"seed{seed}_{own.name}.log"
    yield Step(tuple(command), weights(row, seed, options), log, tuple(needs), tuple(settings))
    yield evaluation(row, seed, options)


def needs_pose_network(row: Row) -> bool:
    """Whether a row fuses a pose network."""
    return row.phase == "fusion" and row.pose is not None


def _pose_dir(row: Row, seed: int, options: Options) -> pathlib.Path:
    """The pose network of a row: the one of all rows, the other one, or a corrupted copy."""
    if row.pose == OTHER:
        return pathlib.Path(options.other_pose_dir or "OTHER_POSE_NETWORK")
    return options.pose_network if row.pose == PRETRAINED else options.runs / f"seed{seed}" / row.pose


def _pose_steps(row: Row, seed: int, options: Options) -> Iterator[Step]:
    """Trains the pose network, unless it is given, and corrupts a copy of it, if the row fuses one."""
    if row.pose == OTHER:
        return
    pose_dir = options.pose_network
    trained = pose_dir / WEIGHTS_FILE
    if not options.pose_dir:
        file = _flag_file("pose", options)
        command = ("lrdnn_tf.pretrain_pose", f"--flagfile={file}", f"--run_dir={options.runs}")
        command += (f"--data_dir={options.pose_data_dir or 'POSE_DATASET'}",)
        yield Step(command, trained, options.runs / "logs" / "pose.log", (), tuple(_read(file)))
    if row.pose != PRETRAINED:
        damage, out_dir = (f"--damage={row.pose}", f"--seed={seed}"), _pose_dir(row, seed, options)
        command = ("experiments.damage_pose", *damage, f"--pose_dir={pose_dir}", f"--out_dir={out_dir}")
        log = options.runs / "logs" / f"seed{seed}_{row.pose}.log"
        yield Step(command, out_dir / WEIGHTS_FILE, log, (trained,), (*damage, f"pose network {pose_dir}"))


def _flags(row: Row, options: Options) -> list[str]:
    return effective([*_read(_flag_file(row.schedule or row.phase, options)), *_after_flag_file(row, options)])


def _after_flag_file(row: Row, options: Options) -> list[str]:
    """The flags that are given beside the flag file: those of the row, and the weights file of a first phase."""
    is_first = row.start is None and options.imagenet_weights
    return [*row.flags, *([f"--imagenet_weights={options.imagenet_weights}"] if is_first else [])]


def _flag_file(name: str, options: Options) -> str:
    """Path of a flag file, relative to the working directory, so that no page names a folder of one machine."""
    return os.path.relpath(EXPERIMENTS / "paper" / SIZES[options.dataset] / f"{name}.flags")


def _read(file: str) -> list[str]:
    lines = map(str.strip, pathlib.Path(file).read_text(encoding="utf-8").splitlines())
    return effective(line for line in lines if line.startswith("-"))
