"""Better queries from the same model: pooled with more images of the person, or with the results of a first search."""

import numpy as np

from lrdnn_base.errors import InputError
from lrdnn_tf.data.dataset import DISTRACTOR
from lrdnn_tf.evaluation import ranking
from lrdnn_tf.evaluation.protocol import Labels

POOLINGS = {"average": np.mean, "max": np.max}


def pool_queries(
    query: np.ndarray, gallery: np.ndarray, query_labels: Labels, gallery_labels: Labels, pooling: str = "average"
) -> np.ndarray:
    """Multi-query: every query pooled with all other images of its identity from its own camera.

    The multi-query setting of Market-1501 (Zheng et al., ICCV 2015), with average or max pooling. Its authors pool the
    hand-drawn boxes of a folder `gt_bbox`. A converted dataset has the same people in the same cameras among its
    queries (on Market-1501 one image of each, which alone would change nothing) and in its gallery, where the protocol
    ignores them for that query: pooling them reveals none of the images that the query is to find.

    Args:
        query, gallery: [queries, D] and [images, D] descriptors, normalized here. Descriptors of `gt_bbox` and their
            labels can be given instead of the gallery's.
        query_labels, gallery_labels: Their identities and cameras; queries of identity 0 or below are not pooled.
        pooling: "average"; or "max", which is meant for descriptors without negative numbers.

    Returns:
        float32 [queries, D], not normalized again.

    Raises:
        InputError: As for `ranking.rank`, or the pooling or a camera is unknown.
    """
    check_pooling(query_labels, gallery_labels, pooling)
    query, gallery = ranking.checked_descriptors(query, gallery, query_labels, gallery_labels)
    people = np.concatenate([query_labels.identities, gallery_labels.identities])
    cameras = np.concatenate([query_labels.cameras, gallery_labels.cameras])
    order = np.lexsort((cameras, people))
    changes = np.flatnonzero(np.diff(people[order]).astype(bool) | np.diff(cameras[order]).astype(bool)) + 1
    pooled = query.copy()
    for group in np.split(order, changes):  # all images of one person in one camera
        asked, found = group[group < len(query)], group[group >= len(query)] - len(query)
        if len(asked) and people[group[0]] > DISTRACTOR:
            pooled[asked] = POOLINGS[pooling](np.concatenate([query[asked], gallery[found]]), axis=0)
    return pooled


def check_pooling(query_labels: Labels, gallery_labels: Labels, pooling: str) -> None:
    """Raises an InputError when the pooling or a camera is unknown: a query would be pooled with its true matches."""
    if pooling not in POOLINGS:
        raise InputError(f"pooling={pooling!r}: expected {' or '.join(POOLINGS)}")
    if not (query_labels.cameras_are_known and gallery_labels.cameras_are_known):
        raise InputError("multi_query pools the images of the query's camera, and cameras are unknown: leave it out")


def expand_queries(query: np.ndarray, gallery: np.ndarray, count: int) -> np.ndarray:
    """Average query expansion (Chum et al., ICCV 2007): the mean of every query and the images nearest to it.

    Labels are not used: images that the protocol ignores may be among the nearest, as in a real search.

    Args:
        query, gallery: [queries, D] and [images, D] descriptors, normalized here.
        count: Number of nearest images; among equally near ones, the lower index first.

    Returns:
        float32 [queries, D], not normalized again.

    Raises:
        InputError: The descriptors cannot be used, or count is not between 1 and the size of the gallery.
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
    """Raises an InputError when a query cannot be averaged with so many images of a gallery of this size."""
    if not 1 <= count <= gallery_images:
        raise InputError(f"query_expansion={count}: expected 1 to the {gallery_images} images of the gallery")
