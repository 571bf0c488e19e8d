"""Synthetic descriptors with identities and cameras, and the calls of lrdnn_tf.evaluation that are measured.

Imports no TensorFlow, whose memory would count in the processes that are measured.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks.compare import Comparison, compare
from lrdnn_tf.data.dataset import DISTRACTOR
from lrdnn_tf.evaluation import ranking, reranking
from lrdnn_tf.evaluation.protocol import Labels

_CAMERAS = 6
_DISTRACTORS = 1 / 6  # share of the gallery


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How many descriptors of which kind; the defaults are Market-1501's counts.

    Attributes:
        queries: Number of queries.
        gallery: Number of gallery images, none of them junk.
        identities: Number of identities of the queries.
        dimensions: Length of a descriptor.
        noise: Standard deviation within an identity; a large value hides all matches.
    """

    queries: int = 3368
    gallery: int = 15913
    identities: int = 750
    dimensions: int = 128
    noise: float = 1.4


MARKET1501 = Sizes()


class Descriptors(NamedTuple):
    """float32 [queries, D] and [images, D] descriptors, and the labels of both."""

    query: np.ndarray
    gallery: np.ndarray
    query_labels: Labels
    gallery_labels: Labels


def make_descriptors(sizes: Sizes) -> Descriptors:
    """Descriptors normally distributed around one centre per identity; a sixth of the gallery are distractors."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(sizes.identities + 1, sizes.dimensions)).astype(np.float32)

    def images(ids: np.ndarray) -> np.ndarray:
        noise = sizes.noise * rng.normal(size=(len(ids), sizes.dimensions)).astype(np.float32)
        return (np.where(ids[:, None] > DISTRACTOR, centres[ids], 0) + noise).astype(np.float32)

    query_ids = rng.integers(1, sizes.identities + 1, sizes.queries)
    gallery_ids = rng.integers(1, sizes.identities + 1, sizes.gallery)
    gallery_ids[rng.random(sizes.gallery) < _DISTRACTORS] = DISTRACTOR
    query, gallery = images(query_ids), images(gallery_ids)
    labels = [Labels(ids, rng.integers(1, _CAMERAS + 1, len(ids))) for ids in (query_ids, gallery_ids)]
    return Descriptors(query, gallery, *labels)


def rank(data: Descriptors) -> ranking.Ranking:
    """Ranking by cosine distance."""
    return ranking.rank(*data)


def rank_reranked(data: Descriptors) -> ranking.Ranking:
    """Ranking by k-reciprocal distances."""
    return ranking.rank_distances(reranking.rerank(data.query, data.gallery), data.query_labels, data.gallery_labels)


def prepare(method: Callable[[Descriptors], Any], sizes: Sizes) -> Callable[[], Any]:
    """For `compare`: the method on descriptors that are generated in advance."""
    return partial(method, make_descriptors(sizes))


def compare_rank_and_rerank(name: str, sizes: Sizes) -> Comparison:
    """Ranking ("rank") and ranking with re-ranking ("ours"), once each; there is no reference."""
    rerank = partial(prepare, rank_reranked, sizes)
    return compare(name, rerank, others={"rank": partial(prepare, rank, sizes)}, own_processes=True)
