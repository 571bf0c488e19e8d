"""Ranking and re-ranking at MSMT17's size. There is no reference: no dense version fits into 24 GB."""

import dataclasses

from experiments.benchmarks.compare import run_as_command
from experiments.benchmarks.descriptors import Sizes, compare_rank_and_rerank

MSMT17 = Sizes(queries=11659, gallery=82161, identities=3060)


def run_benchmark(sizes: Sizes = MSMT17) -> dict:
    """Measures the time, the memory and mAP once, without and with re-ranking."""
    comparison = compare_rank_and_rerank("msmt17", sizes)
    rerank_s, rank_s = comparison.median("ours"), comparison.median("rank")
    mean_ap = {variant: result.mean_ap for variant, result in comparison.results.items()}
    times = {"ours_s": rank_s + rerank_s, "rerank_s": rerank_s}
    return comparison.report(**dataclasses.asdict(sizes), **times, mAP_plain=mean_ap["rank"], mAP=mean_ap["ours"])


if __name__ == "__main__":
    run_as_command(run_benchmark)
