"""The weights that a phase starts from: ImageNet's, those of another run, of the phase before, of pose pretraining."""

import os

import tf_keras as keras

from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.model.lrdnn import CLASSIFIER_SUFFIX, POSE_BRANCH
from lrdnn_tf.model.main_branch import load_imagenet_weights
from lrdnn_tf.phases import IDENTITY, PHASES, starts_from
from pose_pretrain.network import load_pose_network


def start_run(phase: str, run_dir: str | os.PathLike, start_from: str | os.PathLike | None) -> str | os.PathLike | None:
    """The run whose weights a phase starts from: a given one; else its own, or none for the first phase."""
    return start_from or (None if phase == IDENTITY else run_dir)


def load_start_weights(
    model: keras.Model,
    phase: str,
    config: ModelConfig,
    run_dir: str | os.PathLike | None,
    imagenet_weights: str,
    pose_dir: str | os.PathLike | None = None,
    training_images: str | None = None,
) -> None:
    """Gives a fresh model the weights that its phase starts from.

    Args:
        model: Model returned by `lrdnn_tf.model.lrdnn.build_model` for config.
        phase: Name of the phase.
        config: The config of the model.
        run_dir: The run that holds the earlier phase; None for a first phase that starts from no run.
        imagenet_weights: What such a first phase starts from: "imagenet", "none", or the path of a weights file.
        pose_dir: The pretrained pose network; None stands for run_dir/pose.
        training_images: Hash of the training images. Where a first phase starts from one of other images, classifiers
            start fresh, since they distinguish other people; None does not ask.

    Raises:
        InputError: An earlier phase or the pose network is missing, or ImageNet weights cannot be fetched or read.
    """
    if run_dir is None:
        load_imagenet_weights(model, config.backbone, imagenet_weights)
        return
    earlier = starts_from(phase, bool(config.attributes))
    source, _ = runs.load_model(run_dir, earlier)
    other_people = False
    if earlier == phase and training_images:
        other_people = runs.read_config(run_dir, earlier)["dataset"]["training_images"] != training_images
        taken = "all weights but those of the classifiers, since people are others," if other_people else "all weights"
        print(f"{phase}: {taken} from {runs.phase_dir(run_dir, earlier)}")
    # The fused vector is another descriptor, so its classifiers start fresh.
    _copy_layers(source, model, skip_classifiers=PHASES[phase].pose_branch or other_people)
    if config.has_pose_branch:
        pose = load_pose_network(pose_dir or runs.pose_dir(run_dir), None, None)
        model.get_layer(POSE_BRANCH).set_weights(pose.get_weights())


def _copy_layers(source: keras.Model, target: keras.Model, skip_classifiers: bool) -> None:
    targets = {layer.name: layer for layer in target.layers}
    for layer in source.layers:
        if layer.weights and not (skip_classifiers and layer.name.endswith(CLASSIFIER_SUFFIX)):
            targets[layer.name].set_weights(layer.get_weights())
