"""A folder of crops as a searchable gallery: embed with a SavedModel, find the nearest, draw what was found."""

import os
import pathlib
from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from pose_pretrain.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_TILE_HEIGHT, _TILE_WIDTH, _CAPTION, _GAP = 192, 96, 34, 6


def load_saved_model(path: str | os.PathLike) -> tf.Module:
    """Opens a SavedModel that `lrdnn_tf.export` wrote: the version folder, or the newest version under path.

    Raises:
        InputError: There is none.
    """
    folder = pathlib.Path(path)
    if not (folder / "saved_model.pb").is_file():
        versions = [int(file.parent.name) for file in folder.glob("*/saved_model.pb") if file.parent.name.isdigit()]
        if not versions:
            raise InputError(f"no SavedModel in {folder}: write one with python -m lrdnn_tf.export")
        folder = folder / str(max(versions))
    try:
        return tf.saved_model.load(os.fspath(folder))
    except (OSError, IndexError, ValueError, tf.errors.OpError) as error:  # what TensorFlow makes of damaged files
        raise InputError(f"the SavedModel in {folder} is damaged, export it again: {error}") from None


def find_images(path: str | os.PathLike) -> list[pathlib.Path]:
    """The image files of a folder and its subfolders, sorted by name; a file stands for itself.

    Raises:
        InputError: There is no such file or folder, or no image in it.
    """
    path = pathlib.Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"no file or folder {path}")
    images = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
    if not images:
        raise InputError(f"no image ({', '.join(IMAGE_SUFFIXES)}) in {path}: name a folder of crops")
    return images


def embed_images(model: tf.Module, paths: Sequence[pathlib.Path], batch_size: int = 32) -> dict[str, np.ndarray]:
    """What the SavedModel says of each image file.

    Returns:
        "embedding" float32 [n, D] of unit length; "attribute_classes" int32 [n, tasks];
        "attribute_scores" float32 [n, tasks].

    Raises:
        InputError: A file is no image that the model can read; all of them are named.
    """
    serve = model.signatures["serving_default"]
    unreadable, parts = [], []
    for start in tqdm(range(0, len(paths), batch_size), desc="embedding", unit="batch", disable=None):
        batch = paths[start : start + batch_size]
        try:
            parts.append(serve(image_bytes=tf.constant([path.read_bytes() for path in batch])))
        except tf.errors.InvalidArgumentError:
            unreadable += [path for path in batch if not _is_readable(path)]
    if unreadable:
        raise InputError(f"not an image that can be read: {', '.join(map(str, unreadable))}; remove or repair")
    return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}


def nearest(queries: np.ndarray, gallery: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest gallery embeddings of each query, best first.

    Args:
        queries: float32 [q, D], unit length.
        gallery: float32 [g, D], unit length.
        count: How many to return; at most g are.

    Returns:
        Indices int [q, count] into gallery, and cosine similarities float32 [q, count].
    """
    similarities = queries @ gallery.T
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(similarities, order, axis=1)


def describe_attributes(model: tf.Module, classes: np.ndarray) -> pd.DataFrame:
    """Attribute classes int [n, tasks] in words: one row per image, one column per task."""
    words = model.signatures["describe"]()
    names = [name.decode() for name in words["attribute_names"].numpy()]
    class_names = [line.decode().split(",") for line in words["class_names"].numpy()]
    return pd.DataFrame(
        {
            name: [labels[c] for c in classes[:, i]]
            for i, (name, labels) in enumerate(zip(names, class_names, strict=True))
        }
    )


def contact_sheet(
    query_paths: Sequence[pathlib.Path],
    gallery_paths: Sequence[pathlib.Path],
    order: np.ndarray,
    similarities: np.ndarray,
) -> np.ndarray:
    """One row per query: the query, then what was found with its rank and similarity. uint8 [H, W, 3], BGR."""
    rows = []
    for query, found, scores in zip(query_paths, order, similarities, strict=True):
        tiles = [_tile(query, "query")]
        tiles += [
            _tile(gallery_paths[i], f"{n}: {s:.3f}") for n, (i, s) in enumerate(zip(found, scores, strict=True), 1)
        ]
        rows.append(np.concatenate(tiles, axis=1))
    return np.concatenate(rows, axis=0)


def _tile(path: pathlib.Path, caption: str) -> np.ndarray:
    tile = np.full([_TILE_HEIGHT + _CAPTION, _TILE_WIDTH + _GAP, 3], 255, np.uint8)
    image = cv2.resize(cv2.imread(os.fspath(path)), (_TILE_WIDTH, _TILE_HEIGHT), interpolation=cv2.INTER_CUBIC)
    tile[:_TILE_HEIGHT, :_TILE_WIDTH] = image
    position = (2, _TILE_HEIGHT + 18)
    cv2.putText(tile, caption, position, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    return tile


def _is_readable(path: pathlib.Path) -> bool:
    try:
        tf.io.decode_image(path.read_bytes(), channels=3, expand_animations=False)
    except tf.errors.InvalidArgumentError:
        return False
    return True
