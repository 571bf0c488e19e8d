"""k-reciprocal re-ranking at Market-1501's size, beside a dense version of the textbook formulation."""

import dataclasses
from functools import partial

import numpy as np

from experiments.benchmarks.compare import compare, run_as_command
from experiments.benchmarks.descriptors import MARKET1501, Descriptors, Sizes, make_descriptors, prepare, rank
from lrdnn_tf.evaluation.ranking import normalized_stack, rank_distances
from lrdnn_tf.evaluation.reranking import rerank


def dense_rerank(data: Descriptors, k1: int = 20, k2: int = 6, lambda_value: float = 0.3) -> np.ndarray:
    """The reference: section 3 of Zhong et al. (CVPR 2017), on [images, images] matrices of queries and gallery."""
    images = normalized_stack(data.query, data.gallery)
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


def sparse_rerank(data: Descriptors) -> np.ndarray:
    """Our implementation, its blocks copied into one matrix, which can be compared."""
    distances = np.empty((len(data.query), len(data.gallery)), np.float32)
    start = 0
    for block in rerank(data.query, data.gallery):
        distances[start : start + len(block)] = block
        start += len(block)
    return distances


def run_benchmark(sizes: Sizes = MARKET1501, repeats: int = 3) -> dict:
    """Compares the time, the memory, the distances and mAP."""
    comparison = compare(
        "reranking",
        partial(prepare, sparse_rerank, sizes),
        partial(prepare, dense_rerank, sizes),
        repeats=repeats,
        reference_repeats=1,
        own_processes=True,
    )
    data = make_descriptors(sizes)
    ours, reference = (comparison.results[variant] for variant in ("ours", "reference"))
    labels = (data.query_labels, data.gallery_labels)
    difference = np.abs(ours - reference)
    return comparison.report(
        **dataclasses.asdict(sizes),
        mAP_plain=rank(data).mean_ap,
        mAP=rank_distances([ours], *labels).mean_ap,
        mAP_reference=rank_distances([reference], *labels).mean_ap,
        largest_difference=float(difference.max()),
        **{"share_above_1e-5": float((difference > 1e-5).mean())},
    )


if __name__ == "__main__":
    run_as_command(run_benchmark)
