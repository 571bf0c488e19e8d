"""The files of a run folder, and how a trained phase is loaded from it.

runs/NAME/PHASE/config.json         the model, the training and where they came from
runs/NAME/PHASE/model.weights.h5    the trained weights, there only once the phase is complete
runs/NAME/PHASE/checkpoints/        the newest states, which an interrupted phase resumes from
runs/NAME/PHASE/metrics.csv         losses and accuracies, one line an epoch
runs/NAME/PHASE/tensorboard/        the same as curves
"""

import os
import pathlib

import tf_keras as keras

from lrdnn_base.errors import InputError
from lrdnn_base.run_folder import CONFIG_FILE, WEIGHTS_FILE, read_run_json
from lrdnn_tf.config import ModelConfig, model_config_from_json
from lrdnn_tf.model.lrdnn import build_model
from lrdnn_tf.phases import PHASES


def phase_dir(run_dir: str | os.PathLike, phase: str) -> pathlib.Path:
    """The folder of one phase; InputError when there is no such phase."""
    if phase not in PHASES:
        raise InputError(f"phase {phase!r} is not one of {', '.join(PHASES)}")
    return pathlib.Path(run_dir) / phase


def pose_dir(run_dir: str | os.PathLike) -> pathlib.Path:
    """The folder in which pose pretraining leaves its network."""
    return pathlib.Path(run_dir) / "pose"


def config_path(run_dir: str | os.PathLike, phase: str) -> pathlib.Path:
    return phase_dir(run_dir, phase) / CONFIG_FILE


def weights_path(run_dir: str | os.PathLike, phase: str) -> pathlib.Path:
    return phase_dir(run_dir, phase) / WEIGHTS_FILE


def trained_phases(run_dir: str | os.PathLike) -> list[str]:
    """The phases that are complete in this run, in the order of training."""
    return [phase for phase in PHASES if weights_path(run_dir, phase).is_file()]


def read_config(run_dir: str | os.PathLike, phase: str) -> dict:
    """config.json of a phase, as `lrdnn_tf.training.train_phase.train_phase` wrote it.

    Raises:
        InputError: The phase was not started here, or its config.json is not readable.
    """
    path = config_path(run_dir, phase)
    if not path.exists():
        raise InputError(f"no {phase} phase in {run_dir}: {_how_to_train(run_dir, phase)}")
    return read_run_json(path)


def read_model_config(run_dir: str | os.PathLike, phase: str) -> ModelConfig:
    """The model of a phase that was started; InputError when there is none, or its config.json is damaged."""
    content = read_config(run_dir, phase)
    try:
        return model_config_from_json(content["model"])
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{config_path(run_dir, phase)} is damaged ({error!r}): {_how_to_train(run_dir, phase)}"
        ) from None


def load_model(run_dir: str | os.PathLike, phase: str) -> tuple[keras.Model, ModelConfig]:
    """The trained model of a phase and its config.

    Raises:
        InputError: The phase is missing or not complete, or its weights do not fit its config.
    """
    config = read_model_config(run_dir, phase)
    weights = weights_path(run_dir, phase)
    if not weights.is_file():
        raise InputError(f"the {phase} phase in {run_dir} is not complete: {_how_to_train(run_dir, phase)}")
    model = build_model(config)
    try:
        model.load_weights(weights)
    except (OSError, ValueError) as error:
        raise InputError(f"{weights} does not hold the weights of its config.json: {error}") from None
    return model, config


def _how_to_train(run_dir: str | os.PathLike, phase: str) -> str:
    return f"train it with python -m lrdnn_tf.train --phase={phase} --run_dir={run_dir} --data_dir=DATASET"
