"""What the benchmarks share: time and memory of a call."""

import concurrent.futures
import multiprocessing
import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

Result = TypeVar("Result")


class Measured(NamedTuple):
    """A call in a process of its own: its time, the most memory that the process ever held, what it returned."""

    seconds: float
    peak_mb: float
    result: object


def timed(function: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def in_own_process(function: Callable, *arguments: object, prepare: Callable | None = None) -> Measured:
    """Runs function(*arguments) in a fresh process, so that the peak of its memory is its own.

    Args:
        function: Of a module, so that another process finds it.
        prepare: Makes the arguments of function in that process from `arguments`, outside of the time that counts.
    """
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, function, arguments, prepare).result()


def peak_mb() -> float:
    """Most memory in MB that this process held so far. Linux; `getrusage` would count the parent's memory, too."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _measured(function: Callable, arguments: tuple, prepare: Callable | None) -> Measured:
    if prepare is not None:
        arguments = (prepare(*arguments),)
    seconds, result = timed(lambda: function(*arguments))
    return Measured(seconds, peak_mb(), result)
