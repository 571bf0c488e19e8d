"""Search among a million descriptors on disk: `nearest`, beside NumPy's argpartition of all similarities at once."""

import itertools
import pathlib
import tempfile
from collections.abc import Callable
from functools import partial

import numpy as np

from experiments.benchmarks.compare import compare, run_as_command
from experiments.measure import timed
from lrdnn_tf.searching.index import RowFile
from lrdnn_tf.searching.nearest import nearest

_CHUNK = 65536  # descriptors generated at a time
_TOP = 10
_USABLE = 0.02  # share of the images that a filter by three attributes may leave


def unit_vectors(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """Random directions, float32 [count, dimensions]."""
    values = rng.standard_normal((count, dimensions), np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def make_index(path: pathlib.Path, images: int, dimensions: int) -> None:
    """Writes random descriptors to a file in the format of `lrdnn_tf.searching.index`."""
    rng = np.random.default_rng(0)
    rows = RowFile(path, dimensions, np.float32)
    for start in range(0, images, _CHUNK):
        values = unit_vectors(rng, min(_CHUNK, images - start), dimensions)
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


def run_benchmark(images: int = 1_000_000, dimensions: int = 512, queries: int = 20) -> dict:
    """Compares the time of a query, of those searched for one at a time, the memory and the matches."""
    rng = np.random.default_rng(1)
    vectors = unit_vectors(rng, queries, dimensions)
    usable = rng.random(images) < _USABLE
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "embeddings.npy"
        writing_s, _ = timed(lambda: make_index(path, images, dimensions))
        comparison = compare(
            "search",
            partial(prepare, find_nearest, path, vectors),
            partial(prepare, whole_matrix, path, vectors),
            {"filtered": partial(prepare, partial(find_nearest, usable=usable), path, vectors)},
            repeats=queries,
            warm_up=1,  # reads the file into the page cache
            own_processes=True,
        )
        at_once = partial(prepare, find_nearest, path, vectors[None])
        together = compare("search", at_once, warm_up=1, own_processes=True)
    ours, expected = (np.stack(comparison.results[variant]) for variant in ("ours", "reference"))
    return comparison.report(
        images=images,
        dimensions=dimensions,
        queries=queries,
        slowest_s=max(comparison.seconds["ours"]),
        together_s_a_query=together.median("ours") / queries,
        index_written_s=writing_s,
        same_matches=float(np.mean(ours == expected)),
    )


if __name__ == "__main__":
    run_as_command(run_benchmark)
