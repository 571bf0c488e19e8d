"""One training phase from config to weights: `train_phase`."""

import functools
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from lrdnn_base.command import command_line
from lrdnn_base.devices import Runtime
from lrdnn_base.errors import InputError
from lrdnn_base.files import write_json
from lrdnn_base.run_folder import CONFIG_FILE, refuse_other_config, was_started
from lrdnn_base.schedule import LearningRate
from lrdnn_base.training_loop import TrainingModel, fit, save_trained, with_synchronized_batch_norms
from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig, TrainingConfig, to_json
from lrdnn_tf.data.batches import training_batches
from lrdnn_tf.data.dataset import Dataset, training_images_hash
from lrdnn_tf.data.split import read_split
from lrdnn_tf.model.lrdnn import EMBEDDING, IDENTITY, POSE_BRANCH, build_model
from lrdnn_tf.training.channel_log import ChannelWeightsLog
from lrdnn_tf.training.losses import KnownAccuracy, known_cross_entropy, loss_weights, triplet_loss
from lrdnn_tf.training.monitoring import Retrieval, TrainingImages, write_hyperparameters
from lrdnn_tf.training.phases import load_start_weights

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
    """Trains one phase and leaves it in run_dir/PHASE; goes on from its newest checkpoint when it was interrupted.

    Args:
        phase: "identity", "attributes" or "fusion".
        dataset: A converted dataset with a train split.
        run_dir: The run, which gets this phase.
        model_config: From `lrdnn_tf.training.phases.phase_config`.
        training: Epochs, batch size and rates.
        runtime: How it runs: devices, XLA, traces, checkpoints.
        cache_images: Keep decoded images in memory.
        start_from: The run that holds the pose network and the phase that this one starts from; run_dir when None.
        pose_dir: The pretrained pose network, where it lies elsewhere than in that run's pose/.
        score: What to measure of the model while it trains, "mAP" among it; see
            `lrdnn_tf.training.monitoring.Retrieval`.
        score_every: Epochs from one measurement to the next.

    Returns:
        The file of the trained weights.

    Raises:
        InputError: An earlier phase is missing, the folder belongs to another config, the dataset is smaller
            than a batch, or the loss stops being a number.
        Stopped: SIGTERM or Ctrl-C; the state is saved first.
    """
    runtime = runtime or Runtime()
    folder = runs.phase_dir(run_dir, phase)
    weights = runs.weights_path(run_dir, phase)
    steps = _steps_per_epoch(dataset, training.batch_size)
    config = {
        "phase": phase,
        "model": to_json(model_config),
        "training": to_json(training),
        "dataset": {"name": dataset.name, "training_images": training_images_hash(dataset), "path": str(dataset.path)},
        "start_from": start_from and os.fspath(start_from),
        "pose_dir": pose_dir and os.fspath(pose_dir),
        "command": command_line(),
    }
    if was_started(folder):
        refuse_other_config(folder, _decisive(runs.read_config(run_dir, phase)), _decisive(config))
    if weights.is_file():
        print(f"{phase}: already trained, {weights}")
        return weights

    split = read_split(dataset, "train")

    def batches(epoch: int, step: int, part: tuple[int, int], cache_images: bool = False) -> tf.data.Dataset:
        return training_batches(
            split,
            model_config.height,
            model_config.width,
            training.batch_size,
            training.seed,
            epoch,
            step,
            part,
            images_per_identity=training.images_per_identity,
            random_erasing=training.random_erasing,
            cache_images=cache_images,
        )

    with runtime.strategy.scope():
        keras.utils.set_random_seed(training.seed)
        model = build_model(model_config)
        if runtime.strategy.num_replicas_in_sync > 1:
            model = with_synchronized_batch_norms(model)
        load_start_weights(model, phase, model_config, start_from or run_dir, training.imagenet_weights, pose_dir)
        if training.freeze_pose and model_config.pose_maps != "none":
            model.get_layer(POSE_BRANCH).trainable = False
        trained = TrainingModel(model.input, model.output, name=model.name)
        compile_model(trained, training, steps, runtime.jit_compile)
        watchers = []
        if runtime.is_chief:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / CONFIG_FILE, config)
            write_hyperparameters(folder, str(folder), config["model"] | config["training"])
            images, _ = next(iter(batches(0, 0, (0, 1))))
            watchers.append(TrainingImages(images, folder))
            # Among several workers no one can run the model alone.
            if model_config.pose_maps != "none" and model_config.channel_parse and not runtime.has_other_workers:
                watchers.append(ChannelWeightsLog(folder / "tensorboard/channels", model_config.pose_maps, images))
            if score:
                watchers.append(Retrieval(model, score, score_every, folder))
        fit(
            trained,
            lambda *place: labels_of(batches(*place, cache_images), trained.loss),
            phase,
            folder,
            epochs=training.epochs,
            steps=steps,
            batch_size=training.batch_size,
            shown=_SHOWN,
            runtime=runtime,
            callbacks=watchers,
        )
        save_trained(model, weights, runtime)
    return weights


def _steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    examples = dataset.splits["train"].examples if "train" in dataset.splits else 0
    if batch_size > examples:
        raise InputError(f"{dataset.path} has {examples} training images, not enough for --batch_size={batch_size}")
    return examples // batch_size


def _decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal for a training to go on, field by field; a dataset may have moved."""
    dataset = {f"dataset {field}": value for field, value in config["dataset"].items() if field != "path"}
    start = {field: config.get(field) for field in ("start_from", "pose_dir")}
    return config["model"] | config["training"] | dataset | start


def compile_model(model: keras.Model, training: TrainingConfig, steps: int, jit_compile: bool) -> None:
    """Adam at the parameters that its paper recommends (section 4.3); Keras' own epsilon is ten times larger."""
    tasks = [name for name in model.output if name != EMBEDDING]
    losses = {task: known_cross_entropy for task in tasks}
    if training.label_smoothing:
        losses[IDENTITY] = functools.partial(known_cross_entropy, smoothing=training.label_smoothing)
    weights = loss_weights(tasks, training.attribute_weight, IDENTITY)
    if training.triplet_weight:
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
    """Leaves only the labels that the outputs of the model learn from; the descriptor's are the identities."""

    def label(images: tf.Tensor, labels: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        labels = labels | {EMBEDDING: labels[IDENTITY]}
        return images, {output: labels[output] for output in outputs}

    return batches.map(label)
