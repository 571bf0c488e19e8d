"""A row of a table as steps: what is trained and measured, in which order, and where it goes.

OUT/pose/                       the pose network, unless --pose_dir names one; OUT/shuffled/ ... are damaged ones
OUT/seed0/ROW/PHASE/            the phase that the row trains, as lrdnn_tf.train leaves it
OUT/seed0/ROW/report/           its measurement
OUT/logs/                       what every step printed, and which settings it had

Tables that share OUT share the rows that they have in common. All seeds share one pose network.
"""

import pathlib
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from experiments.tables.flagfiles import effective, flagfile, read_flagfile
from experiments.tables.rows import Row
from lrdnn_base.run_folder import WEIGHTS_FILE

SUMMARY = "summary.json"


class Step(NamedTuple):
    """One command.

    Attributes:
        name: Of its log.
        command: Module and flags, as `python -m` takes them.
        done: The file that is there once it is complete.
        needs: Files that must be there before.
        settings: What its result hangs on: flags with flag files read, images, pose network.
        folder: What to delete to make it anew.
    """

    name: str
    command: tuple[str, ...]
    done: pathlib.Path
    needs: tuple[pathlib.Path, ...]
    settings: tuple[str, ...]
    folder: pathlib.Path


class Place(NamedTuple):
    """Where a table's runs are and what they are made from.

    Attributes:
        dataset: One of rows.DATASETS: which flag files.
        data_dir: The dataset itself.
        out_dir: Gets everything.
        pose_dir: A trained pose network, or None to train one.
        pose_data_dir: The dataset to train it on.
        images: A name for the training images in data_dir, see lrdnn_tf.data.dataset.training_images_hash.
    """

    dataset: str
    data_dir: str
    out_dir: pathlib.Path
    pose_dir: pathlib.Path | None = None
    pose_data_dir: str | None = None
    images: str = ""


def steps(rows: Sequence[Row], seeds: Sequence[int], place: Place) -> list[Step]:
    """The steps of all rows and seeds, seed by seed, each once and after what it needs."""
    planned = (step for seed in seeds for row in rows for step in _of_row(row, seed, place))
    return list({step.done: step for step in planned}.values())


def is_done(step: Step) -> bool:
    """Whether a step is complete; a measurement of weights that were trained anew since is not."""
    if not step.done.is_file():
        return False
    return step.done.name != SUMMARY or not newer_needs(step)


def newer_needs(step: Step) -> list[pathlib.Path]:
    """What a finished step was made from and is gone, or was made anew since."""
    finished = step.done.stat().st_mtime
    return [path for path in step.needs if not path.is_file() or path.stat().st_mtime > finished]


def run_dir(row: Row, seed: int, place: Place) -> pathlib.Path:
    """Where a row is trained. A variant whose flags its flag file gives already is that file's row, in its folder."""
    given = read_flagfile(flagfile(place.dataset, row.flagfile))
    changes_nothing = row.flags and row.pose == "pose" and set(shlex.split(row.flags)) <= set(given)
    return place.out_dir / f"seed{seed}" / (row.flagfile if changes_nothing else row.folder)


def weights(row: Row, seed: int, place: Place) -> pathlib.Path:
    """The trained weights of a row."""
    return run_dir(row, seed, place) / row.phase / WEIGHTS_FILE


def measurement(row: Row, seed: int, place: Place) -> Step:
    """The last step of a row, which leaves its scores in summary.json."""
    own, trained = run_dir(row, seed, place), weights(row, seed, place)
    report = own / "report"
    command = ["lrdnn_tf.evaluate", f"--run_dir={own}", f"--data_dir={place.data_dir}", f"--phases={row.phase}"]
    name = f"{own.parent.name}_{own.name}_report"
    return Step(name, (*command, f"--report_dir={report}"), report / SUMMARY, (trained,), (), report)


def _of_row(row: Row, seed: int, place: Place) -> Iterator[Step]:
    if row.start:
        yield from list(_of_row(row.start, seed, place))[:-1]  # its training; its measurement is its own row's
    needs = (weights(row.start, seed, place),) if row.start else ()
    own, file = run_dir(row, seed, place), flagfile(place.dataset, row.flagfile)
    command = ["lrdnn_tf.train", f"--flagfile={file}", *shlex.split(row.flags)]
    command += [f"--run_dir={own}", f"--data_dir={place.data_dir}", f"--seed={seed}"]
    settings = [*effective([*read_flagfile(file), *shlex.split(row.flags)]), f"training images {place.images}"]
    if row.start:
        command.append(f"--start_from={run_dir(row.start, seed, place)}")
    if row.phase == "fusion":
        pose_dir = place.pose_dir or place.out_dir / "pose"
        if not place.pose_dir:
            yield _pretraining(pose_dir, place)
        settings.append(f"pose network {pose_dir}")
        if row.pose != "pose":
            yield _damage(row.pose, pose_dir, place)
            pose_dir = place.out_dir / row.pose
        needs += (pose_dir / WEIGHTS_FILE,)
        command.append(f"--pose_dir={pose_dir}")
    yield Step(f"{own.parent.name}_{own.name}", tuple(command), weights(row, seed, place), needs, tuple(settings), own)
    yield measurement(row, seed, place)


def _pretraining(pose_dir: pathlib.Path, place: Place) -> Step:
    file = flagfile(place.dataset, "pose")
    command = ("lrdnn_tf.pretrain_pose", f"--flagfile={file}", f"--run_dir={place.out_dir}")
    command += (f"--data_dir={place.pose_data_dir or 'POSE_DATASET'}",)
    return Step("pose", command, pose_dir / WEIGHTS_FILE, (), tuple(read_flagfile(file)), pose_dir)


def _damage(damage: str, pose_dir: pathlib.Path, place: Place) -> Step:
    out_dir = place.out_dir / damage
    command = ("experiments.damage_pose", f"--damage={damage}", f"--pose_dir={pose_dir}", f"--out_dir={out_dir}")
    settings = (f"--damage={damage}", f"pose network {pose_dir}")
    return Step(damage, command, out_dir / WEIGHTS_FILE, (pose_dir / WEIGHTS_FILE,), settings, out_dir)
