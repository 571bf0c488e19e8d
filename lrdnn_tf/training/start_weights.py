"""The weights that a phase starts from: ImageNet's, or those of the phase before and of pose pretraining."""

import os

import tf_keras as keras

from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.model.lrdnn import CLASSIFIER_SUFFIX, POSE_BRANCH
from lrdnn_tf.model.main_branch import load_imagenet_weights
from lrdnn_tf.phases import PHASES, starts_from
from pose_pretrain.network import load_pose_network


def load_start_weights(
    model: keras.Model,
    phase: str,
    config: ModelConfig,
    run_dir: str | os.PathLike,
    imagenet_weights: str,
    pose_dir: str | os.PathLike | None = None,
) -> None:
    """Gives a fresh model the weights that its phase starts from.

    Args:
        model: Model returned by `lrdnn_tf.model.lrdnn.build_model` for config.
        phase: Name of the phase.
        config: The config of the model.
        run_dir: The run that holds the earlier phase.
        imagenet_weights: What the first phase starts from: "imagenet", "none", or the path of a weights file.
        pose_dir: The pretrained pose network; None stands for run_dir/pose.

    Raises:
        InputError: An earlier phase or the pose network is missing, or ImageNet weights cannot be fetched or read.
    """
    earlier = starts_from(phase, bool(config.attributes))
    if earlier is None:
        load_imagenet_weights(model, config.backbone, imagenet_weights)
        return
    source, _ = runs.load_model(run_dir, earlier)
    # The fused vector is another descriptor, so its classifiers start fresh.
    _copy_layers(source, model, skip_classifiers=PHASES[phase].pose_branch)
    if config.has_pose_branch:
        pose = load_pose_network(pose_dir or runs.pose_dir(run_dir), None, None)
        model.get_layer(POSE_BRANCH).set_weights(pose.get_weights())


def _copy_layers(source: keras.Model, target: keras.Model, skip_classifiers: bool) -> None:
    targets = {layer.name: layer for layer in target.layers}
    for layer in source.layers:
        if layer.weights and not (skip_classifiers and layer.name.endswith(CLASSIFIER_SUFFIX)):
            targets[layer.name].set_weights(layer.get_weights())
