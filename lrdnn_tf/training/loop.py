"""One training phase from config to weights: `train_phase`."""

import os
import pathlib
import shlex
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig, TrainingConfig, to_json
from lrdnn_tf.data.dataset import Dataset, training_images_hash
from lrdnn_tf.data.pipeline import training_batches
from lrdnn_tf.model.lrdnn import EMBEDDING, IDENTITY, build_model
from lrdnn_tf.training.losses import KnownAccuracy, known_cross_entropy, loss_weights
from lrdnn_tf.training.phases import load_start_weights
from pose_pretrain.callbacks import Checkpoints, MetricsTable, Progress, StopOnNonFinite
from pose_pretrain.errors import InputError
from pose_pretrain.training_files import has_begun, refuse_other_config, save_weights, write_json

_SHOWN = {"loss": "{:.3f}", "identity_accuracy": "{:.1%}"}


def train_phase(
    phase: str,
    dataset: Dataset,
    run_dir: str | os.PathLike,
    model_config: ModelConfig,
    training: TrainingConfig,
    cache_images: bool = False,
) -> pathlib.Path:
    """Trains one phase and leaves it in run_dir/PHASE; goes on from the last epoch when it was interrupted.

    Args:
        phase: "identity", "attributes" or "fusion".
        dataset: A converted dataset with a train split.
        run_dir: The run; holds the phase that this one starts from.
        model_config: From `lrdnn_tf.training.phases.phase_config`.
        training: Epochs, batch size and rates.
        cache_images: Keep decoded images in memory.

    Returns:
        The file of the trained weights.

    Raises:
        InputError: An earlier phase is missing, the folder belongs to another config, the dataset is smaller
            than a batch, or the loss stops being a number.
    """
    folder = runs.phase_dir(run_dir, phase)
    weights = runs.weights_path(run_dir, phase)
    steps = _steps_per_epoch(dataset, training.batch_size)
    config = {
        "phase": phase,
        "model": to_json(model_config),
        "training": to_json(training),
        "dataset": {"name": dataset.name, "training_images": training_images_hash(dataset), "path": str(dataset.path)},
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
    }
    if has_begun(folder):
        refuse_other_config(folder, _decisive(runs.read_config(run_dir, phase)), _decisive(config))
    if weights.is_file():
        print(f"{phase}: already trained, {weights}")
        return weights

    keras.utils.set_random_seed(training.seed)
    model = build_model(model_config)
    load_start_weights(model, phase, model_config, pathlib.Path(run_dir), training.imagenet_weights)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(runs.config_path(run_dir, phase), config)
    _compile(model, training)
    checkpoints = Checkpoints(model, folder)
    first_epoch = checkpoints.restore()
    batches = training_batches(
        dataset,
        model_config.height,
        model_config.width,
        training.batch_size,
        training.seed,
        first_epoch,
        images_per_identity=training.images_per_identity,
        random_erasing=training.random_erasing,
        cache_images=cache_images,
    )
    model.fit(
        _labels_of(batches, model.output),
        epochs=training.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=steps,
        verbose=0,
        callbacks=[
            keras.callbacks.LearningRateScheduler(lambda epoch: training.learning_rate * training.decay**epoch),
            StopOnNonFinite(),
            Progress(phase, training.epochs, steps, training.batch_size, first_epoch, _SHOWN),
            MetricsTable(folder / "metrics.csv", first_epoch),
            keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False),
            checkpoints,
        ],
    )
    save_weights(model, weights)
    return weights


def _steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    examples = dataset.splits["train"].examples if "train" in dataset.splits else 0
    if batch_size > examples:
        raise InputError(f"{dataset.path} has {examples} training images, not enough for --batch_size={batch_size}")
    return examples // batch_size


def _decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal for a training to go on, field by field; a dataset may have moved."""
    dataset = {f"dataset {field}": value for field, value in config["dataset"].items() if field != "path"}
    return config["model"] | config["training"] | dataset


def _compile(model: keras.Model, training: TrainingConfig) -> None:
    """Adam at the parameters that its paper recommends (section 4.3); Keras' own epsilon is ten times larger."""
    tasks = [name for name in model.output if name != EMBEDDING]
    model.compile(
        keras.optimizers.Adam(training.learning_rate, epsilon=1e-8),
        loss={task: known_cross_entropy for task in tasks},
        loss_weights=loss_weights(tasks, training.attribute_weight, IDENTITY),
        metrics={task: KnownAccuracy(name="accuracy") for task in tasks},
    )


def _labels_of(batches: tf.data.Dataset, outputs: Iterable[str]) -> tf.data.Dataset:
    """Leaves only the labels of the tasks that the model has a head for."""
    return batches.map(lambda images, labels: (images, {task: labels[task] for task in outputs if task in labels}))
