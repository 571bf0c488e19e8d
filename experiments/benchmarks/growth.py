"""Growth of the time and memory of ranking and re-ranking with the gallery: growth.csv and growth.png."""

import pathlib
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from experiments.benchmarks.compare import Comparison, run_as_command
from experiments.benchmarks.descriptors import Sizes, compare_rank_and_rerank

RESULTS = pathlib.Path("experiments/results")
GALLERIES = (5000, 10000, 20000, 40000, 70000, 100000)
_IMAGES_PER_IDENTITY = 20


def make_table(comparisons: dict[Sizes, Comparison]) -> pd.DataFrame:
    """A row per gallery and method: method, queries, gallery, dimensions, seconds, peak_mb, mAP.

    The peak is that of the whole process, Python and the descriptors included.
    """
    rows = [
        (method, sizes.queries, sizes.gallery, sizes.dimensions, measured.median(variant), measured.peaks_mb[variant],
         measured.results[variant].mean_ap)
        for sizes, measured in comparisons.items()
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


def run_benchmark(
    galleries: Sequence[int] = GALLERIES,
    queries: int = 3368,
    dimensions: int = 128,
    out_dir: pathlib.Path = RESULTS,
) -> dict:
    """Measures galleries of increasing size once each, and writes growth.csv and growth.png to a folder."""
    comparisons = {}
    for gallery in galleries:
        sizes = Sizes(queries, gallery, max(1, gallery // _IMAGES_PER_IDENTITY), dimensions)
        comparisons[sizes] = largest = compare_rank_and_rerank("growth", sizes)
        print(f"  {gallery:7} gallery images: re-ranked in {largest.median('ours'):.2f} s", flush=True)
    table = make_table(comparisons)
    out_dir.mkdir(parents=True, exist_ok=True)
    table.round({"seconds": 3, "peak_mb": 0, "mAP": 4}).to_csv(out_dir / "growth.csv", index=False)
    draw(table).savefig(out_dir / "growth.png", dpi=120)
    smallest = next(iter(comparisons.values()))
    return largest.report(
        galleries=galleries,
        queries=queries,
        dimensions=dimensions,
        rerank_times_longer=largest.median("ours") / smallest.median("ours"),
        rerank_times_memory=largest.peaks_mb["ours"] / smallest.peaks_mb["ours"],
    )


if __name__ == "__main__":
    run_as_command(run_benchmark)
