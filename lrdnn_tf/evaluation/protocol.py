"""The Market-1501 protocol (Zheng et al., ICCV 2015): which gallery images a query is to find, and which are ignored.

A true match of a query is a gallery image of its identity from another camera. Images of its identity from its own
camera and junk images are ignored; distractors are wrong for every query. Where the camera of an image is unknown,
every other image of the query's person counts as a match, which is easier: results of such data say so.
"""

import dataclasses

import numpy as np

from lrdnn_base.errors import InputError
from lrdnn_tf.data.dataset import DISTRACTOR, JUNK, LARGEST_IDENTITY, UNKNOWN_CAMERA

CROSS_CAMERA, ANY_CAMERA = "cross-camera", "any-camera"  # names of protocols
WHY_ANY_CAMERA = (
    "Cameras are unknown: every other image of a query's person counts as a match, even one from the same moment. "
    "This is not the cross-camera protocol, and is easier."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """Identity and camera of each image.

    Attributes:
        identities: int64 [images]: -1 for junk, 0 for a distractor, above 0 for a person.
        cameras: int64 [images], UNKNOWN_CAMERA where it is unknown. Both are converted from other types of integers.

    Raises:
        InputError: An argument is empty or not a vector of integers below 2**63, or they differ in length; the message
            names it.
    """

    identities: np.ndarray
    cameras: np.ndarray

    def __post_init__(self):
        for field in dataclasses.fields(self):
            values = np.asarray(getattr(self, field.name))
            if values.ndim != 1 or not len(values):
                raise InputError(f"{field.name}: expected one integer per image, not shape {values.shape}")
            if not np.issubdtype(values.dtype, np.integer):
                raise InputError(f"{field.name}: expected integers, not {values.dtype}")
            if values.max() > LARGEST_IDENTITY:  # only uint64 can be; comparing it with int64 would round both
                raise InputError(f"{field.name}: expected integers below 2**63, not {values.max()}")
            object.__setattr__(self, field.name, values.astype(np.int64, copy=False))
        if len(self.cameras) != len(self):
            raise InputError(f"cameras: {len(self.cameras)} cameras for {len(self)} identities")

    def __len__(self) -> int:
        return len(self.identities)

    @property
    def cameras_are_known(self) -> bool:
        """Whether every image has a camera."""
        return bool((self.cameras != UNKNOWN_CAMERA).all())

    def take(self, indices: np.ndarray) -> "Labels":
        """The labels of some of the images."""
        return Labels(self.identities[indices], self.cameras[indices])


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of a query and a gallery image, sorted by query: the pairs of query q are starts[q] to starts[q + 1].

    Attributes:
        gallery: int [pairs], the gallery image of each pair.
        starts: int [queries + 1].
    """

    gallery: np.ndarray
    starts: np.ndarray

    def of(self, query: int) -> np.ndarray:
        """The gallery images that are paired with a query."""
        return self.gallery[self.starts[query] : self.starts[query + 1]]

    @property
    def counts(self) -> np.ndarray:
        """int [queries], pairs of each query."""
        return np.diff(self.starts)


@dataclasses.dataclass(frozen=True, eq=False)
class Protocol:
    """The true matches and the ignored gallery images of every query.

    Attributes:
        matches: Each query with its true matches.
        same_camera: Each query with the images of its identity from its own camera, which are ignored.
        junk: int, gallery images that every query ignores.
        images: Number of gallery images without junk.
    """

    matches: Pairs
    same_camera: Pairs
    junk: np.ndarray
    images: int

    def require_matches(self) -> None:
        """Raises an InputError when no query has a true match."""
        if not self.matches.counts.any():
            raise InputError("query_labels: no query has an image of its identity from another camera in the gallery")


def protocol_name(query_labels: Labels, gallery_labels: Labels) -> str:
    """CROSS_CAMERA if all cameras are known, otherwise ANY_CAMERA."""
    return CROSS_CAMERA if query_labels.cameras_are_known and gallery_labels.cameras_are_known else ANY_CAMERA


def same_camera(cameras: np.ndarray, others: np.ndarray | int) -> np.ndarray:
    """Whether two images are known to be from one camera, for arrays of cameras that broadcast."""
    return (cameras == others) & (cameras != UNKNOWN_CAMERA)


def apply_protocol(query_labels: Labels, gallery_labels: Labels) -> Protocol:
    """The protocol for these queries and this gallery."""
    query_ids, gallery_ids = query_labels.identities, gallery_labels.identities
    order = np.argsort(gallery_ids, kind="stable")
    first = np.searchsorted(gallery_ids, query_ids, "left", sorter=order)
    counts = np.searchsorted(gallery_ids, query_ids, "right", sorter=order) - first
    counts[query_ids <= DISTRACTOR] = 0  # junk and distractors show no known person and match nothing
    query = np.repeat(np.arange(len(query_ids)), counts)
    within = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    gallery = order[first[query] + within]
    ignored = same_camera(query_labels.cameras[query], gallery_labels.cameras[gallery])

    def pairs(chosen: np.ndarray) -> Pairs:
        ends = np.cumsum(np.bincount(query[chosen], minlength=len(query_ids)))
        return Pairs(gallery[chosen], np.concatenate([[0], ends]))

    junk = np.flatnonzero(gallery_ids == JUNK)
    return Protocol(pairs(~ignored), pairs(ignored), junk, len(gallery_ids) - len(junk))
