"""k-reciprocal re-ranking at Market-1501's size, beside a dense version of the textbook formulation."""

import dataclasses
from functools import partial

import numpy as np

from experiments.benchmarks import descriptors
from experiments.benchmarks.compare import compare, run_from_flags
from experiments.benchmarks.descriptors import DescriptorOptions, Descriptors, make_descriptors, prepare
from lrdnn_base.options import option


@dataclasses.dataclass(frozen=True)
class Options(DescriptorOptions):
    k1: int = option(20, "Nearest neighbours that are tested for reciprocity.")
    k2: int = option(6, "Nearest neighbours over which a vector is averaged.")
    lambda_value: float = option(0.3, "Weight of the original distance.")
    repeats: int = option(3, "Timed calls of our implementation, whose median counts.", at_least=1)
    reference_repeats: int = option(1, "Timed calls of the reference, each of which takes 9 GB.", at_least=1)


def dense_rerank(data: Descriptors, k1: int, k2: int, lambda_value: float) -> np.ndarray:
    """The reference: section 3 of Zhong et al. (CVPR 2017), on [images, images] matrices of queries and gallery."""
    images = np.concatenate(descriptors.normalized(data))
    queries = len(data.query)
    distances = np.maximum(2 - 2 * images @ images.T, 0)
    np.fill_diagonal(distances, 0)
    distances /= distances.max(axis=1, keepdims=True)
    vectors = _dense_vectors(distances, k1, k2)
    distances = distances[:queries, queries:].copy()
    holders = [np.flatnonzero(column) for column in vectors[queries:].T]
    for row in range(queries):
        overlap = np.zeros(len(data.gallery), np.float32)
        for column in np.flatnonzero(vectors[row]):
            holding = holders[column]
            overlap[holding] += np.minimum(vectors[row, column], vectors[queries + holding, column])
        distances[row] = (1 - lambda_value) * (1 - overlap / (2 - overlap)) + lambda_value * distances[row]
    return distances


def _dense_vectors(distances: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """Weighted sets of expanded reciprocal neighbours, averaged over the k2 nearest: [images, images]."""
    order = np.argsort(distances, axis=1)

    def reciprocal(image: int, k: int) -> np.ndarray:
        forward = order[image, : k + 1]
        return forward[(order[forward, : k + 1] == image).any(axis=1)]

    vectors = np.zeros_like(distances)
    for image in range(len(distances)):
        mine = reciprocal(image, k1)
        expanded = mine
        for candidate in mine:
            theirs = reciprocal(candidate, round(k1 / 2))
            if len(np.intersect1d(theirs, mine)) > 2 / 3 * len(theirs):
                expanded = np.append(expanded, theirs)
        expanded = np.unique(expanded)
        weights = np.exp(-distances[image, expanded])
        vectors[image, expanded] = weights / weights.sum()
    return np.stack([vectors[nearest[:k2]].mean(axis=0) for nearest in order]) if k2 > 1 else vectors


def sparse_rerank(data: Descriptors, **settings: float) -> np.ndarray:
    """Our implementation, its blocks copied into one matrix, which can be compared."""
    distances = np.empty((len(data.query), len(data.gallery)), np.float32)
    start = 0
    for block in descriptors.rerank(data, **settings):
        distances[start : start + len(block)] = block
        start += len(block)
    return distances


def run_benchmark(options: Options) -> dict:
    """Compares the time, the memory, the distances and mAP."""
    settings = {"k1": options.k1, "k2": options.k2, "lambda_value": options.lambda_value}
    comparison = compare(
        "reranking",
        partial(prepare, partial(sparse_rerank, **settings), options),
        partial(prepare, partial(dense_rerank, **settings), options),
        repeats=options.repeats,
        reference_repeats=options.reference_repeats,
        own_processes=True,
    )
    data = make_descriptors(options)
    ours, reference = (comparison.results[variant] for variant in ("ours", "reference"))
    difference = np.abs(ours - reference)
    return comparison.report(
        options,
        mAP_plain=descriptors.rank(data).mean_ap,
        mAP=descriptors.rank_distances([ours], data).mean_ap,
        mAP_reference=descriptors.rank_distances([reference], data).mean_ap,
        largest_difference=float(difference.max()),
        **{"share_above_1e-5": float((difference > 1e-5).mean())},
    )


if __name__ == "__main__":
    run_from_flags(run_benchmark, Options)
