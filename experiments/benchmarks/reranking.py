"""k-reciprocal re-ranking at Market-1501's size: ours beside a dense textbook version, each in a process of its own."""

import json
import statistics

import numpy as np
from absl import flags

from experiments.benchmarks.ranking import labels_of, make_descriptors, ranked
from experiments.measure import in_own_process
from lrdnn_tf.evaluation import ranking, reranking

FLAGS = flags.FLAGS


def dense_rerank(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, lambda_value: float) -> np.ndarray:
    """Section 3 of Zhong et al. (2017) on matrices of all images by all images: the reference."""
    images = np.concatenate([ranking.normalize(query), ranking.normalize(gallery)])
    queries = len(query)
    distances = np.maximum(2 - 2 * images @ images.T, 0)
    np.fill_diagonal(distances, 0)
    distances /= distances.max(axis=1, keepdims=True)
    vectors = _dense_vectors(distances, k1, k2)
    distances = distances[:queries, queries:].copy()
    holders = [np.flatnonzero(column) for column in vectors[queries:].T]
    for row in range(queries):
        overlap = np.zeros(len(gallery), np.float32)
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


def sparse_rerank(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, lambda_value: float) -> np.ndarray:
    """Ours, with the blocks put into one matrix so that it can be compared."""
    distances = np.empty((len(query), len(gallery)), np.float32)
    start = 0
    for block in reranking.rerank(query, gallery, k1, k2, lambda_value):
        distances[start : start + len(block)] = block
        start += len(block)
    return distances


def run_benchmark(
    queries: int = 3368,
    gallery: int = 15913,
    identities: int = 750,
    dimensions: int = 128,
    noise: float = 1.4,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    repeats: int = 3,
    reference_repeats: int = 1,
    seed: int = 0,
) -> dict:
    """Times both in turn, compares their distances, prints a table and one JSON line, and returns what it printed."""
    data = make_descriptors(queries, gallery, identities, dimensions, noise, seed)
    labels = labels_of(data)
    runs = {sparse_rerank: [], dense_rerank: []}
    for turn in range(max(repeats, reference_repeats)):
        for method, limit in ((sparse_rerank, repeats), (dense_rerank, reference_repeats)):
            if turn < limit:
                job = (data["query"], data["gallery"], k1, k2, lambda_value)
                runs[method].append(in_own_process(method, *job))
    distances = {method: measured[-1].result for method, measured in runs.items()}
    difference = np.abs(distances[sparse_rerank] - distances[dense_rerank])
    rankings = {method: ranking.rank_distances([matrix], *labels) for method, matrix in distances.items()}
    plain = ranked(data)
    ours_s, reference_s = (statistics.median(run.seconds for run in measured) for measured in runs.values())
    ours_mb, reference_mb = (max(run.peak_mb for run in measured) for measured in runs.values())
    result = {
        "benchmark": "reranking",
        "ours_s": ours_s,
        "reference_s": reference_s,
        "speedup": reference_s / ours_s,
        "peak_mb": ours_mb,
        "reference_peak_mb": reference_mb,
        "queries": queries,
        "gallery": gallery,
        "dimensions": dimensions,
        "noise": noise,
        "mAP_plain": plain.mean_ap,
        "mAP": rankings[sparse_rerank].mean_ap,
        "mAP_reference": rankings[dense_rerank].mean_ap,
        "largest_difference": float(difference.max()),
        "share_above_1e-5": float((difference > 1e-5).mean()),
    }
    print(f"{queries} queries x {gallery} images, {dimensions}-d float32, k1={k1}, k2={k2}, lambda={lambda_value}")
    print(f"{'':18}{'seconds':>10}{'peak MB':>10}{'mAP':>10}")
    print(f"{'without':18}{'':20}{plain.mean_ap:10.5f}")
    print(f"{'ours':18}{ours_s:10.2f}{ours_mb:10.0f}{result['mAP']:10.5f}")
    print(f"{'dense textbook':18}{reference_s:10.2f}{reference_mb:10.0f}{result['mAP_reference']:10.5f}")
    print(
        f"{result['speedup']:.1f} times faster; largest difference of a distance {result['largest_difference']:.1e}, "
        f"share above 1e-5: {result['share_above_1e-5']:.1e}"
    )
    print(json.dumps(result))
    return result


def main() -> None:
    run_benchmark(
        FLAGS.queries,
        FLAGS.gallery,
        FLAGS.identities,
        FLAGS.dimensions,
        FLAGS.noise,
        FLAGS.k1,
        FLAGS.k2,
        FLAGS.lambda_value,
        FLAGS.repeats,
        FLAGS.reference_repeats,
        FLAGS.seed,
    )


if __name__ == "__main__":
    from lrdnn_base import command  # brings TensorFlow, whose memory the measured processes must not count

    flags.DEFINE_integer("queries", 3368, "Queries; the default is Market-1501's.", lower_bound=1)
    flags.DEFINE_integer("gallery", 15913, "Gallery images without junk; the default is Market-1501's.", lower_bound=1)
    flags.DEFINE_integer("identities", 750, "Identities that queries have.", lower_bound=1)
    flags.DEFINE_integer("dimensions", 128, "Length of a descriptor.", lower_bound=1)
    flags.DEFINE_float("noise", 1.4, "Spread of an identity; large values leave nothing to find.", lower_bound=0)
    flags.DEFINE_integer("k1", 20, "Neighbours that are tried for reciprocity.")
    flags.DEFINE_integer("k2", 6, "Neighbours that a vector is averaged over.")
    flags.DEFINE_float("lambda_value", 0.3, "Share of the original distance.")
    flags.DEFINE_integer("repeats", 3, "Runs of ours, of which the median counts.", lower_bound=1)
    flags.DEFINE_integer("reference_repeats", 1, "Runs of the reference: minutes and 9 GB each.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the descriptors.")
    command.run(main)
