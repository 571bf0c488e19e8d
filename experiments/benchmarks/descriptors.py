"""Synthetic descriptors with identities and cameras, and the calls of lrdnn_tf.evaluation that are measured.

Imports no TensorFlow, whose memory would count in the processes that are measured.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks.compare import Comparison, compare
from lrdnn_base.options import option
from lrdnn_tf.data.dataset import DISTRACTOR
from lrdnn_tf.evaluation import ranking, reranking
from lrdnn_tf.evaluation.protocol import Labels

_CAMERAS = 6
_DISTRACTORS = 1 / 6  # share of the gallery


@dataclasses.dataclass(frozen=True)
class DescriptorOptions:
    """How many descriptors of which kind; the defaults are Market-1501's counts."""

    queries: int = option(3368, "Number of queries.", at_least=1)
    gallery: int = option(15913, "Number of gallery images, none of them junk.", at_least=1)
    identities: int = option(750, "Number of identities of the queries.", at_least=1)
    dimensions: int = option(128, "Length of a descriptor.", at_least=1)
    noise: float = option(1.4, "Standard deviation within an identity; a large value hides all matches.", at_least=0)
    seed: int = option(0, "Seed of the descriptors.")


class Descriptors(NamedTuple):
    """float32 [queries, D] and [images, D] descriptors; integer identities and cameras of both."""

    query: np.ndarray
    gallery: np.ndarray
    query_ids: np.ndarray
    gallery_ids: np.ndarray
    query_cameras: np.ndarray
    gallery_cameras: np.ndarray

    @property
    def labels(self) -> tuple[Labels, Labels]:
        """The labels of queries and gallery as the functions of lrdnn_tf.evaluation take them."""
        return Labels(self.query_ids, self.query_cameras), Labels(self.gallery_ids, self.gallery_cameras)


def make_descriptors(options: DescriptorOptions) -> Descriptors:
    """Descriptors normally distributed around one centre per identity; a sixth of the gallery are distractors."""
    rng = np.random.default_rng(options.seed)
    centres = rng.normal(size=(options.identities + 1, options.dimensions)).astype(np.float32)

    def images(ids: np.ndarray) -> np.ndarray:
        noise = options.noise * rng.normal(size=(len(ids), options.dimensions)).astype(np.float32)
        return (np.where(ids[:, None] > DISTRACTOR, centres[ids], 0) + noise).astype(np.float32)

    query_ids = rng.integers(1, options.identities + 1, options.queries)
    gallery_ids = rng.integers(1, options.identities + 1, options.gallery)
    gallery_ids[rng.random(options.gallery) < _DISTRACTORS] = DISTRACTOR
    query, gallery = images(query_ids), images(gallery_ids)
    cameras = (rng.integers(1, _CAMERAS + 1, count) for count in (options.queries, options.gallery))
    return Descriptors(query, gallery, query_ids, gallery_ids, *cameras)


def rank(data: Descriptors) -> ranking.Ranking:
    """Ranking by cosine distance."""
    return ranking.rank(data.query, data.gallery, *data.labels)


def rank_distances(blocks: Iterable[np.ndarray], data: Descriptors) -> ranking.Ranking:
    """Ranking by given distances, float32 [some queries, images] at a time."""
    return ranking.rank_distances(blocks, *data.labels)


def rerank(data: Descriptors, **settings: float) -> Iterator[np.ndarray]:
    """k-reciprocal distances, float32 [some queries, images] at a time."""
    return reranking.rerank(data.query, data.gallery, **settings)


def rank_reranked(data: Descriptors) -> ranking.Ranking:
    """Ranking by k-reciprocal distances."""
    return rank_distances(rerank(data), data)


def normalized(data: Descriptors) -> tuple[np.ndarray, np.ndarray]:
    """The descriptors of query and gallery, L2-normalized."""
    return ranking.normalize(data.query), ranking.normalize(data.gallery)


def prepare(method: Callable[[Descriptors], Any], options: DescriptorOptions) -> Callable[[], Any]:
    """For `compare`: the method on descriptors that are generated in advance."""
    return partial(method, make_descriptors(options))


def compare_rank_and_rerank(name: str, options: DescriptorOptions) -> Comparison:
    """Ranking ("rank") and ranking with re-ranking ("ours"), once each; there is no reference."""
    rerank = partial(prepare, rank_reranked, options)
    return compare(name, rerank, others={"rank": partial(prepare, rank, options)}, own_processes=True)
