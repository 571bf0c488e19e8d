"""From options to the model that a phase trains: what is inherited from the phase before, and what is refused."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from lrdnn_base.errors import InputError
from lrdnn_base.options import options_of
from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.data.dataset import Dataset
from lrdnn_tf.phases import ATTRIBUTES, PHASES, starts_from
from pose_pretrain.network import read_pose_width

# What the first phase of a run settles for the phases after it.
_INHERITED = ("backbone", "last_stride", "height", "width")


def phase_config(
    phase: str,
    dataset: Dataset,
    run_dir: str | os.PathLike | None,
    attributes: bool,
    options: Mapping[str, Any],
    pose_dir: str | os.PathLike | None = None,
) -> ModelConfig:
    """The model that a phase trains.

    Args:
        phase: Name of the phase.
        dataset: Its identities and attribute tasks give the heads.
        run_dir: Holds the phase that this one starts from, which settles backbone and input size; None for an identity
            phase that starts from no run.
        attributes: False leaves out the attribute heads (the paper's rows without A).
        options: Fields of ModelConfig to set; those that are left out have their default, or are inherited.
        pose_dir: The pretrained pose network; None stands for run_dir/pose.

    Raises:
        InputError: An earlier phase is missing or belongs to another dataset or size, the dataset has no attribute
            labels, or an option has no effect in this phase.
    """
    if phase not in PHASES:
        raise InputError(f"phase {phase!r} is not one of {', '.join(PHASES)}")
    refuse_without_effect(phase, ModelConfig, options)
    heads = dataset.attributes if PHASES[phase].attribute_heads and attributes else ()
    if phase == ATTRIBUTES and not heads:
        why = f"{dataset.path} has no labels, convert it with --attributes=FILE" if attributes else "--attributes=false"
        raise InputError(f"the attributes phase has nothing to learn ({why}): or continue with fusion --noattributes")
    fields = dict(options)
    if PHASES[phase].pose_branch:
        fields = {"pose_maps": "both"} | fields
        if fields["pose_maps"] == "positions":
            fields = {"channel_parse": False} | fields
        else:
            fields = {"pose_width": read_pose_width(pose_dir or runs.pose_dir(run_dir))} | fields
        if fields["pose_maps"] == "none":
            raise InputError("--pose_maps=none leaves nothing to fuse: the attributes phase trains that model")
    if run_dir is not None:
        earlier = starts_from(phase, attributes)
        before = runs.read_model_config(run_dir, earlier)
        if earlier != phase:  # only the first phase starts from one of other people
            _check_people(before, dataset, earlier)
        _check_inherited(before, fields, earlier)
        fields |= {field: getattr(before, field) for field in _INHERITED}
    return ModelConfig(identities=len(dataset.identities), attributes=heads, **fields)


def refuse_without_effect(phase: str, config: type, given: Iterable[str]) -> None:
    """Raises an InputError that names the first option that was given and has no effect in this phase.

    Args:
        phase: Name of the phase.
        config: The dataclass that declares the options.
        given: Names of the options that were given.
    """
    for field in options_of(config):
        only_in = field.metadata["only_in"]
        if field.name in given and only_in and phase not in only_in:
            where = " and ".join(only_in)
            raise InputError(f"--{field.name} has no effect in the {phase} phase, only in {where}: leave it out")


def _check_people(before: ModelConfig, dataset: Dataset, earlier: str) -> None:
    if before.identities != len(dataset.identities):
        raise InputError(
            f"{dataset.path} has {len(dataset.identities)} training identities, the {earlier} phase was trained on "
            f"{before.identities}: use the same dataset in every phase of a run"
        )


def _check_inherited(before: ModelConfig, given: Mapping[str, Any], earlier: str) -> None:
    for field in _INHERITED:
        if field in given and given[field] != getattr(before, field):
            raise InputError(
                f"--{field}={given[field]} differs from the {earlier} phase's {getattr(before, field)}: leave it out"
            )
