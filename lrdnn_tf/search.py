"""Finds people in a folder of crops, by an image or by attributes in words.

python -m lrdnn_tf.search --model=DIR --gallery=DIR --query=FILE|DIR
python -m lrdnn_tf.search --model=DIR --gallery=DIR --where="gender=female,backpack=yes,upper_colour=red"
"""

import contextlib
import pathlib
import sys
from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
from absl import flags

from lrdnn_base import command
from lrdnn_base.errors import InputError
from lrdnn_tf.evaluation.reranking import rerank
from lrdnn_tf.searching.attribute_filter import matching, parse_where, probability
from lrdnn_tf.searching.contact_sheet import contact_sheet
from lrdnn_tf.searching.index import Index, find_images, update_index
from lrdnn_tf.searching.nearest import nearest
from lrdnn_tf.serving import answers, client
from lrdnn_tf.serving.answers import Answers, Model
from lrdnn_tf.serving.saved_model import LocalModel

_SHEET_ROWS = 20  # queries on the contact sheet; a picture has limits, the table has none
_SHEET_COLUMNS = 10  # of what attributes alone found
_RERANKED = 1000  # nearest images of a query that re-ranking looks at: it grows with their square
_AT_ONCE = 4  # requests to a server
_NAMED = 5  # files in a message


def search(
    gallery_dir: str,
    query: str | None = None,
    model_dir: str | None = None,
    top: int = 10,
    out_dir: str | None = None,
    *,
    where: Sequence[str] = (),
    reranked: bool = False,
    server: str | None = None,
    index_dir: str | None = None,
    rebuild: bool = False,
) -> pd.DataFrame:
    """Searches a folder for the people in one or several crops, for attributes, or for both.

    Args:
        gallery_dir: Folder of crops.
        query: A crop, or a folder of them; None to search by attributes alone.
        model_dir: A SavedModel of `lrdnn_tf.export`; None with a server.
        top: Matches for each query.
        out_dir: Where matches.csv and matches.png go.
        where: "ATTRIBUTE=VALUE" each, in the words of the model; only images that have them all are looked at.
        reranked: Order the nearest 1000 of each query by k-reciprocal re-ranking.
        server: "HOST:PORT" of TensorFlow Serving, or "http://HOST:PORT" for its REST interface.
        index_dir, rebuild: See `lrdnn_tf.searching.index.update_index`.

    Returns:
        One row per match: query and similarity (cosine, -1..1) when there is a query, or probability (of all that is
        asked for) when there is none; reranked_distance when re-ranked; rank; path; the attributes in words.

    Raises:
        InputError: No model, no image, a query that cannot be read, words that the model does not know, an index of
            another model, or a server that does not answer.
    """
    _require_consistent(query, where, reranked, model_dir, server)
    query_paths = [] if query is None else find_images(query)
    with _model(model_dir, server) as model:
        wanted = parse_where(where, model.describe().tasks)
        queries = _embedded_queries(model, query_paths)
        index = update_index(model, gallery_dir, index_dir, rebuild, _AT_ONCE if server else 1)
    _tell_of_refused(index, gallery_dir)
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


def _require_consistent(
    query: str | None, where: Sequence[str], reranked: bool, model_dir: str | None, server: str | None
) -> None:
    if query is None and not where:
        raise InputError("nothing to search for: name an image with --query, attributes with --where, or both")
    if query is None and reranked:
        raise InputError("--rerank needs a --query: attributes alone give no distances")
    if (model_dir is None) == (server is None):
        raise InputError("name either a model with --model, or a server with --server")


@contextlib.contextmanager
def _model(model_dir: str | None, server: str | None):
    if server is None:
        yield LocalModel(model_dir)
    else:
        with client.connect(server) as model:
            yield model


def _embedded_queries(model: Model, paths: Sequence[pathlib.Path]) -> Answers:
    found, refused = answers.embed(model, [path.read_bytes() for path in paths])
    if refused:
        raise InputError(f"cannot search for {_some({str(paths[n]): why for n, why in refused.items()})}")
    return found


def _tell_of_refused(index: Index, gallery_dir: str) -> None:
    if index.refused:
        print(f"left out, {len(index.refused)} in {gallery_dir}: {_some(index.refused)}", file=sys.stderr)
    if not index.usable.any():
        raise InputError(f"no image in {gallery_dir} can be read: {_some(index.refused)}")


def _some(refused: dict[str, str]) -> str:
    """The first few of the files, and why."""
    lines = [f"{path} ({why})" for path, why in sorted(refused.items())]
    return ", ".join(lines[:_NAMED]) + (f" and {len(lines) - _NAMED} more" if len(lines) > _NAMED else "")


def _by_similarity(
    index: Index, allowed: np.ndarray, paths: Sequence[pathlib.Path], queries: Answers, top: int, reranked: bool
) -> pd.DataFrame:
    count = max(top, _RERANKED) if reranked else top
    rows, similarities = nearest(queries.embeddings, index.embeddings, count, allowed)
    tables = []
    for path, embedding, found, similarity in zip(paths, queries.embeddings, rows, similarities, strict=True):
        columns = {"similarity": similarity}
        order = np.arange(len(found))
        if reranked and len(found):
            columns["reranked_distance"] = _reranked_distances(embedding, index.embeddings[found])
            order = columns["reranked_distance"].argsort(kind="stable")
        order = order[:top]
        tables.append(_table(index, found[order], {name: values[order] for name, values in columns.items()}, str(path)))
    return pd.concat(tables, ignore_index=True)


def _reranked_distances(query: np.ndarray, nearby: np.ndarray) -> np.ndarray:
    """Of one query to those near it: float32 [n]; parameters as in the paper, less where there are fewer images."""
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
    words = {
        task.name: [task.classes[class_] for class_ in classes[:, number]]
        for number, task in enumerate(index.description.tasks)
    }
    asked = {} if query is None else {"query": [query] * len(rows)}
    ranks = {"rank": np.arange(1, len(rows) + 1)}
    return pd.DataFrame(asked | ranks | columns | {"path": [index.paths[row] for row in rows]} | words)


def _write(out_dir: pathlib.Path, matches: pd.DataFrame) -> None:
    out_dir.mkdir(parents=True, exist_ok=True)
    matches.to_csv(out_dir / "matches.csv", index=False)
    picture = out_dir / "matches.png"
    picture.unlink(missing_ok=True)
    if len(matches) and not cv2.imwrite(str(picture), contact_sheet(_sheet_rows(matches))):
        raise InputError(f"cannot write {picture}: is the disk full?")


def _sheet_rows(matches: pd.DataFrame) -> list[list[tuple[pathlib.Path, str]]]:
    """A row per query, beginning with it; without a query, what was found, line by line."""
    value = next(name for name in ("reranked_distance", "similarity", "probability") if name in matches)
    tiles = [(pathlib.Path(row.path), f"{row.rank}: {getattr(row, value):.3f}") for row in matches.itertuples()]
    if "query" not in matches:
        lines = [tiles[start : start + _SHEET_COLUMNS] for start in range(0, len(tiles), _SHEET_COLUMNS)]
        return lines[:_SHEET_ROWS]
    rows: dict[str, list] = {}
    for query, tile in zip(matches["query"], tiles, strict=True):
        rows.setdefault(query, [(pathlib.Path(query), "query")]).append(tile)
    return list(rows.values())[:_SHEET_ROWS]


def main() -> None:
    args = flags.FLAGS
    matches = search(
        args.gallery,
        args.query,
        args.model,
        args.top,
        args.out_dir,
        where=args.where,
        reranked=args.rerank,
        server=args.server,
        index_dir=args.index_dir,
        rebuild=args.rebuild,
    )
    one_query = "query" in matches and matches["query"].nunique() <= 1
    shown = matches.drop(columns="query") if one_query else matches
    print(shown.to_string(index=False, float_format="%.3f") if len(matches) else "nothing found")
    if args.out_dir:
        print(f"wrote matches.csv{' and matches.png' if len(matches) else ''} to {args.out_dir}")


if __name__ == "__main__":
    flags.DEFINE_string("model", None, "A SavedModel from lrdnn_tf.export: a version, or the folder of versions.")
    flags.DEFINE_string("server", None, "TensorFlow Serving in place of a model: HOST:PORT, or http://HOST:PORT.")
    flags.DEFINE_string("gallery", None, "Folder of person crops to search.")
    flags.DEFINE_string("query", None, "A crop of the person to find, or a folder of them.")
    flags.DEFINE_list("where", [], "Only images with these attributes: gender=female,upper_colour=red.")
    flags.DEFINE_bool("rerank", False, "Order the nearest 1000 of each query by k-reciprocal re-ranking.")
    flags.DEFINE_integer("top", 10, "How many matches to show for each query.", lower_bound=1)
    flags.DEFINE_string("out_dir", None, "Where matches.csv goes, and matches.png of the first queries.")
    flags.DEFINE_string("index_dir", None, "Where the index of the gallery is. Default GALLERY/.lrdnn_index.")
    flags.DEFINE_bool("rebuild", False, "Make the index of the gallery anew.")
    flags.mark_flags_as_required(["gallery"])
    command.run(main)
