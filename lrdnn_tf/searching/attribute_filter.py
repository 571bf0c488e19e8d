"""Conditions on attributes in words, such as upper_colour=red, as the tasks and classes of a model."""

from collections.abc import Sequence

import numpy as np

from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import AttributeTask


def parse_where(conditions: Sequence[str], tasks: Sequence[AttributeTask]) -> dict[int, int]:
    """The conditions as numbers of tasks and classes.

    Args:
        conditions: Strings "TASK=CLASS", in the words of the model.
        tasks: The attribute tasks of the model.

    Returns:
        The wanted class by task, both as numbers from 0.

    Raises:
        InputError: A word that the model does not know (the message lists the known ones), or a task named twice.
    """
    numbers = {task.name: number for number, task in enumerate(tasks)}
    if conditions and not tasks:
        raise InputError("--where: this model knows no attributes; export the attributes or the fusion phase")
    wanted: dict[int, int] = {}
    for condition in conditions:
        name, equals, word = (part.strip() for part in condition.partition("="))
        if not equals or name not in numbers:
            raise InputError(
                f"--where: {condition!r} is not an ATTRIBUTE=VALUE of this model, which knows {_words(tasks)}"
            )
        task = tasks[numbers[name]]
        if word not in task.classes:
            raise InputError(f"--where: {name} cannot be {word!r}, only {', '.join(task.classes)}")
        if numbers[name] in wanted:
            raise InputError(f"--where: {name} is given twice; an image has one value of it")
        wanted[numbers[name]] = task.classes.index(word)
    return wanted


def matching(wanted: dict[int, int], classes: np.ndarray) -> np.ndarray:
    """Which images have all classes that `parse_where` returned: bool [n].

    Args:
        wanted: The class by task.
        classes: int [n, tasks], the most likely class of each task.
    """
    mask = np.ones(len(classes), bool)
    for task, class_ in wanted.items():
        mask &= classes[:, task] == class_
    return mask


def probability(wanted: dict[int, int], scores: np.ndarray) -> np.ndarray:
    """The probability that a matching image has all wanted classes, if attributes were independent: float32 [n].

    Args:
        wanted: The class by task.
        scores: float32 [n, tasks], the probability of the most likely class of each task.
    """
    return np.prod(scores[:, list(wanted)], axis=1, dtype=np.float32)


def _words(tasks: Sequence[AttributeTask]) -> str:
    return "; ".join(f"{task.name}={'|'.join(task.classes)}" for task in tasks)
