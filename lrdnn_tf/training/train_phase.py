"""One training phase from config to weights: `train_phase`."""

import functools
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from lrdnn_base.addons import addons
from lrdnn_base.command import command_line
from lrdnn_base.devices import Runtime
from lrdnn_base.errors import InputError
from lrdnn_base.files import write_json
from lrdnn_base.run_folder import CONFIG_FILE, locked, refuse_other_config, was_started
from lrdnn_base.schedule import LearningRate
from lrdnn_base.training_loop import TrainingModel, fit, save_trained, with_synchronized_batch_norms
from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig, TrainingConfig, to_json
from lrdnn_tf.data.batches import training_batches
from lrdnn_tf.data.dataset import Dataset, training_images_hash
from lrdnn_tf.data.split import Split, read_split
from lrdnn_tf.model.lrdnn import EMBEDDING, IDENTITY, POSE_BRANCH, build_model
from lrdnn_tf.training.losses import KnownAccuracy, known_cross_entropy, loss_weights, triplet_loss
from lrdnn_tf.training.monitoring import ChannelWeightsLog, Retrieval, write_hyperparameters, write_training_images
from lrdnn_tf.training.start_weights import load_start_weights, start_run

_SHOWN = {"loss": "{:.3f}", "identity_accuracy": "{:.1%}"}


def train_phase(
    phase: str,
    dataset: Dataset,
    run_dir: str | os.PathLike,
    model_config: ModelConfig,
    training: TrainingConfig,
    runtime: Runtime | None = None,
    cache_images: bool = False,
    start_from: str | os.PathLike | None = None,
    pose_dir: str | os.PathLike | None = None,
    score: Callable[[keras.Model], Mapping[str, float]] | None = None,
    score_every: int = 1,
) -> pathlib.Path:
    """Trains one phase and leaves it in run_dir/PHASE; an interrupted training resumes from its newest checkpoint.

    Args:
        phase: "identity", "attributes" or "fusion".
        dataset: A converted dataset with a train split.
        run_dir: The run, which gets this phase.
        model_config: Config returned by `lrdnn_tf.training.phase_config.phase_config`.
        training: Epochs, batch size and rates.
        runtime: How it runs: devices, XLA, traces, checkpoints.
        cache_images: Whether decoded images are kept in memory.
        start_from: The run that holds the pose network and the phase that this one starts from. When None it is
            run_dir, and an identity phase starts from no run.
        pose_dir: The pretrained pose network, where it is not in that run's pose/.
        score: Function from the model to its scores, "mAP" among them, to follow the training; see
            `lrdnn_tf.training.monitoring.Retrieval`.
        score_every: Epochs from one scoring to the next.

    Returns:
        The file of the trained weights.

    Raises:
        InputError: An earlier phase is missing, the folder belongs to another config or another training runs in it,
            the dataset has one identity or is smaller than a batch, or the loss stops being finite.
        Stopped: SIGTERM or Ctrl-C; the state is saved first.
    """
    runtime = runtime or Runtime()
    folder, weights = runs.phase_dir(run_dir, phase), runs.weights_path(run_dir, phase)
    steps = _steps_per_epoch(dataset, training.batch_size)
    config = _config_json(phase, dataset, model_config, training, start_from, pose_dir)
    with locked(folder, runtime), runtime.strategy.scope():
        if was_started(folder):
            refuse_other_config(folder, _resumable_fields(runs.read_config(run_dir, phase)), _resumable_fields(config))
        if weights.is_file():
            print(f"{phase}: already trained, {weights}")
            return weights
        batches = _batches(read_split(dataset, "train"), model_config, training)
        start = start_run(phase, run_dir, start_from)
        model = _start_model(phase, dataset, model_config, training, runtime, start, pose_dir)
        trained = TrainingModel(model.input, model.output, name=model.name)
        compile_model(trained, training, steps, runtime.jit_compile)
        callbacks = []
        if runtime.is_chief:
            if not was_started(folder):  # those of a training that ended before its first checkpoint
                (folder / runs.BEST_WEIGHTS_FILE).unlink(missing_ok=True)
            write_json(folder / CONFIG_FILE, config)
            write_hyperparameters(folder, str(folder), config["model"] | config["training"])
            images, _ = next(iter(batches()))
            write_training_images(folder, images)
            # Among several workers no one can run the model alone.
            if model_config.has_pose_branch and model_config.channel_parse and not runtime.has_other_workers:
                callbacks.append(ChannelWeightsLog(model, folder, model_config.pose_maps, images))
            if score:
                callbacks.append(Retrieval(model, score, score_every, folder))
        fit(
            trained,
            lambda *position: labels_of(batches(*position, cache_images=cache_images), trained.loss),
            phase,
            folder,
            epochs=training.epochs,
            steps=steps,
            batch_size=training.batch_size,
            shown=_SHOWN,
            runtime=runtime,
            callbacks=callbacks,
        )
        save_trained(model, weights, runtime)
    return weights


def _steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    if len(dataset.identities) == 1:
        raise InputError(f"{dataset.path} has 1 training identity, and identification needs two or more: add people")
    examples = dataset.splits["train"].examples if "train" in dataset.splits else 0
    if batch_size > examples:
        raise InputError(f"{dataset.path} has {examples} training images, not enough for --batch_size={batch_size}")
    return examples // batch_size


def _config_json(
    phase: str,
    dataset: Dataset,
    model_config: ModelConfig,
    training: TrainingConfig,
    start_from: str | os.PathLike | None,
    pose_dir: str | os.PathLike | None,
) -> dict[str, Any]:
    return {
        "phase": phase,
        "model": to_json(model_config),
        "training": to_json(training),
        "dataset": {"name": dataset.name, "training_images": training_images_hash(dataset), "path": str(dataset.path)},
        "start_from": start_from and os.fspath(start_from),
        "pose_dir": pose_dir and os.fspath(pose_dir),
        "command": command_line(),
    }


def _resumable_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that must be equal for a training to resume; a dataset may have moved to another path."""
    dataset = {f"dataset {field}": value for field, value in config["dataset"].items() if field != "path"}
    start = {field: config.get(field) for field in ("start_from", "pose_dir")}
    return config["model"] | config["training"] | dataset | start


def _batches(split: Split, model_config: ModelConfig, training: TrainingConfig) -> Callable[..., tf.data.Dataset]:
    """`training_batches` with the arguments that stay the same throughout a training."""
    return functools.partial(
        training_batches,
        split,
        model_config.height,
        model_config.width,
        training.batch_size,
        training.seed,
        images_per_identity=training.images_per_identity,
        random_erasing=training.random_erasing,
    )


def _start_model(
    phase: str,
    dataset: Dataset,
    model_config: ModelConfig,
    training: TrainingConfig,
    runtime: Runtime,
    run_dir: str | os.PathLike | None,
    pose_dir: str | os.PathLike | None,
) -> keras.Model:
    """The model of the phase with the weights that it starts from."""
    keras.utils.set_random_seed(training.seed)
    model = build_model(model_config)
    if runtime.strategy.num_replicas_in_sync > 1:
        model = with_synchronized_batch_norms(model)
    images = training_images_hash(dataset)
    load_start_weights(model, phase, model_config, run_dir, training.imagenet_weights, pose_dir, images)
    if training.freeze_pose and model_config.has_pose_branch:
        model.get_layer(POSE_BRANCH).trainable = False
    return model


def compile_model(model: keras.Model, training: TrainingConfig, steps: int, jit_compile: bool) -> None:
    """Adam at the parameters that its paper recommends (section 4.3); Keras' own epsilon is ten times larger."""
    tasks = [name for name in model.output if name != EMBEDDING]
    losses = {task: known_cross_entropy for task in tasks}
    if training.label_smoothing:
        losses[IDENTITY] = functools.partial(known_cross_entropy, smoothing=training.label_smoothing)
    weights = loss_weights(tasks, training.attribute_weight, IDENTITY)
    if training.triplet_weight:
        addons("--triplet_weight")  # fail before the first step, not inside the graph
        losses[EMBEDDING] = functools.partial(triplet_loss, margin=training.triplet_margin)
        weights[EMBEDDING] = training.triplet_weight
    rate = LearningRate(
        training.learning_rate, steps, training.epochs, training.decay, training.schedule, training.warmup_epochs
    )
    average = {"use_ema": True, "ema_momentum": training.ema} if training.ema else {}
    model.compile(
        keras.optimizers.Adam(rate, epsilon=1e-8, **average),
        loss=losses,
        loss_weights=weights,
        metrics={task: KnownAccuracy(name="accuracy") for task in tasks},
        jit_compile=jit_compile,
    )


def labels_of(batches: tf.data.Dataset, outputs: Iterable[str]) -> tf.data.Dataset:
    """Keeps only the labels that the outputs of the model learn from; the descriptor's are the identities."""

    def label(images: tf.Tensor, labels: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        labels = labels | {EMBEDDING: labels[IDENTITY]}
        return images, {output: labels[output] for output in outputs}

    return batches.map(label)
