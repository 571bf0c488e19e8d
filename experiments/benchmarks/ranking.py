"""Ranking at Market-1501's size: distances and metrics, beside `np.argsort` of precomputed distances alone."""

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np

from experiments.benchmarks import descriptors
from experiments.benchmarks.compare import compare, run_as_command
from experiments.benchmarks.descriptors import MARKET1501, Descriptors, Sizes, make_descriptors, prepare
from lrdnn_tf.evaluation.ranking import CMC_RANKS, normalize


def prepare_argsort(sizes: Sizes, metrics: bool) -> Callable[[], tuple[np.ndarray, float] | None]:
    """The reference, without and with the metrics."""
    data = make_descriptors(sizes)
    distances = 1 - normalize(data.query) @ normalize(data.gallery).T

    def sort() -> tuple[np.ndarray, float] | None:
        order = np.argsort(distances, axis=1)
        return sorted_metrics(order, data) if metrics else None

    return sort


def sorted_metrics(order: np.ndarray, data: Descriptors) -> tuple[np.ndarray, float]:
    """CMC up to CMC_RANKS, and mAP, computed query by query from a sorted gallery."""
    cmc, average_precisions = [], []
    queries, gallery = data.query_labels, data.gallery_labels
    for row, identity, camera in zip(order, queries.identities, queries.cameras, strict=True):
        right = gallery.identities[row] == identity
        hits = right[~(right & (gallery.cameras[row] == camera))]
        if hits.any():
            cmc.append(np.minimum(np.cumsum(hits[:CMC_RANKS]), 1))
            average_precisions.append((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())
    return np.mean(cmc, axis=0), float(np.mean(average_precisions))


def run_benchmark(sizes: Sizes = MARKET1501, repeats: int = 5) -> dict:
    """Compares the time, the memory and the metrics."""
    comparison = compare(
        "ranking",
        partial(prepare, descriptors.rank, sizes),
        partial(prepare_argsort, sizes, metrics=False),
        {"reference_with_metrics": partial(prepare_argsort, sizes, metrics=True)},
        repeats=repeats,
        own_processes=True,
    )
    ours, (cmc, mean_ap) = (comparison.results[variant] for variant in ("ours", "reference_with_metrics"))
    return comparison.report(
        **dataclasses.asdict(sizes),
        mAP=ours.mean_ap,
        largest_difference=max(float(np.abs(ours.cmc - cmc).max()), abs(ours.mean_ap - mean_ap)),
    )


if __name__ == "__main__":
    run_as_command(run_benchmark)
