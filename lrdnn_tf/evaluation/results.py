"""Everything that is measured of one trained phase."""

import dataclasses
import os

import numpy as np
import pandas as pd

from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.data.dataset import Dataset
from lrdnn_tf.evaluation import ranking
from lrdnn_tf.evaluation.attributes import attribute_table
from lrdnn_tf.evaluation.descriptors import describe
from lrdnn_tf.evaluation.fusion_pictures import FusionFindings, fusion_findings
from lrdnn_tf.evaluation.queries import POOLINGS, check_expansion, expand_queries, pool_queries
from lrdnn_tf.evaluation.ranking import Ranking
from lrdnn_tf.evaluation.reranking import check_settings, rerank

_LISTS = 5  # best queries shown, and worst
_LIST_LENGTH = 10


@dataclasses.dataclass(frozen=True)
class Settings:
    """How descriptors are made and compared.

    Attributes:
        flip: Whether descriptors are averaged over an image and its mirror image.
        multi_query: "none", "average" or "max", see `queries.pool_queries`.
        query_expansion: Images of `queries.expand_queries`, 0 for none; after multi-query pooling.
        k1, k2, lambda_value: Of re-ranking, see `reranking.rerank`.
    """

    flip: bool = False
    multi_query: str = "none"
    query_expansion: int = 0
    k1: int = 20
    k2: int = 6
    lambda_value: float = 0.3

    def check(self, gallery_images: int) -> None:
        """Raises an InputError that names what does not fit a gallery of this size."""
        if self.multi_query not in ("none", *POOLINGS):
            raise InputError(f"multi_query={self.multi_query!r}: expected none, {' or '.join(POOLINGS)}")
        if self.query_expansion != 0:
            check_expansion(gallery_images, self.query_expansion)
        check_settings(gallery_images, self.k1, self.k2, self.lambda_value)


DEFAULTS = Settings()


@dataclasses.dataclass(frozen=True)
class RankedList:
    """A query and the gallery images that are nearest to it, as record numbers of their splits."""

    query: int
    gallery: np.ndarray


@dataclasses.dataclass(frozen=True)
class PhaseResult:
    """What the report shows of a phase.

    Attributes:
        phase: "identity", "attributes" or "fusion".
        config: Its model.
        origin: Its config.json: model, training, dataset, command.
        ranking, reranked: Without and with re-ranking.
        attributes: Of `attribute_table`; None when the model has no head for the dataset's tasks.
        camera_pairs: Of `ranking.rank_with_camera_pairs`.
        best, worst: The queries with the highest and lowest average precision, of one identity each.
        fusion: Of `fusion_findings`; None without a pose branch.
    """

    phase: str
    config: ModelConfig
    origin: dict
    ranking: Ranking
    reranked: Ranking
    attributes: pd.DataFrame | None
    camera_pairs: pd.DataFrame
    best: list[RankedList]
    worst: list[RankedList]
    fusion: FusionFindings | None


def evaluate_phase(
    run_dir: str | os.PathLike,
    phase: str,
    dataset: Dataset,
    query_labels: pd.DataFrame,
    gallery_labels: pd.DataFrame,
    batch_size: int = 64,
    settings: Settings = DEFAULTS,
) -> PhaseResult:
    """Measures a trained phase on the query and gallery splits of a dataset.

    Raises:
        InputError: The phase is missing, a split cannot be ranked, or the settings do not fit it; labels and settings
            are checked first of all.
    """
    labels = _labels(query_labels, gallery_labels)
    try:
        ranking.check_labels(**labels)
        settings.check(len(gallery_labels))
    except InputError as error:
        raise InputError(f"{dataset.path}: {error}") from error
    model, config = runs.load_model(run_dir, phase)
    print(f"evaluating the {phase} phase")
    try:
        query = describe(model, dataset, "query", batch_size, settings.flip)
        gallery = describe(model, dataset, "gallery", batch_size, settings.flip)
        inputs = _improve_queries({"query": query.embeddings, "gallery": gallery.embeddings} | labels, settings)
        plain, camera_pairs = ranking.rank_with_camera_pairs(**inputs)
        blocks = rerank(inputs["query"], inputs["gallery"], settings.k1, settings.k2, settings.lambda_value)
        reranked = ranking.rank_distances(blocks, **labels)
        best, worst = _extreme_queries(plain, query_labels["identity"].to_numpy())
        tasks = [task for task in config.attributes if task in dataset.attributes]
        return PhaseResult(
            phase=phase,
            config=config,
            origin=runs.read_config(run_dir, phase),
            ranking=plain,
            reranked=reranked,
            attributes=attribute_table(tasks, gallery_labels, gallery.predictions()) if tasks else None,
            camera_pairs=camera_pairs,
            best=_ranked_lists(best, inputs),
            worst=_ranked_lists(worst, inputs),
            fusion=fusion_findings(model, config, dataset, [*best[:3], *worst[:3]]),
        )
    except InputError as error:
        raise InputError(f"{phase} phase on {dataset.path}: {error}") from error


def _labels(query: pd.DataFrame, gallery: pd.DataFrame) -> dict[str, np.ndarray]:
    return {
        "query_ids": query["identity"].to_numpy(),
        "gallery_ids": gallery["identity"].to_numpy(),
        "query_cameras": query["camera"].to_numpy(),
        "gallery_cameras": gallery["camera"].to_numpy(),
    }


def _improve_queries(inputs: dict[str, np.ndarray], settings: Settings) -> dict[str, np.ndarray]:
    """The arguments of rank with other query descriptors, where the settings ask for them."""
    if settings.multi_query != "none":
        inputs = inputs | {"query": pool_queries(**inputs, pooling=settings.multi_query)}
    if settings.query_expansion:
        inputs = inputs | {"query": expand_queries(inputs["query"], inputs["gallery"], settings.query_expansion)}
    return inputs


def _extreme_queries(result: Ranking, identities: np.ndarray) -> tuple[list[int], list[int]]:
    """Queries with the highest and the lowest average precision, one per identity, more matches first among equals."""
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


def _ranked_lists(queries: list[int], inputs: dict[str, np.ndarray]) -> list[RankedList]:
    of_query = {name: values[queries] for name, values in inputs.items() if name.startswith("query")}
    nearest = ranking.nearest(**inputs | of_query, count=_LIST_LENGTH)
    return [RankedList(query, gallery) for query, gallery in zip(queries, nearest, strict=True)]
