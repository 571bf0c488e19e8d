"""Finds people in a folder of crops, by an image, by attributes in words, or by both."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lrdnn_base.errors import InputError
from lrdnn_base.files import find_images, listing, replacing
from lrdnn_base.images import write_image
from lrdnn_tf.evaluation.reranking import rerank
from lrdnn_tf.searching.attribute_filter import matching, parse_where, probability
from lrdnn_tf.searching.contact_sheet import contact_sheet
from lrdnn_tf.searching.index import Index, update_index
from lrdnn_tf.searching.nearest import nearest
from lrdnn_tf.serving import answers, client
from lrdnn_tf.serving.answers import Answers, Model
from lrdnn_tf.serving.saved_model import LocalModel

_SHEET_ROWS = 20  # queries on the contact sheet: the size of a picture is limited, that of the table is not
_SHEET_COLUMNS = 10  # images per row of the contact sheet when there is no query
_RERANKED = 1000  # nearest images of a query that are re-ranked: the cost grows with their square
_PARALLEL_REQUESTS = 4  # to a server


def search(
    gallery_dir: str | os.PathLike,
    query: str | os.PathLike | None = None,
    model_dir: str | os.PathLike | None = None,
    top: int = 10,
    out_dir: str | os.PathLike | None = None,
    *,
    where: Sequence[str] = (),
    reranked: bool = False,
    server: str | None = None,
    index_dir: str | os.PathLike | None = None,
    rebuild: bool = False,
) -> pd.DataFrame:
    """Searches a folder for the people in one or several crops, for attributes, or for both.

    Args:
        gallery_dir: Folder of crops.
        query: A crop, or a folder of crops; None to search by attributes alone.
        model_dir: A SavedModel that `lrdnn_tf.serving.export.export` wrote; None with a server.
        top: Number of matches for each query.
        out_dir: Folder for matches.csv and matches.png; None to write no files.
        where: Conditions "ATTRIBUTE=VALUE", in the words of the model; an image has to fulfil all of them.
        reranked: Whether the nearest 1000 images of each query are ordered by k-reciprocal re-ranking.
        server: "HOST:PORT" of TensorFlow Serving, or "http://HOST:PORT" for its REST interface.
        index_dir, rebuild: See `lrdnn_tf.searching.index.update_index`.

    Returns:
        One row per match with the columns query and similarity (cosine, -1..1) when there is a query, or probability
        (of all conditions together) when there is none; reranked_distance when re-ranked; rank, from 1; path; and one
        column per attribute task with the name of its class.

    Raises:
        InputError: No model, no image, a query that cannot be decoded, words that the model does not know, an index of
            another model, a server that does not answer, or a file that cannot be written.
    """
    _require_consistent(query is not None, bool(where), reranked, model_dir is not None, server is not None)
    query_paths = [] if query is None else find_images(query)
    with contextlib.nullcontext(LocalModel(model_dir)) if server is None else client.connect(server) as model:
        wanted = parse_where(where, model.describe().tasks)
        queries = _embedded_queries(model, query_paths)
        index = update_index(model, gallery_dir, index_dir, rebuild, _PARALLEL_REQUESTS if server else 1)
    _report_refused(index, gallery_dir)
    allowed = index.usable & matching(wanted, index.classes)
    if wanted:
        print(f"{np.count_nonzero(allowed)} of {np.count_nonzero(index.usable)} images have {', '.join(where)}")
    if query is None:
        matches = _by_attributes(index, allowed, wanted, top)
    else:
        matches = _by_similarity(index, allowed, query_paths, queries, top, reranked)
    matches["path"] = [str(pathlib.Path(gallery_dir) / path) for path in matches["path"]]
    if out_dir:
        _write(pathlib.Path(out_dir), matches)
    return matches


def _require_consistent(by_query: bool, by_attributes: bool, reranked: bool, model: bool, server: bool) -> None:
    if not by_query and not by_attributes:
        raise InputError("nothing to search for: name an image with --query, attributes with --where, or both")
    if reranked and not by_query:
        raise InputError("--rerank needs a --query: attributes alone give no distances")
    if model == server:
        raise InputError("name either a model with --model, or a server with --server")


def _embedded_queries(model: Model, paths: Sequence[pathlib.Path]) -> Answers:
    found, refused = answers.embed(model, [path.read_bytes() for path in paths])
    if refused:
        raise InputError(f"cannot search for {_reasons({str(paths[n]): reason for n, reason in refused.items()})}")
    return found


def _report_refused(index: Index, gallery_dir: str | os.PathLike) -> None:
    if index.refused:
        print(f"skipped in {gallery_dir} ({len(index.refused)}): {_reasons(index.refused)}", file=sys.stderr)
    if not index.usable.any():
        raise InputError(f"no image in {gallery_dir} can be read: {_reasons(index.refused)}")


def _reasons(refused: Mapping[str, str]) -> str:
    return listing([f"{path} ({reason})" for path, reason in sorted(refused.items())])


def _by_similarity(
    index: Index, allowed: np.ndarray, paths: Sequence[pathlib.Path], queries: Answers, top: int, reranked: bool
) -> pd.DataFrame:
    count = max(top, _RERANKED) if reranked else top
    rows, similarities = nearest(queries.embeddings, index.embeddings, count, allowed)
    tables = []
    for path, embedding, found, similarity in zip(paths, queries.embeddings, rows, similarities, strict=True):
        columns = {"similarity": similarity}
        if reranked and len(found):
            distances = _reranked_distances(embedding, index.embeddings[found])
            order = distances.argsort(kind="stable")[:top]
            found, columns = found[order], {"similarity": similarity[order], "reranked_distance": distances[order]}
        tables.append(_table(index, found, columns, str(path)))
    return pd.concat(tables, ignore_index=True)


def _reranked_distances(query: np.ndarray, nearby: np.ndarray) -> np.ndarray:
    """Distances of one query [D] to the images near it [n, D]: float32 [n].

    The parameters are k1 = 20 and k2 = 6 as in the evaluation, and smaller when there are fewer images.
    """
    k1 = min(20, len(nearby))
    (distances,) = rerank(query[np.newaxis], nearby, k1, min(6, k1 + 1))
    return distances[0]


def _by_attributes(index: Index, allowed: np.ndarray, wanted: dict[int, int], top: int) -> pd.DataFrame:
    rows = np.flatnonzero(allowed)
    likely = probability(wanted, index.scores[rows])
    order = (-likely).argsort(kind="stable")[:top]
    return _table(index, rows[order], {"probability": likely[order]})


def _table(index: Index, rows: np.ndarray, columns: dict[str, np.ndarray], query: str | None = None) -> pd.DataFrame:
    classes = index.classes[rows]
    words = {task.name: np.array(task.classes)[classes[:, n]] for n, task in enumerate(index.description.tasks)}
    asked = {} if query is None else {"query": [query] * len(rows)}
    ranks = {"rank": np.arange(1, len(rows) + 1)}
    return pd.DataFrame(asked | ranks | columns | {"path": [index.paths[row] for row in rows]} | words)


def _write(out_dir: pathlib.Path, matches: pd.DataFrame) -> None:
    sheet = contact_sheet(_sheet_rows(matches)) if len(matches) else None
    out_dir.mkdir(parents=True, exist_ok=True)
    with replacing(out_dir / "matches.csv") as temporary:
        matches.to_csv(temporary, index=False)
    if sheet is None:
        (out_dir / "matches.png").unlink(missing_ok=True)  # it would show an earlier search
    else:
        write_image(out_dir / "matches.png", sheet)


def _sheet_rows(matches: pd.DataFrame) -> list[list[tuple[pathlib.Path, str]]]:
    """One row per query, which starts with the query itself; without a query, the matches row by row."""
    value = next(name for name in ("reranked_distance", "similarity", "probability") if name in matches)
    tiles = [(pathlib.Path(row.path), f"{row.rank}: {getattr(row, value):.3f}") for row in matches.itertuples()]
    if "query" not in matches:
        lines = [tiles[start : start + _SHEET_COLUMNS] for start in range(0, len(tiles), _SHEET_COLUMNS)]
        return lines[:_SHEET_ROWS]
    rows: dict[str, list] = {}
    for query, tile in zip(matches["query"], tiles, strict=True):
        rows.setdefault(query, [(pathlib.Path(query), "query")]).append(tile)
    return list(rows.values())[:_SHEET_ROWS]
