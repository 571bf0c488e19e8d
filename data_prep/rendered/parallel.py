"""Drawing on all cores. Every drawing carries its own seed, so the number of processes changes no byte."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import cv2
from tqdm import tqdm

Task = TypeVar("Task")
Result = TypeVar("Result")


def draw_all(
    draw: Callable[[Task], Result], tasks: Sequence[Task], description: str, workers: int | None = None
) -> Iterator[Result]:
    """Yields draw(task) for each task, in order, with a progress bar.

    Args:
        draw: a module-level function.
        workers: processes; None for one a core; 1 draws in this process.
    """
    workers = os.cpu_count() or 1 if workers is None else workers
    if workers == 1:
        yield from tqdm(map(draw, tasks), total=len(tasks), desc=description, unit="image", disable=None)
        return
    context = multiprocessing.get_context("spawn")  # forking is not safe once TensorFlow runs in this process
    with ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from tqdm(
            pool.map(draw, tasks, chunksize=8), total=len(tasks), desc=description, unit="image", disable=None
        )
