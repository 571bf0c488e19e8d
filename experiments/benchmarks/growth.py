"""Growth of the time and memory of ranking and re-ranking with the gallery: growth.csv and growth.png."""

import dataclasses
import pathlib

import pandas as pd
from matplotlib.figure import Figure

from experiments.benchmarks.compare import Comparison, run_from_flags
from experiments.benchmarks.descriptors import DescriptorOptions, compare_rank_and_rerank
from lrdnn_base.options import option

_IMAGES_PER_IDENTITY = 20


@dataclasses.dataclass(frozen=True)
class Options:
    galleries: str = option("5000,10000,20000,40000,70000,100000", "Numbers of gallery images, separated by commas.")
    queries: int = option(3368, "Number of queries; the default is Market-1501's.", at_least=1)
    dimensions: int = option(128, "Length of a descriptor.", at_least=1)
    seed: int = option(0, "Seed of the descriptors.")
    out_dir: str = option("experiments/results", "Folder to which growth.csv and growth.png are written.")


def measure(gallery: int, options: Options) -> Comparison:
    """Ranking without and with re-ranking in a gallery of this size."""
    identities = max(1, gallery // _IMAGES_PER_IDENTITY)
    sizes = DescriptorOptions(options.queries, gallery, identities, options.dimensions, seed=options.seed)
    return compare_rank_and_rerank("growth", sizes)


def make_table(comparisons: dict[int, Comparison], options: Options) -> pd.DataFrame:
    """A row per gallery and method: method, queries, gallery, dimensions, seconds, peak_mb, mAP.

    The peak is that of the whole process, Python and the descriptors included.
    """
    rows = [
        (method, options.queries, gallery, options.dimensions, measured.median(variant), measured.peaks_mb[variant],
         measured.results[variant].mean_ap)
        for gallery, measured in comparisons.items()
        for method, variant in (("rank", "rank"), ("re-rank", "ours"))
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["method", "queries", "gallery", "dimensions", "seconds", "peak_mb", "mAP"])


def draw(table: pd.DataFrame) -> Figure:
    """Time and memory over the size of the gallery, and the memory that a matrix of all distances would take."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    times, memory = figure.subplots(1, 2)
    for (method, rows), colour in zip(table.groupby("method"), ("#0f766e", "#d97706"), strict=True):
        times.plot(rows["gallery"], rows["seconds"], "o-", color=colour, label=method)
        memory.plot(rows["gallery"], rows["peak_mb"], "o-", color=colour, label=f"{method}, whole process")
    sizes = table.drop_duplicates("gallery")
    square = 4 * (sizes["queries"] + sizes["gallery"]) ** 2 / 2**20
    memory.plot(sizes["gallery"], square, "--", color="#5b6776", label="one float32 matrix, all by all")
    for axes, label in ((times, "Seconds"), (memory, "Peak memory (MB)")):
        axes.set(xscale="log", yscale="log", xlabel="Gallery images (thousands)", ylabel=label)
        axes.set_xticks(sizes["gallery"], [f"{size / 1000:g}" for size in sizes["gallery"]])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.grid(color="#e3e7ec")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    first = table.iloc[0]
    figure.suptitle(f"{first['queries']:,} queries, {first['dimensions']} dimensions", fontsize=11)
    return figure


def run_benchmark(options: Options) -> dict:
    """Measures every size once, and writes growth.csv and growth.png."""
    out_dir = pathlib.Path(options.out_dir)
    comparisons = {}
    for gallery in map(int, options.galleries.split(",")):
        comparisons[gallery] = measured = measure(gallery, options)
        print(f"  {gallery:7} gallery images: re-ranked in {measured.median('ours'):.2f} s", flush=True)
    table = make_table(comparisons, options)
    out_dir.mkdir(parents=True, exist_ok=True)
    table.round({"seconds": 3, "peak_mb": 0, "mAP": 4}).to_csv(out_dir / "growth.csv", index=False)
    draw(table).savefig(out_dir / "growth.png", dpi=120)
    smallest, largest = comparisons[min(comparisons)], comparisons[max(comparisons)]
    return largest.report(
        options,
        rerank_times_longer=largest.median("ours") / smallest.median("ours"),
        rerank_times_memory=largest.peaks_mb["ours"] / smallest.peaks_mb["ours"],
    )


if __name__ == "__main__":
    run_from_flags(run_benchmark, Options)
