"""Search among a million descriptors on disk: `nearest` beside numpy's argpartition of all similarities at once."""

import json
import multiprocessing
import pathlib
import statistics
import tempfile

import numpy as np
from absl import flags

from experiments.measure import peak_mb, timed
from lrdnn_tf.searching.index import RowFile
from lrdnn_tf.searching.nearest import nearest

FLAGS = flags.FLAGS
_CHUNK = 65536  # descriptors made at a time
_TOP = 10


def make_index(path: pathlib.Path, images: int, dimensions: int, seed: int) -> None:
    """Random unit vectors, in a file as `lrdnn_tf.searching.index` keeps them."""
    rng = np.random.default_rng(seed)
    rows = RowFile(path, dimensions, np.float32)
    for start in range(0, images, _CHUNK):
        values = rng.standard_normal((min(_CHUNK, images - start), dimensions), np.float32)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        rows.write(np.arange(start, start + len(values)), values)


def whole_matrix(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """The reference: every similarity at once, then the best of them."""
    similarities = gallery @ query
    best = np.argpartition(-similarities, _TOP)[:_TOP]
    return best[np.argsort(-similarities[best], kind="stable")]


def search_in_own_process(path: pathlib.Path, queries: np.ndarray, few: np.ndarray) -> dict:
    """Times of each query, in a process that holds nothing else, and the memory that it took."""
    gallery = np.load(path, mmap_mode="r")
    nearest(queries[:1], gallery, _TOP)  # brings the file into the page cache, if it was not there
    single = [timed(lambda query=query: nearest(query[None], gallery, _TOP)) for query in queries]
    filtered = [timed(lambda query=query: nearest(query[None], gallery, _TOP, few))[0] for query in queries]
    together, _ = timed(lambda: nearest(queries, gallery, _TOP))
    return {
        "seconds": [seconds for seconds, _ in single],
        "found": np.concatenate([rows for _, (rows, _) in single]),
        "filtered_s": statistics.median(filtered),
        "together_s_a_query": together / len(queries),
        "peak_mb": peak_mb(),
    }


def reference_in_own_process(path: pathlib.Path, queries: np.ndarray) -> tuple[list[float], np.ndarray]:
    gallery = np.load(path, mmap_mode="r")
    whole_matrix(queries[0], gallery)
    timings = [timed(lambda query=query: whole_matrix(query, gallery)) for query in queries]
    return [seconds for seconds, _ in timings], np.stack([rows for _, rows in timings])


def run_benchmark(images: int = 1_000_000, dimensions: int = 512, queries: int = 20, seed: int = 0) -> dict:
    """Times both in turn, checks that they agree, prints a table and one JSON line, and returns what it printed."""
    rng = np.random.default_rng(seed + 1)
    asked = rng.standard_normal((queries, dimensions), np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    few = rng.random(images) < 0.02  # what three attributes may leave
    processes = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "embeddings.npy"
        making_s, _ = timed(lambda: make_index(path, images, dimensions, seed))
        with processes.Pool(1, maxtasksperchild=1) as pool:
            ours = pool.apply(search_in_own_process, (path, asked, few))
        with processes.Pool(1, maxtasksperchild=1) as pool:
            reference_s, expected = pool.apply(reference_in_own_process, (path, asked))
    result = {
        "benchmark": "search",
        "ours_s": statistics.median(ours["seconds"]),
        "reference_s": statistics.median(reference_s),
        "speedup": statistics.median(reference_s) / statistics.median(ours["seconds"]),
        "peak_mb": ours["peak_mb"],
        "slowest_s": max(ours["seconds"]),
        "filtered_s": ours["filtered_s"],
        "together_s_a_query": ours["together_s_a_query"],
        "images": images,
        "dimensions": dimensions,
        "queries": queries,
        "same_matches": float(np.mean(ours["found"] == expected)),
    }
    print(f"{images} descriptors, {dimensions}-d float32 on disk (written in {making_s:.0f} s), one query at a time")
    print(f"  nearest                      {result['ours_s']:8.3f} s a query, slowest {result['slowest_s']:.3f} s")
    print(f"  nearest, filtered to 2 %     {result['filtered_s']:8.3f} s a query")
    print(f"  nearest, {queries:3d} queries at once {result['together_s_a_query']:8.3f} s a query")
    print(f"  numpy, whole matrix          {result['reference_s']:8.3f} s a query")
    print(
        f"  same matches {100 * result['same_matches']:.1f} %, peak memory {result['peak_mb']:.0f} MB, the file's pages"
    )
    print(json.dumps(result))
    return result


def main() -> None:
    run_benchmark(FLAGS.images, FLAGS.dimensions, FLAGS.queries, FLAGS.seed)


if __name__ == "__main__":
    from lrdnn_base import command  # brings TensorFlow, whose memory the measured processes must not count

    flags.DEFINE_integer("images", 1_000_000, "Descriptors in the index.", lower_bound=100)
    flags.DEFINE_integer("dimensions", 512, "Length of a descriptor.", lower_bound=1)
    flags.DEFINE_integer("queries", 20, "Queries, one at a time, of which the median counts.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the descriptors.")
    command.run(main)
