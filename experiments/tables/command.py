"""What the binaries of all tables and studies share: flags in, one table out."""

import os
import pathlib
import shlex
from collections.abc import Sequence

import tensorflow as tf
from absl import flags

from experiments.tables import board, page, plan, runner
from experiments.tables.plan import Place, Step
from experiments.tables.rows import DATASETS, Row, Table, chosen
from lrdnn_base import command
from lrdnn_base.errors import InputError
from lrdnn_tf.data.dataset import read_dataset, training_images_hash
from pose_pretrain.pipeline import read_pose_dataset


def run(table: Table) -> None:
    """Declares the flags, reads them and makes the table."""
    flags.DEFINE_enum("dataset", None, DATASETS, "Whose flag files: experiments/paper/DATASET/.")
    flags.DEFINE_string("data_dir", None, "That dataset, as data_prep converted it.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of the trainings.")
    flags.DEFINE_list("rows", None, f"Rows to make, of {', '.join(row.name for row in table.rows)}. Default: all.")
    flags.DEFINE_string("out_dir", None, "Gets the runs; tables share theirs. Default: runs/paper/DATASET.")
    flags.DEFINE_string("pose_dir", None, "A trained pose network, such as runs/NAME/pose.")
    flags.DEFINE_string("pose_data_dir", None, "Without --pose_dir: the pose dataset that one is trained on.")
    flags.DEFINE_string("results_dir", "experiments/results", "Gets the page, the CSV file and the plot.")
    flags.DEFINE_integer("jobs", None, "Steps at a time. Default: one, or one for each of --gpus.", lower_bound=1)
    flags.DEFINE_list("gpus", [], "GPUs to spread the steps over, such as 0,1,2,3.")
    flags.DEFINE_bool("dry_run", False, "Only print the commands.")
    flags.mark_flags_as_required(["dataset", "data_dir"])
    command.run(lambda: _main(table))


def _main(table: Table) -> None:
    args = flags.FLAGS
    rows, seeds = chosen(table, args.rows), _seeds(args.seeds)
    place = Place(
        args.dataset,
        args.data_dir,
        pathlib.Path(args.out_dir or f"runs/paper/{args.dataset}"),
        args.pose_dir and pathlib.Path(args.pose_dir),
        args.pose_data_dir,
    )
    if args.dry_run:
        for step in plan.steps(rows, seeds, place):
            print(f"{'# done: ' if plan.is_done(step) else ''}python -m {shlex.join(step.command)}")
        return
    gpus = _gpus(args.gpus, args.jobs)
    page_file = make(table, rows, seeds, place, pathlib.Path(args.results_dir), args.jobs or max(1, len(gpus)), gpus)
    print(f"{page_file}\ntensorboard --logdir={place.out_dir / board.FOLDER}")


def make(
    table: Table,
    rows: Sequence[Row],
    seeds: Sequence[int],
    place: Place,
    results_dir: pathlib.Path,
    jobs: int = 1,
    gpus: Sequence[str] = (),
) -> pathlib.Path:
    """Trains and measures what is not done yet; writes the page and HParams, anew after each row and seed.

    Args:
        table: Whose page; it holds all of its rows that are measured for any seed.
        rows, seeds: What to train and measure.
        place: Where the runs are and what they are made from; its `images` are filled in.
        results_dir: Gets the page, the CSV file and the plot.
        jobs, gpus: See runner.run.

    Returns:
        The page.

    Raises:
        InputError, Stopped: See runner.run and runner.check_finished; or a dataset that is none, or another one.
    """
    place = place._replace(images=_training_images(place))
    logs, started_by = place.out_dir / "logs", command.command_line()
    steps = plan.steps(rows, seeds, place)
    if any(step.name == "pose" and not plan.is_done(step) for step in steps):
        if not place.pose_data_dir:
            raise InputError("fusions need a pose network: --pose_dir, or --pose_data_dir to train one on")
        read_pose_dataset(place.pose_data_dir)
    runner.check_needs(steps)
    results_dir.mkdir(parents=True, exist_ok=True)

    def report(step: Step | None = None) -> pathlib.Path | None:
        if step and step.done.name != plan.SUMMARY:
            return None
        measured = page.measured(table.rows, _seeds_there(seeds, place), place)
        board.write(measured, table, place)
        return page.write(measured, table, place, results_dir, started_by)

    runner.check_finished(plan.steps(table.rows, _seeds_there(seeds, place), place), logs)
    runner.run(steps, logs, report, jobs, gpus)
    return report()


def _training_images(place: Place) -> str:
    dataset = read_dataset(place.data_dir)
    if dataset.name != place.dataset:
        raise InputError(
            f"{place.data_dir} holds {dataset.name!r}, not {place.dataset!r}: "
            f"give another --data_dir, or convert it with --name={place.dataset}"
        )
    return training_images_hash(dataset)


def _seeds_there(seeds: Sequence[int], place: Place) -> list[int]:
    """The seeds asked for, and those that earlier calls were."""
    there = (folder.name.removeprefix("seed") for folder in place.out_dir.glob("seed*"))
    return sorted({*seeds, *(int(seed) for seed in there if seed.isdecimal())})


def _seeds(texts: list[str]) -> list[int]:
    if not texts or not all(text.isdecimal() for text in texts):
        raise InputError(f"--seeds={','.join(texts)}: expected whole numbers, such as 0,1,2")
    return list(dict.fromkeys(int(text) for text in texts))


def _gpus(chosen_gpus: list[str], jobs: int | None) -> list[str]:
    """The names of GPUs for CUDA_VISIBLE_DEVICES. This process itself leaves all of them alone."""
    there = [str(number) for number in range(len(tf.config.list_physical_devices("GPU")))]
    tf.config.set_visible_devices([], "GPU")
    if unknown := [gpu for gpu in chosen_gpus if gpu not in there]:
        raise InputError(f"no GPU {', '.join(unknown)}: TensorFlow sees {', '.join(there) or 'none'}")
    if there and jobs and jobs > max(1, len(chosen_gpus)):
        raise InputError(f"--jobs={jobs} steps at a time need as many --gpus, of {', '.join(there)}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return [visible[int(gpu)] if len(visible) == len(there) else gpu for gpu in chosen_gpus]
