"""The three phases (paper, section 4.3): what each trains, for how long, and what it starts from."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import tf_keras as keras

from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.data.dataset import Dataset
from lrdnn_tf.model.lrdnn import CLASSIFIER_SUFFIX, POSE_BRANCH
from lrdnn_tf.model.main_branch import load_imagenet_weights
from pose_pretrain.network import load_pose_network, read_pose_width


class Phase(NamedTuple):
    """One row of the table of phases."""

    epochs: int
    attribute_heads: bool
    pose_branch: bool


PHASES = {
    "identity": Phase(epochs=100, attribute_heads=False, pose_branch=False),
    "attributes": Phase(epochs=60, attribute_heads=True, pose_branch=False),
    "fusion": Phase(epochs=100, attribute_heads=True, pose_branch=True),
}

# What the phase that a run starts with settles for the phases after it.
_INHERITED = ("backbone", "last_stride", "height", "width")


def starts_from(phase: str, attributes: bool) -> str | None:
    """The phase whose weights a phase takes over; without attributes, fusion builds on identity."""
    if phase == "identity":
        return None
    return "attributes" if phase == "fusion" and attributes else "identity"


def phase_config(
    phase: str,
    dataset: Dataset,
    run_dir: str | os.PathLike,
    attributes: bool,
    options: Mapping[str, Any],
    pose_dir: str | os.PathLike | None = None,
) -> ModelConfig:
    """The model that a phase trains.

    Args:
        phase: Name of the phase.
        dataset: Its identities and attribute tasks give the heads.
        run_dir: Holds the phase that this one starts from, which settles backbone and input size.
        attributes: False leaves out the attribute heads (the paper's rows without A).
        options: Fields of ModelConfig to set; None stands for the default, or for what is inherited.
        pose_dir: The pretrained pose network; None stands for run_dir/pose.

    Raises:
        InputError: An earlier phase is missing or belongs to another dataset or size, or the dataset has no
            attribute labels.
    """
    if phase not in PHASES:
        raise InputError(f"phase {phase!r} is not one of {', '.join(PHASES)}")
    given = {field: value for field, value in options.items() if value is not None}
    heads = dataset.attributes if PHASES[phase].attribute_heads and attributes else ()
    if phase == "attributes" and not heads:
        why = f"{dataset.path} has no labels, convert it with --attributes=FILE" if attributes else "--attributes=false"
        raise InputError(f"the attributes phase has nothing to learn ({why}): or go on with fusion, without attributes")
    if PHASES[phase].pose_branch:
        given = {"pose_maps": "both", "pose_width": read_pose_width(pose_dir or runs.pose_dir(run_dir))} | given
        if given["pose_maps"] == "none":
            raise InputError("--pose_maps=none leaves nothing to fuse: the attributes phase is that model")
    else:
        given = {field: value for field, value in given.items() if field in _INHERITED}
    earlier = starts_from(phase, attributes)
    if earlier:
        before = runs.read_model_config(run_dir, earlier)
        _check_same_road(before, given, dataset, earlier)
        given |= {field: getattr(before, field) for field in _INHERITED}
    return ModelConfig(identities=len(dataset.identities), attributes=heads, **given)


def load_start_weights(
    model: keras.Model,
    phase: str,
    config: ModelConfig,
    run_dir: str | os.PathLike,
    imagenet_weights: str,
    pose_dir: str | os.PathLike | None = None,
) -> None:
    """Gives a fresh model the weights that its phase starts from, out of run_dir and pose_dir (run_dir/pose if None).

    Raises:
        InputError: An earlier phase or the pose pretraining is missing, or ImageNet weights cannot be had.
    """
    earlier = starts_from(phase, bool(config.attributes))
    if earlier is None:
        if config.backbone == "resnet50":
            load_imagenet_weights(model, imagenet_weights)
        return
    source, _ = runs.load_model(run_dir, earlier)
    # The fused vector is another descriptor, so its classifiers start fresh.
    _copy_layers(source, model, skip_classifiers=PHASES[phase].pose_branch)
    if PHASES[phase].pose_branch:
        pose = load_pose_network(pose_dir or runs.pose_dir(run_dir), None, None)
        model.get_layer(POSE_BRANCH).set_weights(pose.get_weights())


def _check_same_road(before: ModelConfig, given: Mapping[str, Any], dataset: Dataset, earlier: str) -> None:
    if before.identities != len(dataset.identities):
        raise InputError(
            f"{dataset.path} has {len(dataset.identities)} training identities, the {earlier} phase was trained on "
            f"{before.identities}: use the same dataset in every phase of a run"
        )
    for field in _INHERITED:
        if field in given and given[field] != getattr(before, field):
            raise InputError(
                f"--{field}={given[field]} differs from the {earlier} phase's {getattr(before, field)}: leave it out"
            )


def _copy_layers(source: keras.Model, target: keras.Model, skip_classifiers: bool) -> None:
    wanted = {layer.name: layer for layer in target.layers}
    for layer in source.layers:
        if layer.weights and not (skip_classifiers and layer.name.endswith(CLASSIFIER_SUFFIX)):
            wanted[layer.name].set_weights(layer.get_weights())
