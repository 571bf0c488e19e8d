"""The command-line tool that all tables and studies share: flags in, one table out."""

import dataclasses
import os
import pathlib
import shlex
from collections.abc import Sequence

import tensorflow as tf
from absl import flags

from experiments.tables import page, plan, runner
from experiments.tables.measured import measured, merged, read_elsewhere
from experiments.tables.plan import Options
from experiments.tables.rows import OTHER, Table, chosen, without_attributes
from lrdnn_base import command
from lrdnn_base.errors import InputError
from lrdnn_tf.data.dataset import DESCRIPTION_FILE, read_dataset, training_images_hash
from pose_pretrain.network import load_pose_network
from pose_pretrain.pipeline import read_pose_dataset


def run(table: Table) -> None:
    """Defines the flags, reads them and makes the table."""
    command.define_flags(Options)
    flags.mark_flags_as_required(["dataset", "data_dir"])
    command.run(lambda: _main(table))


def _main(table: Table) -> None:
    options = Options(**command.read_flags(Options))
    if not options.dry_run:
        print(make(table, options, _visible(options.gpus.replace(",", " ").split(), options.jobs)))
        return
    table = _of_dataset(table, options)
    for step in plan.steps(chosen(table, options.rows), options.seed_list, options):
        print(f"{'# done: ' if plan.is_done(step) else ''}python -m {shlex.join(step.command)}")


def make(table: Table, options: Options, gpus: Sequence[str] = ()) -> pathlib.Path:
    """Trains and evaluates what is not done yet, and overwrites the page after each row and seed.

    Args:
        table: The table; its page holds all of its rows that are evaluated for any seed.
        options: Which rows and seeds are made, from what, and how; `images` is filled in.
        gpus: GPUs that the steps are distributed over, as CUDA_VISIBLE_DEVICES names them.

    Returns:
        Path of the page.

    Raises:
        InputError: A row, the dataset, a pose network or a CSV file is missing; a run was made with other settings; a
            step failed.
        Stopped: See runner.run.
    """
    table = _of_dataset(table, options)
    rows, dataset = chosen(table, options.rows), read_dataset(options.data_dir)
    if dataset.name != options.dataset:
        raise InputError(
            f"{options.data_dir} holds {dataset.name!r}, not {options.dataset!r}: "
            f"give another --data_dir, or convert it with --name={options.dataset}"
        )
    options = dataclasses.replace(options, images=training_images_hash(dataset))
    steps = plan.steps(rows, options.seed_list, options)
    if any(step.name == "pose" and not plan.is_done(step) for step in steps):
        if not options.pose_data_dir:
            raise InputError("fusions need a pose network: --pose_dir, or --pose_data_dir to train one on")
        read_pose_dataset(options.pose_data_dir)
    if options.pose_dir and any(map(plan.needs_pose_network, rows)):
        load_pose_network(options.pose_dir, None, None)  # raises if it cannot be used
    for row in (row for row in rows if row.pose == OTHER):
        if not options.other_pose_dir:
            raise InputError(f"row {row.name!r} needs --other_pose_dir: give it, or leave the row out with --rows")
        load_pose_network(options.other_pose_dir, None, None)
    runner.check_finished(plan.steps(table.rows, _all_seeds(options), options))
    elsewhere = read_elsewhere(options.measured_elsewhere, table.rows)  # before this call overwrites one of the files

    def write_page() -> pathlib.Path:
        lines = merged([measured(table.rows, _all_seeds(options), options), elsewhere], table.rows)
        return page.write(lines, table, options, command.command_line())

    runner.run(steps, write_page, options.jobs or max(1, len(gpus)), gpus)
    return write_page()


def _of_dataset(table: Table, options: Options) -> Table:
    """The table without attributes where the dataset has none; a dry run may name a dataset that is not there."""
    is_there = (pathlib.Path(options.data_dir) / DESCRIPTION_FILE).is_file()
    if is_there and not read_dataset(options.data_dir).attributes:
        return without_attributes(table)
    return table


def _all_seeds(options: Options) -> list[int]:
    """The given seeds, and those of earlier calls."""
    earlier = (folder.name.removeprefix("seed") for folder in options.runs.glob("seed*"))
    return sorted({*options.seed_list, *(int(seed) for seed in earlier if seed.isdecimal())})


def _visible(gpus: Sequence[str], jobs: int | None) -> list[str]:
    """The names of GPUs for CUDA_VISIBLE_DEVICES. This process itself uses none of them."""
    available = [str(number) for number in range(len(tf.config.list_physical_devices("GPU")))]
    tf.config.set_visible_devices([], "GPU")
    if unknown := [gpu for gpu in gpus if gpu not in available]:
        raise InputError(f"no GPU {', '.join(unknown)}: TensorFlow sees {', '.join(available) or 'none'}")
    if available and jobs and jobs > max(1, len(gpus)):
        raise InputError(f"--jobs={jobs} steps at a time need as many --gpus, of {', '.join(available)}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return [visible[int(gpu)] if len(visible) == len(available) else gpu for gpu in gpus]
