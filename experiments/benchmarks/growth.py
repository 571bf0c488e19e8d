"""How time and memory of ranking and re-ranking grow with the gallery: growth.csv and growth.png.

python -m experiments.benchmarks.growth [--galleries=5000,10000] [--out_dir=DIR]
"""

import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from absl import flags
from matplotlib.figure import Figure

from experiments.benchmarks.ranking import labels_of, make_descriptors, ranked
from experiments.measure import in_own_process
from lrdnn_tf.evaluation import ranking, reranking

FLAGS = flags.FLAGS
RESULTS = pathlib.Path("experiments/results")
GALLERIES = (5_000, 10_000, 20_000, 40_000, 70_000, 100_000)
_IMAGES_PER_IDENTITY = 20
_NOISE = 1.4


def reranked(data: dict[str, np.ndarray]) -> ranking.Ranking:
    """Ranking of the re-ranked distances of what make_descriptors makes."""
    labels = labels_of(data)
    return ranking.rank_distances(reranking.rerank(data["query"], data["gallery"]), *labels)


def measure(galleries: Sequence[int], queries: int, dimensions: int, seed: int) -> pd.DataFrame:
    """A row per method and size: method, queries, gallery, dimensions, seconds, peak_mb, mAP.

    Each in a process of its own, whose peak holds Python and the descriptors, too.
    """
    rows = []
    for gallery in galleries:
        for name, method in (("rank", ranked), ("re-rank", reranked)):
            sizes = (queries, gallery, max(1, gallery // _IMAGES_PER_IDENTITY), dimensions, _NOISE, seed)
            seconds, peak, result = in_own_process(method, *sizes, prepare=make_descriptors)
            rows.append((name, queries, gallery, dimensions, seconds, peak, result.mean_ap))
            print(f"  {name:8} {queries} x {gallery:7} {seconds:8.2f} s {peak:6.0f} MB", flush=True)
    return pd.DataFrame(rows, columns=["method", "queries", "gallery", "dimensions", "seconds", "peak_mb", "mAP"])


def draw(table: pd.DataFrame) -> Figure:
    """Time and memory over the size of the gallery, beside one matrix of all distances, which ours never holds."""
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
    seed: int = 0,
    out_dir: str | os.PathLike = RESULTS,
) -> dict:
    """Measures all sizes, writes growth.csv and growth.png, prints one JSON line and returns what it printed."""
    out_dir = pathlib.Path(out_dir)
    table = measure(galleries, queries, dimensions, seed)
    out_dir.mkdir(parents=True, exist_ok=True)
    table.round({"seconds": 3, "peak_mb": 0, "mAP": 4}).to_csv(out_dir / "growth.csv", index=False)
    draw(table).savefig(out_dir / "growth.png", dpi=120)
    smallest, largest = (table[(table.method == "re-rank") & (table.gallery == size(galleries))] for size in (min, max))
    result = {
        "benchmark": "growth",
        "ours_s": float(largest.seconds.item()),
        "reference_s": None,
        "speedup": None,
        "peak_mb": float(largest.peak_mb.item()),
        "queries": queries,
        "galleries": list(galleries),
        "dimensions": dimensions,
        "rerank_times_longer": largest.seconds.item() / smallest.seconds.item(),
        "rerank_times_memory": largest.peak_mb.item() / smallest.peak_mb.item(),
    }
    print(f"wrote {out_dir / 'growth.csv'} and {out_dir / 'growth.png'}")
    print(json.dumps(result))
    return result


def main() -> None:
    run_benchmark([int(size) for size in FLAGS.galleries], FLAGS.queries, FLAGS.dimensions, FLAGS.seed, FLAGS.out_dir)


if __name__ == "__main__":
    from lrdnn_base import command  # brings TensorFlow, whose memory the measured processes must not count

    flags.DEFINE_list("galleries", [str(size) for size in GALLERIES], "Numbers of gallery images.")
    flags.DEFINE_integer("queries", 3368, "Queries; the default is Market-1501's.", lower_bound=1)
    flags.DEFINE_integer("dimensions", 128, "Length of a descriptor.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the descriptors.")
    flags.DEFINE_string("out_dir", str(RESULTS), "Where growth.csv and growth.png go.")
    command.run(main)
