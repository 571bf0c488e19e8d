"""The paper's ablation, row by row and seed by seed: python -m experiments.ablation --data_dir=... --pose_dir=...

Every step is a command that a person could type; --dry_run prints them all. What is done is skipped, so that the same
command goes on after a kill. It ends in a Markdown page and a CSV file with rank-1 and mAP of every row and seed.

Later phases train longer than the ones before; the rows "trained on" are controls that train as long without the
new letter, at the same rates.
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd
from absl import flags
from tqdm import tqdm

from lrdnn_tf import binary
from pose_pretrain.errors import InputError
from pose_pretrain.training_files import WEIGHTS_FILE


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        folder: Of its run, under the folder of its seed.
        phase: What is measured.
        needs: The row whose run the phase starts from.
        trained_on: Whether it trains for the epochs of a fusion on top of its own.
        flags: Of its training.
    """

    folder: str
    phase: str
    needs: str | None = None
    trained_on: bool = False
    flags: str = ""


ROWS = {
    "B": Row("base", "identity"),
    "B, trained on as long as B+A": Row("b_as_b_a", "attributes", "B", flags="--attribute_weight=0"),
    "B, trained on as long as LRDNN": Row("b_as_lrdnn", "attributes", "B", True, "--attribute_weight=0"),
    "B+A": Row("base", "attributes", "B"),
    "B+A, trained on as long as LRDNN": Row("b_a_as_lrdnn", "attributes", "B", True),
    "B+A+H": Row("b_a_h", "fusion", "B+A", flags="--pose_maps=confidence"),
    "B+A+C": Row("b_a_c", "fusion", "B+A", flags="--pose_maps=affinity"),
    "B+A+H+C without channel parsing": Row("b_a_h_c", "fusion", "B+A", flags="--nochannel_parse"),
    "B+A+H+C (LRDNN)": Row("lrdnn", "fusion", "B+A"),
}


# What the mAP of a row is set against in the page, each within its seed.
COMPARED = {
    "B, trained on as long as B+A": ("B",),
    "B, trained on as long as LRDNN": ("B",),
    "B+A": ("B", "B, trained on as long as B+A"),
    "B+A, trained on as long as LRDNN": ("B, trained on as long as LRDNN", "B+A"),
    "B+A+H": ("B+A", "B+A, trained on as long as LRDNN"),
    "B+A+C": ("B+A", "B+A, trained on as long as LRDNN"),
    "B+A+H+C without channel parsing": ("B+A", "B+A, trained on as long as LRDNN"),
    "B+A+H+C (LRDNN)": ("B", "B+A", "B+A, trained on as long as LRDNN", "B+A+H+C without channel parsing"),
}


class Settings(NamedTuple):
    """What all rows share.

    Attributes:
        data_dir: The dataset.
        pose_dir: The pretrained pose network.
        out_dir: Holds a folder per seed, with a run per row and its reports.
        epochs: Of identity, attributes and fusion.
        identity_flags, later_flags, fusion_flags: Of the training of the first phase, of both others, of fusion.
    """

    data_dir: str
    pose_dir: str
    out_dir: str
    epochs: tuple[int, int, int]
    identity_flags: str
    later_flags: str
    fusion_flags: str


def commands(name: str, seed: int, settings: Settings) -> Iterator[tuple[pathlib.Path, str]]:
    """For each step of a row: the file that is there once it is done, and its command."""
    row = ROWS[name]
    if row.needs:
        yield from list(commands(row.needs, seed, settings))[:-1]  # its training; its report is its own row's
    run_dir = _run_dir(row, seed, settings)
    yield run_dir / row.phase / WEIGHTS_FILE, _train(row, seed, settings)
    report_dir = run_dir / f"report_{row.phase}"
    evaluate = f"lrdnn_tf.evaluate --run_dir={run_dir} --data_dir={settings.data_dir} --phases={row.phase}"
    yield report_dir / "summary.json", f"{evaluate} --report_dir={report_dir}"


def _run_dir(row: Row, seed: int, settings: Settings) -> pathlib.Path:
    return pathlib.Path(settings.out_dir) / f"seed{seed}" / row.folder


def _train(row: Row, seed: int, settings: Settings) -> str:
    of_phase = dict(zip(("identity", "attributes", "fusion"), settings.epochs, strict=True))
    epochs = of_phase[row.phase] + (of_phase["fusion"] if row.trained_on else 0)
    run_dir = _run_dir(row, seed, settings)
    parts = ["lrdnn_tf.train", f"--phase={row.phase}", f"--run_dir={run_dir}", f"--data_dir={settings.data_dir}"]
    if row.needs and (start := _run_dir(ROWS[row.needs], seed, settings)) != run_dir:
        parts.append(f"--start_from={start}")
    if row.phase == "fusion":
        parts += [f"--pose_dir={settings.pose_dir}", settings.fusion_flags]
    parts += [settings.later_flags if row.needs else settings.identity_flags, row.flags]
    return " ".join(part for part in [*parts, f"--epochs={epochs}", f"--seed={seed}"] if part)


def run(names: Sequence[str], seeds: Sequence[int], settings: Settings, results: str, dry_run: bool) -> None:
    """Does what is not done yet, seed by seed, and writes RESULTS.md and RESULTS.csv after each row.

    Raises:
        InputError: No such row, or a command failed; its own message stands above.
    """
    if unknown := set(names) - set(ROWS):
        raise InputError(f"no row {', '.join(sorted(unknown))}: there are {'; '.join(ROWS)}")
    for name, seed in tqdm([(name, seed) for seed in seeds for name in names], desc="ablation", unit="row"):
        for done, command in commands(name, seed, settings):
            if done.is_file():
                continue
            print(f"\npython -m {command}", flush=True)
            if not dry_run and subprocess.run([sys.executable, "-m", *shlex.split(command)]).returncode:
                raise InputError(f"the ablation stopped at: python -m {command}")
        if not dry_run:
            write_page(names, seeds, settings, results)


def write_page(names: Sequence[str], seeds: Sequence[int], settings: Settings, results: str) -> None:
    """RESULTS.csv, a line per row and seed, and RESULTS.md with means and spreads, of what is measured so far."""
    table = measured(names, seeds, settings)
    os.makedirs(os.path.dirname(results) or ".", exist_ok=True)
    table.to_csv(f"{results}.csv", index=False, float_format="%.2f")
    pathlib.Path(f"{results}.md").write_text(page(table, settings))


def measured(names: Sequence[str], seeds: Sequence[int], settings: Settings) -> pd.DataFrame:
    """row, seed, rank-1, mAP, mAP re-ranked and attribute accuracy in percent, for each report that is there."""
    lines = []
    for name in sorted(names, key=list(ROWS).index):
        for seed in seeds:
            *_, (summary, _) = commands(name, seed, settings)
            if summary.is_file():
                scores = json.loads(summary.read_text())["phases"][ROWS[name].phase]
                columns = {
                    "rank-1": "rank1",
                    "mAP": "mAP",
                    "mAP re-ranked": "mAP_reranked",
                    "attributes": "mean_attribute_accuracy",
                }
                values = {column: scores[key] for column, key in columns.items()}
                lines.append(
                    {"row": name, "seed": seed} | {c: None if v is None else 100 * v for c, v in values.items()}
                )
    return pd.DataFrame(lines, columns=["row", "seed", "rank-1", "mAP", "mAP re-ranked", "attributes"])


def page(table: pd.DataFrame, settings: Settings) -> str:
    """The Markdown page: mean and sample standard deviation over the seeds, and differences within a seed."""
    scores = ["rank-1", "mAP", "mAP re-ranked", "attributes"]
    rows = list(dict.fromkeys(table["row"]))
    lines = ["# Ablation", "", f"Printed by `{_command()}`.", ""]
    lines += ['In percent, mean ± standard deviation over the seeds. The attributes of a row "B" are not trained.', ""]
    lines += ["| row | seeds | " + " | ".join(scores) + " |", "|---" * (2 + len(scores)) + "|"]
    for row in rows:
        of_row = table[table["row"] == row]
        blank = row.startswith("B,") or row == "B"
        cells = ["-" if blank and score == "attributes" else _mean_and_spread(of_row[score]) for score in scores]
        lines.append(f"| {row} | {len(of_row)} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "How much more mAP than another row, within a seed:",
        "",
        "| | difference | each seed |",
        "|---|---|---|",
    ]
    by_seed = table.pivot(index="seed", columns="row", values="mAP")
    for row in rows[1:]:
        for other in [name for name in rows[: rows.index(row)] if name in COMPARED.get(row, ())]:
            difference = (by_seed[row] - by_seed[other]).dropna()
            each = ", ".join(f"{value:+.1f}" for value in difference)
            lines.append(f"| {row} − {other} | {_mean_and_spread(difference)} | {each} |")
    seed = int(table["seed"].min())
    lines += ["", f"The commands of seed {seed}:", "", "```bash"]
    shown = dict.fromkeys(command for row in rows for _, command in commands(row, seed, settings))
    lines += [f"python -m {command}" for command in shown]
    return "\n".join([*lines, "```", ""])


def _mean_and_spread(values: pd.Series) -> str:
    if not len(values):
        return "-"
    return f"{values.mean():.1f}" + (f" ± {values.std():.1f}" if len(values) > 1 else "")


def _command() -> str:
    return shlex.join(["python", *sys.orig_argv[1:]])


def main() -> None:
    args = flags.FLAGS
    settings = Settings(
        args.data_dir,
        args.pose_dir,
        args.out_dir,
        tuple(int(epochs) for epochs in args.epochs),
        args.identity_flags,
        args.later_flags,
        args.fusion_flags,
    )
    seeds = [int(seed) for seed in args.seeds]
    run(args.rows, seeds, settings, args.results, args.dry_run)
    if not args.dry_run:
        print(pathlib.Path(f"{args.results}.md").read_text())


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", None, "A dataset that data_prep converted.")
    flags.DEFINE_string("pose_dir", None, "The pose network that all rows start from, such as runs/NAME/pose.")
    flags.DEFINE_string("out_dir", "runs/ablation", "Gets a folder per seed, with a run per row.")
    flags.DEFINE_string(
        "results", "experiments/results/ablation", "Of the page and the CSV file, without their ending."
    )
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of the training.")
    flags.DEFINE_multi_string("rows", list(ROWS), "Rows to train and measure; may be given several times.")
    flags.DEFINE_list("epochs", ["30", "15", "12"], "Epochs of identity, attributes and fusion.")
    flags.DEFINE_string(
        "identity_flags", "--backbone=small --height=128 --width=64 --learning_rate=1e-3", "Of the first phase."
    )
    flags.DEFINE_string("later_flags", "", "Of the phases after it.")
    flags.DEFINE_string("fusion_flags", "--bilinear_dim=2048 --bilinear_method=outer_product", "Of the last one.")
    flags.DEFINE_bool("dry_run", False, "Only print the commands.")
    flags.mark_flags_as_required(["data_dir", "pose_dir"])
    binary.run(main)
