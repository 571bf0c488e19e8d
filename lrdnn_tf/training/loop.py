"""One training phase from config to weights: `train_phase`."""

import os
import pathlib
import shlex
import sys
from collections.abc import Iterable

import tensorflow as tf
import tf_keras as keras

from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig, TrainingConfig, to_json
from lrdnn_tf.data.dataset import Dataset
from lrdnn_tf.data.pipeline import training_batches
from lrdnn_tf.model.lrdnn import EMBEDDING, IDENTITY, build_model
from lrdnn_tf.training.losses import KnownAccuracy, known_cross_entropy, loss_weights
from lrdnn_tf.training.phases import load_start_weights
from pose_pretrain.callbacks import Checkpoints, MetricsTable, Progress, StopOnNonFinite
from pose_pretrain.errors import InputError
from pose_pretrain.training_files import refuse_other_config, save_weights, write_json

_SHOWN = {"loss": "{:.3f}", "identity_accuracy": "{:.1%}"}


def train_phase(
    phase: str,
    dataset: Dataset,
    run_dir: str | os.PathLike,
    model_config: ModelConfig,
    training: TrainingConfig,
    imagenet_weights: str = "imagenet",
    cache_images: bool = False,
) -> pathlib.Path:
    """Trains one phase and leaves it in run_dir/PHASE; goes on from the last epoch when it was interrupted.

    Args:
        phase: "identity", "attributes" or "fusion".
        dataset: A converted dataset with a train split.
        run_dir: The run; holds the phase that this one starts from.
        model_config: From `lrdnn_tf.training.phases.phase_config`.
        training: Epochs, batch size and rates.
        imagenet_weights: What the identity phase starts from: "imagenet", "none" or a path.
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
    config = {"phase": phase, "model": to_json(model_config), "training": to_json(training)}
    if runs.config_path(run_dir, phase).exists():
        begun = runs.read_config(run_dir, phase)
        refuse_other_config(folder, begun["model"] | begun["training"], config["model"] | config["training"])
    if weights.is_file():
        print(f"{phase}: already trained, {weights}")
        return weights

    keras.utils.set_random_seed(training.seed)
    model = build_model(model_config)
    load_start_weights(model, phase, model_config, pathlib.Path(run_dir), imagenet_weights)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(runs.config_path(run_dir, phase), config | _origin(dataset))
    _compile(model, training, steps)
    checkpoints = Checkpoints(model, folder / "checkpoints")
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


def _compile(model: keras.Model, training: TrainingConfig, steps: int) -> None:
    """Adam at its recommended parameters, the rate falling after every epoch (section 4.3)."""
    tasks = [name for name in model.output if name != EMBEDDING]
    rate = keras.optimizers.schedules.ExponentialDecay(training.learning_rate, steps, training.decay, staircase=True)
    model.compile(
        keras.optimizers.Adam(rate),
        loss={task: known_cross_entropy for task in tasks},
        loss_weights=loss_weights(tasks, training.attribute_weight, IDENTITY),
        metrics={task: KnownAccuracy(name="accuracy") for task in tasks},
    )


def _labels_of(batches: tf.data.Dataset, outputs: Iterable[str]) -> tf.data.Dataset:
    """Leaves only the labels of the tasks that the model has a head for."""
    return batches.map(lambda images, labels: (images, {task: labels[task] for task in outputs if task in labels}))


def _origin(dataset: Dataset) -> dict:
    """Where a model comes from: its dataset and the command that trained it."""
    command = shlex.join(["python", *sys.orig_argv[1:]])
    return {"dataset": {"name": dataset.name, "path": str(dataset.path)}, "command": command}
