"""A row of a table as steps: what is trained and measured, in which order, and where it goes.

OUT/pose/                       the pose network, unless --pose_dir names one; OUT/shuffled/ ... are damaged ones
OUT/seed0/ROW/PHASE/            the phase that the row trains, as lrdnn_tf.train leaves it
OUT/seed0/ROW/report/           its measurement
OUT/logs/                       what every step printed, and which settings it had

Tables that share OUT share the rows that they have in common.
"""

import pathlib
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from experiments.tables.flagfiles import flagfile, read_flagfile
from experiments.tables.rows import Row
from pose_pretrain.errors import InputError
from pose_pretrain.training_files import WEIGHTS_FILE

SUMMARY = "summary.json"


class Step(NamedTuple):
    """One command.

    Attributes:
        name: Of its log.
        command: Module and flags, as `python -m` takes them.
        done: The file that is there once it is complete.
        needs: Files of other steps that must be there before.
        settings: The flags that its result hangs on, flag files read.
    """

    name: str
    command: tuple[str, ...]
    done: pathlib.Path
    needs: tuple[pathlib.Path, ...]
    settings: tuple[str, ...]


class Place(NamedTuple):
    """Where a table's runs are and what they are made from.

    Attributes:
        dataset: One of rows.DATASETS: which flag files.
        data_dir: The dataset itself.
        out_dir: Gets everything.
        pose_dir: A trained pose network, or None to train one.
        pose_data_dir: The dataset to train it on.
    """

    dataset: str
    data_dir: str
    out_dir: pathlib.Path
    pose_dir: pathlib.Path | None = None
    pose_data_dir: str | None = None


def steps(rows: Sequence[Row], seeds: Sequence[int], place: Place) -> list[Step]:
    """The steps of all rows and seeds, seed by seed, each once and after what it needs."""
    planned = (step for seed in seeds for row in rows for step in _of_row(row, seed, place))
    return list({step.done: step for step in planned}.values())


def run_dir(row: Row, seed: int, place: Place) -> pathlib.Path:
    """Where a row is trained. A variant whose flags the row's own flag file gives already is that row."""
    own = set(shlex.split(row.flags)) - set(read_flagfile(flagfile(place.dataset, row.flagfile)))
    is_variant = own or row.pose != "pose"
    return place.out_dir / f"seed{seed}" / (row.folder if is_variant else row.flagfile)


def weights(row: Row, seed: int, place: Place) -> pathlib.Path:
    """The trained weights of a row."""
    return run_dir(row, seed, place) / row.phase / WEIGHTS_FILE


def summary(row: Row, seed: int, place: Place) -> pathlib.Path:
    """The measurement of a row."""
    return run_dir(row, seed, place) / "report" / SUMMARY


def _of_row(row: Row, seed: int, place: Place) -> Iterator[Step]:
    if row.start:
        yield from list(_of_row(row.start, seed, place))[:-1]  # its training; its measurement is its own row's
    needs = (weights(row.start, seed, place),) if row.start else ()
    own, file = run_dir(row, seed, place), flagfile(place.dataset, row.flagfile)
    command = ["lrdnn_tf.train", f"--flagfile={file}", *shlex.split(row.flags)]
    command += [f"--run_dir={own}", f"--data_dir={place.data_dir}", f"--seed={seed}"]
    if row.start:
        command.append(f"--start_from={run_dir(row.start, seed, place)}")
    if row.phase == "fusion":
        pose_dir = place.pose_dir or place.out_dir / "pose"
        if not place.pose_dir:
            yield _pretraining(pose_dir, place)
        if row.pose != "pose":
            yield _damage(row.pose, pose_dir, place)
            pose_dir = place.out_dir / row.pose
        needs += (pose_dir / WEIGHTS_FILE,)
        command.append(f"--pose_dir={pose_dir}")
    trained, measured = weights(row, seed, place), summary(row, seed, place)
    label, settings = f"{own.parent.name}_{own.name}", (*read_flagfile(file), *shlex.split(row.flags))
    yield Step(label, tuple(command), trained, needs, settings)
    command = ["lrdnn_tf.evaluate", f"--run_dir={own}", f"--data_dir={place.data_dir}", f"--phases={row.phase}"]
    yield Step(f"{label}_report", (*command, f"--report_dir={measured.parent}"), measured, (trained,), ())


def _pretraining(pose_dir: pathlib.Path, place: Place) -> Step:
    if not place.pose_data_dir:
        raise InputError(
            "rows with a pose branch need --pose_dir, a trained pose network, or --pose_data_dir, to train one on"
        )
    file = flagfile(place.dataset, "pose")
    command = ("lrdnn_tf.pretrain_pose", f"--flagfile={file}", f"--run_dir={place.out_dir}")
    done = pose_dir / WEIGHTS_FILE
    return Step("pose", (*command, f"--data_dir={place.pose_data_dir}"), done, (), tuple(read_flagfile(file)))


def _damage(damage: str, pose_dir: pathlib.Path, place: Place) -> Step:
    out_dir = place.out_dir / damage
    command = ("experiments.damage_pose", f"--damage={damage}", f"--pose_dir={pose_dir}", f"--out_dir={out_dir}")
    return Step(damage, command, out_dir / WEIGHTS_FILE, (pose_dir / WEIGHTS_FILE,), (f"--damage={damage}",))
