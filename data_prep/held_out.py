"""Training people who are held out as query and gallery, to choose settings on without a look at the test people."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_prep.crops import Crop
from lrdnn_base.errors import InputError
from lrdnn_base.options import check_options, option
from lrdnn_tf.data.dataset import DISTRACTOR, UNKNOWN_CAMERA


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """People who are held out from training."""

    held_out: int = option(
        0,
        "Number of training people, drawn at random, who become query and gallery in place of the dataset's own: to "
        "choose settings on, or to evaluate people who were all given for training.",
        at_least=0,
    )
    held_out_seed: int = option(0, "Seed of that draw.")

    def __post_init__(self):
        check_options(self)


def split_options(options: Mapping[str, Any]) -> tuple[HeldOut, dict[str, Any]]:
    """HeldOut from those of some options that it has, and the other options."""
    own = {field.name for field in dataclasses.fields(HeldOut)}
    return HeldOut(**{name: options[name] for name in own & options.keys()}), {
        name: value for name, value in options.items() if name not in own
    }


def hold_out(crops: Mapping[str, Sequence[Crop]], options: HeldOut) -> dict[str, list[Crop]]:
    """The crops with some training people as query and gallery; the given ones when `held_out` is 0.

    Of each of these people one image per camera becomes a query, as long as every query keeps a true match in the
    gallery, and the other images become the gallery. Query and gallery of the dataset are left out, strangers included.

    Args:
        crops: The images of each of SPLITS.
        options: How many people, and the seed of their draw.

    Raises:
        InputError: Fewer training people than that have images which can be a query and its match.
    """
    if not options.held_out:
        return dict(crops)
    rng = np.random.default_rng(options.held_out_seed)
    of_person = {}
    for crop in crops["train"]:
        if crop.identity > DISTRACTOR:
            of_person.setdefault(crop.identity, []).append(crop)
    usable = [identity for identity in sorted(of_person) if _queries(of_person[identity], rng)]
    if len(usable) < options.held_out:
        raise InputError(
            f"--held_out={options.held_out}: {len(usable)} of the {len(of_person)} training people have images from "
            "two cameras, or two images where cameras are unknown"
        )
    chosen = set(rng.choice(usable, options.held_out, replace=False).tolist())
    queries = {query for identity in sorted(chosen) for query in _queries(of_person[identity], rng)}
    held = [crop for crop in crops["train"] if crop.identity in chosen]
    return {
        "train": [crop for crop in crops["train"] if crop.identity not in chosen],
        "query": [crop for crop in held if crop in queries],
        "gallery": [crop for crop in held if crop not in queries],
    }


def _queries(crops: Sequence[Crop], rng: np.random.Generator) -> list[Crop]:
    """Images of a person, one per camera, each with a match among the images that are left."""
    queries, gallery = [], list(crops)
    for camera in sorted({crop.camera for crop in crops}):
        candidates = [crop for crop in gallery if crop.camera == camera]
        query = candidates[rng.integers(len(candidates))]
        rest = [crop for crop in gallery if crop != query]
        if all(any(_is_match(asked, crop) for crop in rest) for asked in (*queries, query)):
            queries.append(query)
            gallery = rest
    return queries


def _is_match(query: Crop, crop: Crop) -> bool:
    return crop.camera != query.camera or query.camera == UNKNOWN_CAMERA
