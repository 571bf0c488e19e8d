"""Runs every benchmark of this folder in turn and writes experiments/results/benchmarks.md.

python -m experiments.benchmarks [--only=ranking,reranking]
"""

import json
import os
import pathlib
import pkgutil
import platform
import subprocess
import sys

import pandas as pd
from absl import flags

from experiments import benchmarks
from lrdnn_base import command
from lrdnn_base.errors import InputError

RESULTS = pathlib.Path("experiments/results/benchmarks.md")


def names() -> list[str]:
    """Every module of this folder is a benchmark."""
    return [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "__main__"]


def run_one(name: str) -> dict:
    """Runs a benchmark in a process of its own and returns the JSON of its last line.

    Raises:
        InputError: It failed; its own output stands above.
    """
    command = [sys.executable, "-m", f"experiments.benchmarks.{name}"]
    print(f"\npython {' '.join(command[1:])}", flush=True)
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print(finished.stdout, end="", flush=True)
    if finished.returncode:
        raise InputError(f"the benchmark {name} failed")
    return json.loads(finished.stdout.splitlines()[-1])


def page(results: list[dict]) -> str:
    """The results as Markdown: the figures that all benchmarks share, and below what else each says."""
    shared = ["ours_s", "reference_s", "speedup", "peak_mb"]
    lines = [
        "# Benchmarks",
        "",
        "Printed by `make bench`; medians of several runs, ours and the reference in turn; a dash where no reference",
        "fits into the memory of a small machine.",
        "",
    ]
    lines += [f"Machine: {os.cpu_count()} CPU cores, {platform.machine()}, Python {platform.python_version()}.", ""]
    lines += ["| benchmark | ours | reference | reference / ours | peak memory |", "|---|---|---|---|---|"]
    for result in results:
        ours, reference, speedup, peak = (result[key] for key in shared)
        beside = "- | -" if reference is None else f"{reference:.3g} s | {speedup:.1f}"
        lines.append(f"| {result['benchmark']} | {ours:.3g} s | {beside} | {peak:,.0f} MB |")
    for result in results:
        rest = pd.Series(result).drop(["benchmark", *shared])
        lines += [
            "",
            f"**{result['benchmark']}**: " + ", ".join(f"{key} {_text(value)}" for key, value in rest.items()),
        ]
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    chosen = flags.FLAGS.only or names()
    if unknown := set(chosen) - set(names()):
        raise InputError(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(names())}")
    text = page([run_one(name) for name in chosen])
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(text)
    print(f"\nwrote {RESULTS}")


if __name__ == "__main__":
    flags.DEFINE_list("only", None, "Benchmarks to run, separated by commas. Default: all.")
    command.run(main)
