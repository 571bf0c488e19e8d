"""Drawing in several processes. Every drawing has its own seed, so that results do not depend on their number."""

import functools
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
        draw: A function that can be pickled.
        tasks: Its arguments.
        description: Title of the progress bar.
        workers: Processes; one per CPU core when None; 1 draws in this process.
    """
    workers = os.cpu_count() or 1 if workers is None else workers
    bar = functools.partial(tqdm, total=len(tasks), desc=description, unit="image", disable=None)
    if workers == 1:
        yield from bar(map(draw, tasks))
        return
    context = multiprocessing.get_context("spawn")  # forking is not safe after TensorFlow has started threads
    with ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from bar(pool.map(draw, tasks, chunksize=8))
