"""The images that every converter lists before it writes a dataset."""

import re
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from lrdnn_tf.data.dataset import DISTRACTOR, JUNK

SPLITS = ("train", "query", "gallery")
NO_NAMES = {str(JUNK): JUNK, str(DISTRACTOR): DISTRACTOR}  # what stands for nobody among names of identities


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


class ImageSource(Protocol):
    """What gives the bytes of an image file, such as a pathlib.Path; str() names it in messages."""

    def read_bytes(self) -> bytes: ...


def are_numbers(identities: Iterable[str]) -> bool:
    """Whether identities are given by number: a letter in one of them makes all of them names."""
    return all(re.fullmatch(r"-?\d+", identity) for identity in identities)


def number_names(identities: Iterable[str]) -> dict[str, int]:
    """Numbers for names of identities: 1, 2, ... in sorted order. -1 and 0 are no names and keep their meaning."""
    return {name: number for number, name in enumerate(sorted(set(identities) - set(NO_NAMES)), start=1)}
