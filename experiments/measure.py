"""Time and memory of function calls."""

import itertools
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

Result = TypeVar("Result")


def timed(function: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def consume(batches: Iterator, count: int) -> None:
    """Takes `count` batches from an input pipeline and drops them."""
    for _ in itertools.islice(batches, count):
        pass


def peak_mb() -> float:
    """Peak memory of this process so far, in MB. Linux only; `getrusage` would count the parent's memory, too."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
