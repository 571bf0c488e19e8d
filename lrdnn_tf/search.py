"""Finds a person in a folder of crops: python -m lrdnn_tf.search --model=DIR --gallery=DIR --query=FILE|DIR"""

import pathlib

import cv2
import numpy as np
import pandas as pd
from absl import flags

from lrdnn_tf import binary
from lrdnn_tf.serving import gallery
from pose_pretrain.errors import InputError

_SHEET_ROWS = 20  # queries on the contact sheet; a picture has limits, the table has none


def search(model_dir: str, gallery_dir: str, query: str, top: int, out_dir: str | None = None) -> pd.DataFrame:
    """Searches a folder for the people in one or several crops.

    Returns:
        One row per match: query, rank, similarity (cosine, -1..1), path, then the attributes in words.

    Raises:
        InputError: No model, no image, or an image that cannot be read.
    """
    query_paths = gallery.find_images(query)
    gallery_paths = gallery.find_images(gallery_dir)
    model = gallery.load_saved_model(model_dir)
    queries = gallery.embed_images(model, query_paths)
    found = gallery.embed_images(model, gallery_paths)
    order, similarities = gallery.nearest(queries["embedding"], found["embedding"], top)
    words = gallery.describe_attributes(model, found["attribute_classes"])
    matches = pd.DataFrame(
        {"query": str(query), "rank": rank, "similarity": similarity, "path": str(gallery_paths[index])}
        | (words.loc[index].to_dict() if len(words) else {})
        for query, row, scores in zip(query_paths, order, similarities, strict=True)
        for rank, (index, similarity) in enumerate(zip(row, scores, strict=True), 1)
    )
    if out_dir:
        first = slice(_SHEET_ROWS)
        sheet = gallery.contact_sheet(query_paths[first], gallery_paths, order[first], similarities[first])
        _write(pathlib.Path(out_dir), matches, sheet)
    return matches


def _write(out_dir: pathlib.Path, matches: pd.DataFrame, sheet: np.ndarray) -> None:
    out_dir.mkdir(parents=True, exist_ok=True)
    matches.to_csv(out_dir / "matches.csv", index=False)
    if not cv2.imwrite(str(out_dir / "matches.png"), sheet):
        raise InputError(f"cannot write {out_dir / 'matches.png'}: is the disk full?")


def main() -> None:
    args = flags.FLAGS
    matches = search(args.model, args.gallery, args.query, args.top, args.out_dir)
    shown = matches if matches["query"].nunique() > 1 else matches.drop(columns="query")
    print(shown.to_string(index=False, float_format="%.3f"))
    if args.out_dir:
        print(f"wrote matches.csv and matches.png to {args.out_dir}")


if __name__ == "__main__":
    flags.DEFINE_string("model", None, "A SavedModel from lrdnn_tf.export: a version, or the folder of versions.")
    flags.DEFINE_string("gallery", None, "Folder of person crops to search.")
    flags.DEFINE_string("query", None, "A crop of the person to find, or a folder of them.")
    flags.DEFINE_integer("top", 10, "How many matches to show for each query.", lower_bound=1)
    flags.DEFINE_string("out_dir", None, "Where matches.csv goes, and matches.png of the first queries.")
    flags.mark_flags_as_required(["model", "gallery", "query"])
    binary.run(main)
