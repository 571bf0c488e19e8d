"""The files of a run folder, and how a trained phase is loaded from it.

runs/NAME/PHASE/config.json         the model, the training and where they came from
runs/NAME/PHASE/model.weights.h5    the trained weights, there only once the phase is complete
runs/NAME/PHASE/best.weights.h5     those of the best mAP while it trained, from --evaluate_every
runs/NAME/PHASE/checkpoints/        the newest states, which an interrupted phase resumes from
runs/NAME/PHASE/metrics.csv         losses and accuracies, one line an epoch
runs/NAME/PHASE/tensorboard/        the same as curves
runs/NAME/report/                   the evaluation of the trained weights; report_best/ that of the best ones
"""

import os
import pathlib

import tf_keras as keras

from lrdnn_base.errors import InputError
from lrdnn_base.run_folder import CONFIG_FILE, WEIGHTS_FILE, read_run_json
from lrdnn_tf.config import ModelConfig, model_config_from_json
from lrdnn_tf.model.lrdnn import build_model
from lrdnn_tf.phases import PHASES

BEST_WEIGHTS_FILE = "best.weights.h5"
WEIGHTS = {  # which weights of a phase, and what a report and a model card say about them
    "last": "those after the last epoch",
    "best": "those of the epoch with the highest mAP on query and gallery, chosen while the phase trained; "
    "numbers measured on these images flatter them",
}
HOW_TO_KEEP_BEST = "only a training with --evaluate_every keeps it; train in another --run_dir, or use --weights=last"


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


def weights_path(run_dir: str | os.PathLike, phase: str, weights: str = "last") -> pathlib.Path:
    """The file of a phase's weights, "last" or "best"; InputError for other words."""
    if weights not in WEIGHTS:
        raise InputError(f"weights {weights!r} is not one of {', '.join(WEIGHTS)}")
    return phase_dir(run_dir, phase) / (WEIGHTS_FILE if weights == "last" else BEST_WEIGHTS_FILE)


def report_path(run_dir: str | os.PathLike, weights: str = "last") -> pathlib.Path:
    """The folder of a run's report on these weights, unless another one is named."""
    return pathlib.Path(run_dir) / ("report" if weights == "last" else f"report_{weights}")


def trained_phases(run_dir: str | os.PathLike, weights: str = "last") -> list[str]:
    """The phases that are complete in this run and have these weights, in the order of training."""
    needed = {"last", weights}
    return [phase for phase in PHASES if all(weights_path(run_dir, phase, each).is_file() for each in needed)]


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


def load_model(run_dir: str | os.PathLike, phase: str, weights: str = "last") -> tuple[keras.Model, ModelConfig]:
    """The trained model of a phase, with its last or its best weights, and its config.

    Raises:
        InputError: The phase is missing or not complete, it has no such weights, or they do not fit its config.
    """
    config = read_model_config(run_dir, phase)
    path = weights_path(run_dir, phase, weights)
    if not weights_path(run_dir, phase).is_file():
        raise InputError(f"the {phase} phase in {run_dir} is not complete: {_how_to_train(run_dir, phase)}")
    if not path.is_file():
        raise InputError(f"{path.parent} has no {path.name}: {HOW_TO_KEEP_BEST}")
    model = build_model(config)
    try:
        model.load_weights(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} does not hold the weights of its config.json: {error}") from None
    return model, config


def _how_to_train(run_dir: str | os.PathLike, phase: str) -> str:
    return f"train it with python -m lrdnn_tf.train --phase={phase} --run_dir={run_dir} --data_dir=DATASET"
