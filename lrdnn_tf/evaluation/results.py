"""All measurements of one trained phase."""

import dataclasses
import os
from typing import NamedTuple

import numpy as np
import pandas as pd
from absl import logging

from lrdnn_base.errors import InputError
from lrdnn_base.options import check_options, option
from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.data.dataset import Dataset
from lrdnn_tf.data.split import Split, read_split
from lrdnn_tf.evaluation import ranking
from lrdnn_tf.evaluation.adaptation import adapt_batch_norms
from lrdnn_tf.evaluation.attributes import attribute_table
from lrdnn_tf.evaluation.descriptors import describe, ranking_labels
from lrdnn_tf.evaluation.fusion_pictures import FusionFindings, fusion_findings
from lrdnn_tf.evaluation.protocol import Labels, apply_protocol, protocol_name
from lrdnn_tf.evaluation.queries import POOLINGS, check_expansion, check_pooling, expand_queries, pool_queries
from lrdnn_tf.evaluation.ranking import Ranking
from lrdnn_tf.evaluation.reranking import check_settings, rerank

COSINE, RERANKED = "cosine", "re-ranked"  # names of rankings; there is always one by cosine
_LISTS = 5  # best queries shown, and worst
_LIST_LENGTH = 10


@dataclasses.dataclass(frozen=True)
class Settings:
    """How descriptors are computed and compared; an InputError names the first setting that is out of range."""

    flip: bool = option(False, "Average every descriptor with that of the mirror image.")
    multi_query: str = option(
        "none", "Pool each query with all images of its person in its camera.", choices=("none", *POOLINGS)
    )
    query_expansion: int = option(0, "Average each query with so many of the images nearest to it.", at_least=0)
    rerank: bool = option(True, "Also rank by k-reciprocal re-ranking.")
    k1: int = option(20, "Re-ranking: number of nearest neighbours that are tested for reciprocity.", at_least=1)
    k2: int = option(6, "Re-ranking: number of nearest neighbours that a vector is averaged over.", at_least=1)
    lambda_value: float = option(0.3, "Re-ranking: weight of the original distance.", at_least=0, at_most=1)
    adapt_batch_norm: bool = option(
        False, "Take the averages of BatchNorms from the dataset's training images, or its gallery, without labels."
    )
    weights: str = option(
        "last",
        "Weights of a phase: the last, or the best by mAP, which --evaluate_every keeps.",
        choices=tuple(runs.WEIGHTS),
    )

    def __post_init__(self):
        check_options(self)


DEFAULTS = Settings()


@dataclasses.dataclass(frozen=True)
class PhaseResult:
    """The report's measurements of a phase.

    Attributes:
        phase: "identity", "attributes" or "fusion".
        config: Config of its model.
        origin: Its config.json: model, training, dataset, command.
        protocol: CROSS_CAMERA or ANY_CAMERA, see `lrdnn_tf.evaluation.protocol`.
        rankings: By name: COSINE, and RERANKED unless the settings leave it out.
        attributes: Table returned by `attribute_table`; None when the model has no head for the dataset's tasks.
        camera_pairs: Table returned by `ranking.rank_with_camera_pairs`, by cosine.
        best, worst: Queries with the highest and the lowest average precision by cosine, one of each identity, each
            with the gallery images nearest to it, as record indices.
        fusion: Findings returned by `fusion_findings`; None without a pose branch.
    """

    phase: str
    config: ModelConfig
    origin: dict
    protocol: str
    rankings: dict[str, Ranking]
    attributes: pd.DataFrame | None
    camera_pairs: pd.DataFrame
    best: dict[int, np.ndarray]
    worst: dict[int, np.ndarray]
    fusion: FusionFindings | None

    @property
    def by_cosine(self) -> Ranking:
        """The ranking by cosine."""
        return self.rankings[COSINE]


class _Inputs(NamedTuple):
    """The arguments of `ranking.rank`."""

    query: np.ndarray
    gallery: np.ndarray
    query_labels: Labels
    gallery_labels: Labels


def evaluate_phase(
    run_dir: str | os.PathLike,
    phase: str,
    dataset: Dataset,
    query: Split,
    gallery: Split,
    batch_size: int = 64,
    settings: Settings = DEFAULTS,
) -> PhaseResult:
    """Measures a trained phase on the query and gallery splits of a dataset.

    Raises:
        InputError: The phase is missing, the splits cannot be ranked, or the settings do not fit them; labels and
            settings are checked before the model is loaded.
    """
    settings = check_splits(dataset, query, gallery, settings)
    model, config = runs.load_model(run_dir, phase, settings.weights)
    print(f"evaluating the {settings.weights} weights of the {phase} phase")
    if settings.adapt_batch_norm:
        adapt_batch_norms(model, read_split(dataset, "train") if dataset.has_images("train") else gallery)
    try:
        descriptions = [describe(model, split, batch_size, settings.flip) for split in (query, gallery)]
        embeddings = [description.embeddings for description in descriptions]
        inputs = _improve_queries(_Inputs(*embeddings, ranking_labels(query), ranking_labels(gallery)), settings)
        rankings, camera_pairs = _rank(inputs, settings)
        best, worst = _extreme_queries(rankings[COSINE], inputs.query_labels.identities)
        tasks = [task for task in config.attributes if task in dataset.attributes]
        predictions = descriptions[1].predictions()
        return PhaseResult(
            phase=phase,
            config=config,
            origin=runs.read_config(run_dir, phase),
            protocol=protocol_name(inputs.query_labels, inputs.gallery_labels),
            rankings=rankings,
            attributes=attribute_table(tasks, gallery.labels, predictions) if tasks else None,
            camera_pairs=camera_pairs,
            best=_nearest(best, inputs),
            worst=_nearest(worst, inputs),
            fusion=fusion_findings(model, config, query, [*best[:3], *worst[:3]]),
        )
    except InputError as error:
        raise InputError(f"{phase} phase on {dataset.path}: {error}") from error


def check_splits(dataset: Dataset, query: Split, gallery: Split, settings: Settings) -> Settings:
    """The settings for these splits: without re-ranking, with a warning, where the gallery is too small for k1.

    Raises:
        InputError: The splits cannot be ranked, or another setting does not fit them.
    """
    small = settings.rerank and settings.k1 > len(gallery)
    labels = ranking_labels(query), ranking_labels(gallery)
    try:
        apply_protocol(*labels).require_matches()
        if settings.multi_query != "none":
            check_pooling(*labels, settings.multi_query)
        if settings.query_expansion:
            check_expansion(len(gallery), settings.query_expansion)
        if settings.rerank and not small:
            check_settings(len(gallery), settings.k1, settings.k2, settings.lambda_value)
    except InputError as error:
        raise InputError(f"{dataset.path}: {error}") from error
    if small:
        logging.warning("no re-ranking: k1=%d is more than the %d images of the gallery", settings.k1, len(gallery))
    return dataclasses.replace(settings, rerank=False) if small else settings


def _improve_queries(inputs: _Inputs, settings: Settings) -> _Inputs:
    """The inputs with pooled and expanded query descriptors, as far as the settings ask for them."""
    if settings.multi_query != "none":
        inputs = inputs._replace(query=pool_queries(*inputs, settings.multi_query))
    if settings.query_expansion:
        inputs = inputs._replace(query=expand_queries(inputs.query, inputs.gallery, settings.query_expansion))
    return inputs


def _rank(inputs: _Inputs, settings: Settings) -> tuple[dict[str, Ranking], pd.DataFrame]:
    """All rankings by name, and the table of camera pairs by cosine."""
    by_cosine, camera_pairs = ranking.rank_with_camera_pairs(*inputs)
    rankings = {COSINE: by_cosine}
    if settings.rerank:
        blocks = rerank(inputs.query, inputs.gallery, settings.k1, settings.k2, settings.lambda_value)
        rankings[RERANKED] = ranking.rank_distances(blocks, inputs.query_labels, inputs.gallery_labels)
    return rankings, camera_pairs


def _extreme_queries(result: Ranking, identities: np.ndarray) -> tuple[list[int], list[int]]:
    """Queries with the highest and the lowest average precision, one per identity; among equals, more matches first."""
    valid = np.flatnonzero(result.match_counts)

    def first_of_each_identity(order: np.ndarray) -> list[int]:
        order = valid[order]
        _, first = np.unique(identities[order], return_index=True)
        return order[np.sort(first)][:_LISTS].tolist()

    precision, matches = result.average_precisions[valid], result.match_counts[valid]
    return (
        first_of_each_identity(np.lexsort((-matches, -precision))),
        first_of_each_identity(np.lexsort((-matches, precision))),
    )


def _nearest(queries: list[int], inputs: _Inputs) -> dict[int, np.ndarray]:
    chosen = inputs._replace(query=inputs.query[queries], query_labels=inputs.query_labels.take(queries))
    return dict(zip(queries, ranking.nearest(*chosen, count=_LIST_LENGTH), strict=True))
