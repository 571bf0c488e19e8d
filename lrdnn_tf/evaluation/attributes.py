"""Accuracy of attribute recognition per task, by the rule of the Market-1501 attribute benchmark."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import UNKNOWN, AttributeTask


def attribute_table(
    tasks: Sequence[AttributeTask], labels: pd.DataFrame, predictions: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Accuracy of every task over the gallery images of real people.

    The rule of Lin et al. (2017) counts images of identities above 0, so neither junk nor distractors: 13,115 images
    of Market-1501. Images whose label is unknown do not count for that task.

    Args:
        tasks: The tasks to score.
        labels: A row per image with the columns "identity" and, for each task, its class indices.
        predictions: Class indices per task, int [images].

    Returns:
        A row per task: task, classes (count), images (with a known label), most_common (share of the most common
        class, the accuracy of a constant answer), accuracy, balanced_accuracy (mean recall of the classes that occur).
        NaN where no label is known.

    Raises:
        InputError: A task has no labels or no predictions, or their lengths differ.
    """
    people = labels["identity"].to_numpy() > 0
    rows = []
    for task in tasks:
        if task.name not in labels or task.name not in predictions:
            what = "labels" if task.name not in labels else "predictions"
            raise InputError(f"{what}: the task {task.name!r} is missing")
        predicted = np.asarray(predictions[task.name])
        if len(predicted) != len(labels):
            raise InputError(f"predictions: {len(predicted)} of {task.name!r} for {len(labels)} images")
        truth = labels[task.name].to_numpy()
        known = people & (truth != UNKNOWN)
        rows.append({"task": task.name, "classes": len(task.classes)} | _scores(truth[known], predicted[known]))
    return pd.DataFrame(rows)


def mean_score(table: pd.DataFrame | None, score: str) -> float | None:
    """Mean of a column of `attribute_table` over the tasks that have a known label; None when there is none."""
    return None if table is None or table[score].isna().all() else float(table[score].mean())


def _scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    right = truth == predicted
    _, classes, counts = np.unique(truth, return_inverse=True, return_counts=True)
    if not len(truth):
        return {"images": 0, "most_common": np.nan, "accuracy": np.nan, "balanced_accuracy": np.nan}
    return {
        "images": len(truth),
        "most_common": counts.max() / len(truth),
        "accuracy": right.mean(),
        "balanced_accuracy": (np.bincount(classes, right) / counts).mean(),
    }
