"""`compare` times an implementation and a reference in turn; each benchmark of this folder is built around one call."""

import contextlib
import dataclasses
import json
import multiprocessing
import statistics
from collections.abc import Callable, Mapping
from multiprocessing.managers import BaseManager
from typing import Any

from experiments.measure import peak_mb, timed

Prepare = Callable[[], Callable[[], Any]]
OURS, REFERENCE = "ours", "reference"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Figures of one run. The keys are "ours", "reference" if there is one, and the names of the other variants.

    Attributes:
        name: Name of the benchmark.
        seconds: Seconds of every timed call.
        peaks_mb: Peak memory in MB of the process that ran a variant, preparation included; without `own_processes`
            only that of `ours`, before other variants are prepared.
        results: What the last call returned.
    """

    name: str
    seconds: Mapping[str, list[float]]
    peaks_mb: Mapping[str, float]
    results: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def median(self, variant: str) -> float | None:
        """Median of the seconds of a variant; None if there is no such variant."""
        return statistics.median(self.seconds[variant]) if variant in self.seconds else None

    def report(self, **details: Any) -> dict[str, Any]:
        """Prints every figure on a line, then all of them as one line of JSON, and returns them.

        Args:
            details: Sizes and further figures, which take precedence over figures of the same name.
        """
        ours, reference = self.median(OURS), self.median(REFERENCE)
        speedup = reference and reference / ours
        result = {"benchmark": self.name, "ours_s": ours, "reference_s": reference, "speedup": speedup}
        result["peak_mb"] = self.peaks_mb[OURS]
        for variant in self.seconds:
            if variant not in (OURS, REFERENCE):
                result[f"{variant}_s"] = self.median(variant)
                if reference:
                    result[f"{variant}_speedup"] = reference / self.median(variant)
        result |= {f"{variant}_peak_mb": peak for variant, peak in self.peaks_mb.items() if variant != OURS}
        result |= details
        for key, value in result.items():
            print(f"  {key:32} {format_value(value)}")
        print(json.dumps(result))
        return result


def compare(
    name: str,
    ours: Prepare,
    reference: Prepare | None = None,
    others: Mapping[str, Prepare] | None = None,
    *,
    repeats: int = 1,
    reference_repeats: int | None = None,
    warm_up: int = 0,
    own_processes: bool = False,
) -> Comparison:
    """Times all variants in turn, `repeats` times, so that their ratio holds on a machine with other work, too.

    Args:
        name: Name of the benchmark.
        ours, reference, others: Each prepares a variant, which is not timed, and returns the function to time.
        repeats: Timed calls of each variant.
        reference_repeats: Timed calls of the reference, where they differ from those of the other variants.
        warm_up: Calls of each variant before those that are timed.
        own_processes: Prepares and calls each variant in a new process, so that the peak of memory is its own. The
            preparing functions and the results must then be picklable. TensorFlow's memory counts only where the
            module of the preparing function imports it.
    """
    prepares = {OURS: ours, **(others or {})} | ({REFERENCE: reference} if reference else {})
    counts = dict.fromkeys(prepares, repeats) | ({REFERENCE: reference_repeats} if reference_repeats else {})
    seconds: dict[str, list[float]] = {name: [] for name in prepares}
    peaks: dict[str, float] = {}
    with contextlib.ExitStack() as processes:
        variants = {
            name: processes.enter_context(_Process(ctx=multiprocessing.get_context("spawn"))).Variant(prepare)
            if own_processes
            else _Variant(prepare)
            for name, prepare in prepares.items()
        }
        for turn in range(-warm_up, max(counts.values())):
            for variant in (name for name, count in counts.items() if turn < count):
                time, peak = variants[variant].call()
                if turn >= 0:
                    seconds[variant].append(time)
                if own_processes or not peaks:
                    peaks[variant] = peak
        results = {name: variant.result() for name, variant in variants.items()}
    return Comparison(name, seconds, peaks, results)


class _Variant:
    """A function to time. It is prepared at the first call, when variants before it have been called."""

    def __init__(self, prepare: Prepare):
        self._prepare = prepare
        self._function = self._result = None

    def call(self) -> tuple[float, float]:
        """Seconds of one call, and the peak memory of the process so far in MB."""
        self._function = self._function or self._prepare()
        self._result = None  # the previous result must not count as memory of this call
        seconds, self._result = timed(self._function)
        return seconds, peak_mb()

    def result(self) -> Any:
        """What the last call returned."""
        return self._result


class _Process(BaseManager):
    """A process of its own in which a variant runs."""


_Process.register("Variant", _Variant)


def run_as_command(run_benchmark: Callable[[], Any]) -> None:
    """Main function of a benchmark without flags."""
    from lrdnn_base import command  # imports TensorFlow, which would count as memory of `own_processes`

    command.run(run_benchmark)


def format_value(value: Any) -> str:
    """A figure for people: floats with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
