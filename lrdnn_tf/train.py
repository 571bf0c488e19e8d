"""Trains one phase of LRDNN: python -m lrdnn_tf.train --phase=fusion --run_dir=runs/NAME --data_dir=DATASET"""

import dataclasses
import functools
import os
import pathlib
from typing import Any

from absl import flags

from lrdnn_base import command
from lrdnn_base.devices import Runtime, RuntimeOptions, make_runtime
from lrdnn_base.errors import InputError
from lrdnn_base.options import check_options, option, options_of
from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig, TrainingConfig
from lrdnn_tf.data.dataset import read_dataset
from lrdnn_tf.data.split import read_split
from lrdnn_tf.evaluation.retrieval import project_gallery, retrieval_scores
from lrdnn_tf.model.main_branch import takes_imagenet_weights
from lrdnn_tf.phases import ATTRIBUTES, FUSION, IDENTITY, PHASES
from lrdnn_tf.training.phase_config import phase_config, refuse_without_effect
from lrdnn_tf.training.start_weights import start_run
from lrdnn_tf.training.train_phase import train_phase


@dataclasses.dataclass(frozen=True)
class PhaseOptions:
    """Where a phase starts, and what is recorded beside its losses."""

    attributes: bool = option(
        True, "Whether attribute heads are trained (the paper's letter A).", only_in=(ATTRIBUTES, FUSION)
    )
    start_from: str | None = option(
        None,
        "The run with the pose network and the earlier phases. Default: RUN_DIR. The identity phase starts from "
        "that of the given run, with new classifiers where it was trained on other people.",
    )
    pose_dir: str | None = option(
        None, "The pretrained pose network. Default: the folder pose in that run.", only_in=(FUSION,)
    )
    cache_images: bool = option(False, "Keep decoded images in memory: faster, 320 MB for Market-1501.")
    evaluate_every: int = option(
        0, "Epochs between two measurements of mAP, the best weights of which are kept; 0 for none.", at_least=0
    )
    projector_images: int = option(
        1000, "Gallery images whose descriptors go to TensorBoard's projector after the last epoch.", at_least=0
    )

    def __post_init__(self):
        check_options(self)


def train(
    phase: str,
    run_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    runtime: Runtime | None = None,
    **options: Any,
) -> pathlib.Path:
    """Trains one phase of a run; an interrupted phase resumes from its newest checkpoint.

    >>> train("identity", "runs/small", "data/market1501", backbone="small", height=128, width=64, epochs=2)

    Args:
        phase: "identity", "attributes" or "fusion".
        run_dir: The run, such as runs/NAME, which gets the phase.
        data_dir: A dataset that data_prep converted.
        runtime: How it runs, see `lrdnn_base.devices.Runtime`.
        options: Fields of ModelConfig, TrainingConfig and PhaseOptions, by name.

    Returns:
        The file of the trained weights.

    Raises:
        InputError: An option does not exist, is not allowed or has no effect in this phase; the dataset or an earlier
            phase is missing or does not fit; the loss stops being finite.
        Stopped: SIGTERM or Ctrl-C; the state is saved first.
    """
    model_options, training_options, phase_options = (
        {field.name: options[field.name] for field in options_of(config) if field.name in options}
        for config in (ModelConfig, TrainingConfig, PhaseOptions)
    )
    if unknown := options.keys() - (model_options | training_options | phase_options).keys():
        raise InputError(f"no option {', '.join(sorted(unknown))}: see python -m lrdnn_tf.train --help")
    runs.phase_dir(run_dir, phase)  # refuses a phase that does not exist
    for config in (TrainingConfig, PhaseOptions):
        refuse_without_effect(phase, config, options)
    dataset = read_dataset(data_dir)
    if not dataset.has_images("train"):
        raise InputError(f"{dataset.path} has no training images: it can be used for evaluation only")
    chosen = PhaseOptions(**phase_options)
    start = start_run(phase, run_dir, chosen.start_from)
    model_config = phase_config(phase, dataset, start, chosen.attributes, model_options, chosen.pose_dir)
    if model_config.pose_maps == "positions":
        for name in ("pose_dir", "freeze_pose"):
            if options.get(name):
                raise InputError(f"--{name} has no effect with --pose_maps=positions: leave it out")
    if training_options.get("imagenet_weights", "none") != "none" and not takes_imagenet_weights(model_config.backbone):
        raise InputError(f"--imagenet_weights: there are none for --backbone={model_config.backbone}: leave it out")
    if phase == IDENTITY and start:
        if "imagenet_weights" in training_options:
            raise InputError("--imagenet_weights has no effect with --start_from in the identity phase: leave it out")
        training_options["imagenet_weights"] = "none"  # which config.json records
    runtime = runtime or Runtime()
    if chosen.evaluate_every and runtime.has_other_workers:
        raise InputError("--evaluate_every works on one machine only: leave it out, and use lrdnn_tf.evaluate")
    splits = {name: read_split(dataset, name) for name in ("query", "gallery")} if chosen.evaluate_every else {}
    weights = train_phase(
        phase,
        dataset,
        run_dir,
        model_config,
        TrainingConfig(**{"epochs": PHASES[phase].epochs} | training_options),
        runtime,
        cache_images=chosen.cache_images,
        start_from=chosen.start_from,
        pose_dir=chosen.pose_dir,
        score=functools.partial(retrieval_scores, **splits) if splits else None,
        score_every=chosen.evaluate_every,
    )
    if chosen.projector_images and runtime.is_chief and dataset.has_images("gallery"):
        gallery = splits.get("gallery") or read_split(dataset, "gallery")
        project_gallery(run_dir, phase, gallery, chosen.projector_images)
    return weights


def main() -> None:
    args = flags.FLAGS
    runtime = make_runtime(RuntimeOptions(**command.read_flags(RuntimeOptions)), args.phase)
    given = {}
    for config in (ModelConfig, TrainingConfig, PhaseOptions):
        given |= command.given_flags(config)
    train(args.phase, args.run_dir, args.data_dir, runtime, **given)


if __name__ == "__main__":
    flags.DEFINE_enum("phase", None, list(PHASES), "What to train; each phase starts from the one before it.")
    flags.DEFINE_string("run_dir", None, "The run, such as runs/NAME: each phase is a folder in it.")
    flags.DEFINE_string("data_dir", None, "A dataset that data_prep converted.")
    for config in (PhaseOptions, ModelConfig, TrainingConfig, RuntimeOptions):
        command.define_flags(config)
    flags.mark_flags_as_required(["phase", "run_dir", "data_dir"])
    command.run(main)
