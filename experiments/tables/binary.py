"""What the binaries of all tables and studies share: flags in, one table out."""

import pathlib
import shlex
import sys
from collections.abc import Sequence

from absl import flags

from experiments.tables import board, page, plan, runner
from experiments.tables.plan import Place, Step
from experiments.tables.rows import DATASETS, Row, Table, chosen
from lrdnn_tf import binary
from lrdnn_tf.data.dataset import read_dataset
from pose_pretrain.errors import InputError


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
    binary.run(lambda: _main(table))


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
            print(f"{'# done: ' if runner.is_done(step) else ''}python -m {shlex.join(step.command)}")
        return
    read_dataset(place.data_dir)  # rather one clear line now than one from each row
    jobs = args.jobs or max(1, len(args.gpus))
    print(make(table, rows, seeds, place, pathlib.Path(args.results_dir), jobs, args.gpus))
    print(f"tensorboard --logdir={place.out_dir / board.FOLDER}")


def make(
    table: Table,
    rows: Sequence[Row],
    seeds: Sequence[int],
    place: Place,
    results_dir: pathlib.Path,
    jobs: int = 1,
    gpus: Sequence[str] = (),
) -> pathlib.Path:
    """Trains and measures what is not done yet, and writes the page, anew after each row and seed.

    Args:
        table: Whose page.
        rows, seeds: Which of its rows, for which seeds.
        place: Where the runs are and what they are made from.
        results_dir: Gets the page, the CSV file and the plot.
        jobs, gpus: See runner.run.

    Returns:
        The page.

    Raises:
        InputError, Stopped: See runner.run.
    """

    def report() -> pathlib.Path:
        command = shlex.join(["python", *sys.orig_argv[1:]])
        return page.write(table, rows, seeds, place, results_dir, command)

    def after(step: Step) -> None:
        if step.done.name == plan.SUMMARY:
            report()

    runner.run(plan.steps(rows, seeds, place), place.out_dir / "logs", after, jobs, gpus)
    board.write(page.measured(rows, seeds, place), rows, place)
    return report()


def _seeds(texts: list[str]) -> list[int]:
    if not texts or not all(text.isdecimal() for text in texts):
        raise InputError(f"--seeds={','.join(texts)}: expected whole numbers, such as 0,1,2")
    return [int(text) for text in texts]
