"""What the binaries of all tables and studies share: flags in, one table out."""

import pathlib
import shlex
import sys

from absl import flags

from experiments.tables import board, page, plan, runner
from experiments.tables.rows import DATASETS, Table, chosen
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
    place = plan.Place(
        args.dataset,
        args.data_dir,
        pathlib.Path(args.out_dir or f"runs/paper/{args.dataset}"),
        args.pose_dir and pathlib.Path(args.pose_dir),
        args.pose_data_dir,
    )
    steps = plan.steps(rows, seeds, place)
    if args.dry_run:
        for step in steps:
            print(f"{'# done: ' if runner.is_done(step) else ''}python -m {shlex.join(step.command)}")
        return
    read_dataset(place.data_dir)  # rather one clear line now than one from each row
    results, command = pathlib.Path(args.results_dir), shlex.join(["python", *sys.orig_argv[1:]])

    def report(step: plan.Step | None = None) -> pathlib.Path | None:
        if step is not None and step.done.name != plan.SUMMARY:
            return None
        lines = page.measured(rows, seeds, place).set_index(["row", "seed"])
        for row in rows:
            for seed in seeds:
                if step is not None and plan.summary(row, seed, place) == step.done:
                    board.enter(row, seed, place, lines.loc[(row.name, seed)])
        return page.write(table, rows, seeds, place, results, command)

    runner.run(steps, place.out_dir / "logs", report, args.jobs or max(1, len(args.gpus)), args.gpus)
    print(f"{report()}\ntensorboard --logdir={place.out_dir / 'hparams'}")


def _seeds(texts: list[str]) -> list[int]:
    if not texts or not all(text.isdecimal() for text in texts):
        raise InputError(f"--seeds={','.join(texts)}: expected whole numbers, such as 0,1,2")
    return [int(text) for text in texts]
