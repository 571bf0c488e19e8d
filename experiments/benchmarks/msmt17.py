"""Ranking and re-ranking at MSMT17's size. There is no reference: no dense version fits into 24 GB."""

import dataclasses

from experiments.benchmarks.compare import run_from_flags
from experiments.benchmarks.descriptors import DescriptorOptions, compare_rank_and_rerank
from lrdnn_base.options import option


@dataclasses.dataclass(frozen=True)
class Options(DescriptorOptions):
    """The defaults are MSMT17's counts."""

    queries: int = option(11659, "Number of queries.", at_least=1)
    gallery: int = option(82161, "Number of gallery images.", at_least=21)
    identities: int = option(3060, "Number of identities of the queries.", at_least=1)


def run_benchmark(options: Options) -> dict:
    """Measures the time, the memory and mAP once, without and with re-ranking."""
    comparison = compare_rank_and_rerank("msmt17", options)
    rerank_s, rank_s = comparison.median("ours"), comparison.median("rank")
    mean_ap = {variant: result.mean_ap for variant, result in comparison.results.items()}
    return comparison.report(
        options, ours_s=rank_s + rerank_s, rerank_s=rerank_s, mAP_plain=mean_ap["rank"], mAP=mean_ap["ours"]
    )


if __name__ == "__main__":
    run_from_flags(run_benchmark, Options)
