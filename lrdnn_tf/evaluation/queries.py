"""Better queries from the same model: several photos of the person asked for, or what a first search finds."""

import numpy as np

from lrdnn_base.errors import InputError
from lrdnn_tf.data.dataset import DISTRACTOR
from lrdnn_tf.evaluation import ranking

POOLINGS = {"average": np.mean, "max": np.max}


def pool_queries(
    query: np.ndarray,
    gallery: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cameras: np.ndarray,
    gallery_cameras: np.ndarray,
    pooling: str = "average",
) -> np.ndarray:
    """Multi-query: every query pooled with all other images of its identity from its own camera.

    The multi-query setting of Market-1501 (Zheng et al., ICCV 2015), with average or max pooling. Its makers pool
    the hand-drawn boxes of a folder `gt_bbox`. A converted dataset has the same people in the same cameras among its
    queries (on Market-1501 one image of each, which alone would change nothing) and in its gallery, where the protocol
    ignores them for that very query: pooling them gives away none of the images that it is to find.

    Args:
        query, gallery: [queries, D] and [images, D] descriptors, scaled to length 1 here. Whoever has descriptors
            of `gt_bbox` gives those and their labels in the place of the gallery.
        query_ids, gallery_ids: Integer identities; 0 and below are nobody in particular and stay as they are.
        query_cameras, gallery_cameras: Integer cameras.
        pooling: "average"; or "max", which is made for descriptors without negative numbers.

    Returns:
        float32 [queries, D], not scaled again.

    Raises:
        InputError: As `ranking.rank`, or another pooling.
    """
    if pooling not in POOLINGS:
        raise InputError(f"pooling={pooling!r}: expected {' or '.join(POOLINGS)}")
    query, gallery, *labels = ranking.checked_inputs(
        query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras
    )
    query_ids, gallery_ids, query_cameras, gallery_cameras = labels
    people = np.concatenate([query_ids, gallery_ids])
    cameras = np.concatenate([query_cameras, gallery_cameras])
    order = np.lexsort((cameras, people))
    changes = np.flatnonzero(np.diff(people[order]).astype(bool) | np.diff(cameras[order]).astype(bool)) + 1
    pooled = query.copy()
    for group in np.split(order, changes):  # all images of one person in one camera
        asked, found = group[group < len(query)], group[group >= len(query)] - len(query)
        if len(asked) and people[group[0]] > DISTRACTOR:
            pooled[asked] = POOLINGS[pooling](np.concatenate([query[asked], gallery[found]]), axis=0)
    return pooled


def expand_queries(query: np.ndarray, gallery: np.ndarray, count: int) -> np.ndarray:
    """Average query expansion (Chum et al., ICCV 2007): the mean of every query and the images nearest to it.

    No label is looked at: images that the protocol ignores may be among the nearest, as in a real search.

    Args:
        query, gallery: [queries, D] and [images, D] descriptors, scaled to length 1 here.
        count: How many of the nearest, the lower index first among equals.

    Returns:
        float32 [queries, D], not scaled again.

    Raises:
        InputError: Bad descriptors, or a count that the gallery does not have.
    """
    images = ranking.normalized_stack(query, gallery)
    check_expansion(len(gallery), count)
    query, gallery = images[: len(query)], images[len(query) :]
    expanded = query.copy()
    rows = (row for block in ranking.opposite_cosines(query, gallery) for row in block)
    for number, distances in enumerate(rows):
        near = np.flatnonzero(distances <= np.partition(distances, count - 1)[count - 1])
        nearest = near[distances[near].argsort(kind="stable")[:count]]
        expanded[number] += gallery[nearest].sum(axis=0)
    return expanded / np.float32(count + 1)


def check_expansion(gallery_images: int, count: int) -> None:
    """Raises an InputError when a gallery of this size does not have so many images to expand a query with."""
    if not 1 <= count <= gallery_images:
        raise InputError(f"query_expansion={count}: expected 1 to the {gallery_images} images of the gallery")
