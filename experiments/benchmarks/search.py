"""Search among a million descriptors on disk: `nearest`, beside NumPy's argpartition of all similarities at once."""

import dataclasses
import itertools
import pathlib
import tempfile
from collections.abc import Callable
from functools import partial

import numpy as np

from experiments.benchmarks.compare import compare, run_from_flags
from experiments.measure import timed
from lrdnn_base.options import option
from lrdnn_tf.searching.index import RowFile
from lrdnn_tf.searching.nearest import nearest

_CHUNK = 65536  # descriptors generated at a time
_TOP = 10
_USABLE = 0.02  # share of the images that a filter by three attributes may leave


@dataclasses.dataclass(frozen=True)
class Options:
    images: int = option(1_000_000, "Number of descriptors in the index.", at_least=100)
    dimensions: int = option(512, "Length of a descriptor.", at_least=1)
    queries: int = option(20, "Queries, searched for one at a time; the median counts.", at_least=1)
    seed: int = option(0, "Seed of the descriptors.")


def unit_vectors(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """Random directions, float32 [count, dimensions]."""
    values = rng.standard_normal((count, dimensions), np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def make_index(path: pathlib.Path, options: Options) -> None:
    """Writes random descriptors to a file in the format of `lrdnn_tf.searching.index`."""
    rng = np.random.default_rng(options.seed)
    rows = RowFile(path, options.dimensions, np.float32)
    for start in range(0, options.images, _CHUNK):
        values = unit_vectors(rng, min(_CHUNK, options.images - start), options.dimensions)
        rows.write(np.arange(start, start + len(values)), values)


def find_nearest(query: np.ndarray, gallery: np.ndarray, usable: np.ndarray | None = None) -> np.ndarray:
    """Rows of the nearest descriptors of one query or of several, int64 [queries, 10], best first."""
    rows, _ = nearest(np.atleast_2d(query), gallery, _TOP, usable)
    return rows


def whole_matrix(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """The reference: int64 [1, 10], from all similarities of a query at once."""
    similarities = gallery @ query
    best = np.argpartition(-similarities, _TOP)[:_TOP]
    return best[None, np.argsort(-similarities[best], kind="stable")]


def prepare(search: Callable[..., np.ndarray], path: pathlib.Path, queries: np.ndarray) -> Callable[[], list]:
    """A function that searches for the next query at each call, and returns the matches of all calls so far."""
    gallery = np.load(path, mmap_mode="r")
    following, found = itertools.cycle(queries), []

    def search_next() -> list[np.ndarray]:
        found.append(search(next(following), gallery))
        return found

    return search_next


def run_benchmark(options: Options) -> dict:
    """Compares the time of a query, the memory and the matches."""
    rng = np.random.default_rng(options.seed + 1)
    queries = unit_vectors(rng, options.queries, options.dimensions)
    usable = rng.random(options.images) < _USABLE
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "embeddings.npy"
        writing_s, _ = timed(lambda: make_index(path, options))
        comparison = compare(
            "search",
            partial(prepare, find_nearest, path, queries),
            partial(prepare, whole_matrix, path, queries),
            {"filtered": partial(prepare, partial(find_nearest, usable=usable), path, queries)},
            repeats=options.queries,
            warm_up=1,  # reads the file into the page cache
            own_processes=True,
        )
        at_once = partial(prepare, find_nearest, path, queries[None])
        together = compare("search", at_once, warm_up=1, own_processes=True)
    ours, expected = (np.stack(comparison.results[variant]) for variant in ("ours", "reference"))
    return comparison.report(
        options,
        slowest_s=max(comparison.seconds["ours"]),
        together_s_a_query=together.median("ours") / options.queries,
        index_written_s=writing_s,
        same_matches=float(np.mean(ours == expected)),
    )


if __name__ == "__main__":
    run_from_flags(run_benchmark, Options)
