"""The images that every converter lists before it writes a dataset."""

from typing import NamedTuple

SPLITS = ("train", "query", "gallery")


class Crop(NamedTuple):
    """One image of one person.

    Attributes:
        path: Relative to the raw dataset.
        identity: lrdnn_tf.data.dataset.JUNK for junk, DISTRACTOR for a distractor, otherwise from 1.
        camera: Counted from 1; UNKNOWN_CAMERA of that module where it is unknown.
        attributes: One class index per attribute task, UNKNOWN for an unknown class.
    """

    path: str
    identity: int
    camera: int
    attributes: tuple[int, ...] = ()
