"""Runs the benchmarks one after the other and writes experiments/results/benchmarks.md.

python -m experiments.benchmarks [--only=ranking,reranking]
"""

import json
import os
import pathlib
import platform
import subprocess
import sys

from absl import flags

from experiments.benchmarks.compare import format_value
from lrdnn_base import command
from lrdnn_base.errors import InputError
from lrdnn_base.files import write_text

RESULTS = pathlib.Path("experiments/results/benchmarks.md")
BENCHMARKS = (
    "backbones", "compact_bilinear", "conversion", "growth", "input_pipeline", "msmt17", "pose_pipeline", "ranking",
    "reranking", "search", "serving", "training",
)  # fmt: skip
_HEAD = """# Benchmarks

Written by `make bench`. Times are medians over several runs in which our implementation and the reference alternate. A
dash means that no reference fits into the memory of a small machine. Peak memory is that of the process that runs ours.
"""
_COLUMNS = ("ours_s", "reference_s", "speedup", "peak_mb")  # of the table; all other figures follow below it


def run_one(name: str) -> dict:
    """Runs a benchmark in a process of its own and returns the JSON of its last line.

    Raises:
        InputError: The benchmark failed; its output is above the message.
    """
    arguments = [sys.executable, "-m", f"experiments.benchmarks.{name}"]
    print(f"\npython {' '.join(arguments[1:])}", flush=True)
    finished = subprocess.run(arguments, stdout=subprocess.PIPE, text=True)
    print(finished.stdout, end="", flush=True)
    if finished.returncode:
        raise InputError(f"the benchmark {name} failed")
    return json.loads(finished.stdout.splitlines()[-1])


def page(results: list[dict]) -> str:
    """The results as Markdown: a table of the figures that all benchmarks share, then the others of each."""
    machine = f"Machine: {os.cpu_count()} CPU cores, {platform.machine()}, Python {platform.python_version()}."
    lines = [_HEAD, machine, "", "| benchmark | ours | reference | reference / ours | peak memory |"]
    lines.append("|---|---|---|---|---|")
    for result in results:
        ours, reference, speedup, peak = (result[key] for key in _COLUMNS)
        compared = "- | -" if reference is None else f"{reference:.3g} s | {speedup:.1f}"
        lines.append(f"| {result['benchmark']} | {ours:.3g} s | {compared} | {peak:,.0f} MB |")
    for result in results:
        others = {key: value for key, value in result.items() if key not in ("benchmark", *_COLUMNS)}
        figures = ", ".join(f"{key} {format_value(value)}" for key, value in others.items())
        lines += ["", f"**{result['benchmark']}**: {figures}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    chosen = flags.FLAGS.only or BENCHMARKS
    if unknown := set(chosen) - set(BENCHMARKS):
        raise InputError(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(BENCHMARKS)}")
    text = page([run_one(name) for name in chosen])
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    write_text(RESULTS, text)
    print(f"\nwrote {RESULTS}")


if __name__ == "__main__":
    flags.DEFINE_list("only", None, "Benchmarks to run, separated by commas. Default: all.")
    command.run(main)
