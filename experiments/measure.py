"""Time and memory of a call, for the benchmarks."""

import concurrent.futures
import multiprocessing
import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

Result = TypeVar("Result")


class Measured(NamedTuple):
    """A call in a process of its own: its duration, the peak memory of that process, and the returned value."""

    seconds: float
    peak_mb: float
    result: object


def timed(function: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds that a call takes, and the returned value."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def in_own_process(function: Callable, *arguments: object, prepare: Callable | None = None) -> Measured:
    """Runs function(*arguments) in a new process, so that the peak memory is that of the call alone.

    Args:
        function: A function of a module, so that another process can import it.
        arguments: Its arguments, or those of `prepare`.
        prepare: Makes the single argument of `function` from `arguments` in that process; its time is not counted.
    """
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, function, arguments, prepare).result()


def peak_mb() -> float:
    """Peak memory of this process so far, in MB. Linux only; `getrusage` would include the parent's memory."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _measured(function: Callable, arguments: tuple, prepare: Callable | None) -> Measured:
    if prepare is not None:
        arguments = (prepare(*arguments),)
    seconds, result = timed(lambda: function(*arguments))
    return Measured(seconds, peak_mb(), result)
