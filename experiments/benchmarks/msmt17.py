"""Ranking and re-ranking at MSMT17's size, in a process of its own: no dense version fits into 24 GB there."""

import json

import numpy as np
from absl import flags

from experiments.benchmarks.ranking import labels_of, make_descriptors, ranked
from experiments.measure import in_own_process, timed
from lrdnn_tf.evaluation import ranking, reranking

FLAGS = flags.FLAGS


def rank_both(data: dict[str, np.ndarray]) -> dict[str, float]:
    """Seconds and mAP without and with re-ranking, of what make_descriptors makes."""
    labels = labels_of(data)
    plain_s, plain = timed(lambda: ranked(data))
    blocks = reranking.rerank(data["query"], data["gallery"])
    reranked_s, reranked = timed(lambda: ranking.rank_distances(blocks, *labels))
    return {"rank_s": plain_s, "mAP_plain": plain.mean_ap, "rerank_s": reranked_s, "mAP": reranked.mean_ap}


def run_benchmark(
    queries: int = 11659,
    gallery: int = 82161,
    identities: int = 3060,
    dimensions: int = 128,
    noise: float = 1.4,
    seed: int = 0,
) -> dict:
    """Measures once, prints a table and one JSON line, and returns what it printed."""
    sizes = (queries, gallery, identities, dimensions, noise, seed)
    seconds, peak, numbers = in_own_process(rank_both, *sizes, prepare=make_descriptors)
    result = {
        "benchmark": "msmt17",
        "ours_s": seconds,
        "reference_s": None,
        "speedup": None,
        "peak_mb": peak,
        "queries": queries,
        "gallery": gallery,
        "dimensions": dimensions,
        "noise": noise,
    } | numbers
    print(f"{queries} queries x {gallery} images, {dimensions}-d float32, k1=20, k2=6, lambda=0.3")
    print(f"  rank              {numbers['rank_s']:8.2f} s, mAP {numbers['mAP_plain']:.5f}")
    print(f"  re-rank and rank  {numbers['rerank_s']:8.2f} s, mAP {numbers['mAP']:.5f}")
    print(f"  peak memory of the process, descriptors included: {peak:.0f} MB")
    print(json.dumps(result))
    return result


def main() -> None:
    run_benchmark(FLAGS.queries, FLAGS.gallery, FLAGS.identities, FLAGS.dimensions, FLAGS.noise, FLAGS.seed)


if __name__ == "__main__":
    from lrdnn_base import command  # brings TensorFlow, whose memory the measured process must not count

    flags.DEFINE_integer("queries", 11659, "Queries; the default is MSMT17's.", lower_bound=1)
    flags.DEFINE_integer("gallery", 82161, "Gallery images; the default is MSMT17's.", lower_bound=21)
    flags.DEFINE_integer("identities", 3060, "Identities that queries have.", lower_bound=1)
    flags.DEFINE_integer("dimensions", 128, "Length of a descriptor.", lower_bound=1)
    flags.DEFINE_float("noise", 1.4, "Spread of an identity; large values leave nothing to find.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Seed of the descriptors.")
    command.run(main)
