"""Ranking at Market-1501's size: `rank`, distances included, beside `np.argsort` of a ready distance matrix alone."""

import json
import statistics

import numpy as np
from absl import flags

from experiments.measure import in_own_process, timed
from lrdnn_tf.evaluation import ranking
from lrdnn_tf.evaluation.protocol import Labels

FLAGS = flags.FLAGS


def make_descriptors(
    queries: int, gallery: int, identities: int, dimensions: int, noise: float, seed: int
) -> dict[str, np.ndarray]:
    """The arguments of rank: descriptors around one centre per identity, a sixth of the gallery distractors (0)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(identities + 1, dimensions)).astype(np.float32)

    def images(ids: np.ndarray) -> np.ndarray:
        noisy = noise * rng.normal(size=(len(ids), dimensions)).astype(np.float32)
        return np.where(ids[:, None] > 0, centres[ids], 0) + noisy

    query_ids = rng.integers(1, identities + 1, queries)
    gallery_ids = rng.integers(1, identities + 1, gallery)
    gallery_ids[rng.random(gallery) < 1 / 6] = 0
    return {
        "query": images(query_ids).astype(np.float32),
        "gallery": images(gallery_ids).astype(np.float32),
        "query_ids": query_ids,
        "gallery_ids": gallery_ids,
        "query_cameras": rng.integers(1, 7, queries),
        "gallery_cameras": rng.integers(1, 7, gallery),
    }


def sorted_metrics(order: np.ndarray, query_ids, gallery_ids, query_cameras, gallery_cameras) -> tuple[list, float]:
    """CMC to rank 50 and mAP read off a sorted gallery, query by query: the reference."""
    cmc, average_precisions = [], []
    for row, identity, camera in zip(order, query_ids, query_cameras, strict=True):
        right = gallery_ids[row] == identity
        hits = right[~(right & (gallery_cameras[row] == camera))]
        if hits.any():
            cmc.append(np.minimum(np.cumsum(hits[: ranking.CMC_RANKS]), 1))
            average_precisions.append((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())
    return np.mean(cmc, axis=0), float(np.mean(average_precisions))


def ranked(data: dict[str, np.ndarray]) -> ranking.Ranking:
    """Ranking of what make_descriptors makes."""
    return ranking.rank(data["query"], data["gallery"], *labels_of(data))


def labels_of(data: dict[str, np.ndarray]) -> tuple[Labels, Labels]:
    """Labels of queries and gallery."""
    return Labels(data["query_ids"], data["query_cameras"]), Labels(data["gallery_ids"], data["gallery_cameras"])


def run_benchmark(
    queries: int = 3368,
    gallery: int = 15913,
    identities: int = 750,
    dimensions: int = 128,
    noise: float = 1.4,
    repeats: int = 5,
    seed: int = 0,
) -> dict:
    """Times both in turn, checks that they agree, prints a table and one JSON line, and returns what it printed."""
    data = make_descriptors(queries, gallery, identities, dimensions, noise, seed)
    distances = 1 - ranking.normalize(data["query"]) @ ranking.normalize(data["gallery"]).T
    ours_s, reference_s = [], []
    for _ in range(repeats):
        seconds, ours = timed(lambda: ranked(data))
        ours_s.append(seconds)
        seconds, order = timed(lambda: np.argsort(distances, axis=1))
        reference_s.append(seconds)
    labels = [data[name] for name in ("query_ids", "gallery_ids", "query_cameras", "gallery_cameras")]
    reference_s_in_full, (cmc, mean_ap) = timed(lambda: sorted_metrics(order, *labels))
    peak = in_own_process(ranked, data).peak_mb
    result = {
        "benchmark": "ranking",
        "ours_s": statistics.median(ours_s),
        "reference_s": statistics.median(reference_s),
        "speedup": statistics.median(reference_s) / statistics.median(ours_s),
        "reference_with_metrics_s": statistics.median(reference_s) + reference_s_in_full,
        "peak_mb": peak,
        "queries": queries,
        "gallery": gallery,
        "dimensions": dimensions,
        "noise": noise,
        "mAP": ours.mean_ap,
        "largest_difference": max(float(np.abs(ours.cmc - cmc).max()), abs(ours.mean_ap - mean_ap)),
    }
    print(f"{queries} queries x {gallery} images, {dimensions}-d float32, mAP {ours.mean_ap:.3f}, median of {repeats}")
    print(f"  rank, distances included            {result['ours_s']:8.3f} s")
    print(f"  np.argsort of ready distances alone {result['reference_s']:8.3f} s")
    print(f"  argsort and metrics query by query  {result['reference_with_metrics_s']:8.3f} s")
    print(f"  argsort / rank {result['speedup']:.1f}, largest difference {result['largest_difference']:.1e}")
    print(f"  peak memory of a process that ranks {peak:.0f} MB")
    print(json.dumps(result))
    return result


def main() -> None:
    run_benchmark(
        FLAGS.queries, FLAGS.gallery, FLAGS.identities, FLAGS.dimensions, FLAGS.noise, FLAGS.repeats, FLAGS.seed
    )


if __name__ == "__main__":
    from lrdnn_base import command  # brings TensorFlow, whose memory the measured processes must not count

    flags.DEFINE_integer("queries", 3368, "Queries; the default is Market-1501's.", lower_bound=1)
    flags.DEFINE_integer("gallery", 15913, "Gallery images without junk; the default is Market-1501's.", lower_bound=1)
    flags.DEFINE_integer("identities", 750, "Identities that queries have.", lower_bound=1)
    flags.DEFINE_integer("dimensions", 128, "Length of a descriptor.", lower_bound=1)
    flags.DEFINE_float("noise", 1.4, "Spread of an identity; large values leave nothing to find.", lower_bound=0)
    flags.DEFINE_integer("repeats", 5, "Runs of each, of which the median counts.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the descriptors.")
    command.run(main)
