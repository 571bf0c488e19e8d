"""The one training loop: Keras' fit, with checkpoints, resuming, signals and clear errors around it.

A training resumes from its newest checkpoint, at any step of any epoch, and ends with the weights of a training that
was never stopped: batches are functions of (seed, epoch, step), the learning rate is a function of the step, everything
else is in the checkpoint.
"""

import contextlib
import pathlib
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import tensorflow as tf
import tf_keras as keras

from lrdnn_base.callbacks import (
    Checkpoints,
    EpochTable,
    Progress,
    RunningValues,
    StopOnNonFinite,
    StopWhenAsked,
)
from lrdnn_base.devices import Runtime
from lrdnn_base.errors import InputError
from lrdnn_base.run_folder import note_start, save_weights

Batches = Callable[[int, int, tuple[int, int]], tf.data.Dataset]


class TrainingModel(keras.Model):
    """A functional model whose training also reports the norm of the gradient, as "gradient_norm"."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.gradient_norm = keras.metrics.Mean("gradient_norm")

    def train_step(self, data):
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            outputs = self(images, training=True)
            loss = self.compute_loss(images, labels, outputs, sample_weight)
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)  # under mixed_float16 it is wrapped
        gradients = self.optimizer.compute_gradients(loss, self.trainable_variables, tape)
        gradients = list(optimizer.aggregate_gradients(gradients))  # over the replicas
        self.optimizer.apply_gradients(gradients, skip_gradients_aggregation=True)
        norm = tf.linalg.global_norm([gradient for gradient, _ in gradients])
        # A step that overflows in float16 is skipped, and its norm must not count; infinity times 0 would be NaN.
        finite = tf.math.is_finite(norm)
        self.gradient_norm.update_state(tf.where(finite, norm, 0.0), tf.cast(finite, tf.float32))
        return self.compute_metrics(images, labels, outputs, sample_weight)


def with_synchronized_batch_norms(model: keras.Model) -> keras.Model:
    """The same model with BatchNorms, also those of nested models, that use the batch of all devices, not a part of it.

    A training on several devices then learns what a training on one device learns from the same batch.
    """

    def rebuilt(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return with_synchronized_batch_norms(layer)
        changed = {"synchronized": True} if isinstance(layer, keras.layers.BatchNormalization) else {}
        return layer.__class__.from_config(layer.get_config() | changed)

    synchronized = keras.models.clone_model(model, clone_function=rebuilt)
    synchronized.set_weights(model.get_weights())
    return synchronized


def fit(
    model: TrainingModel,
    batches: Batches,
    name: str,
    folder: pathlib.Path,
    *,
    epochs: int,
    steps: int,
    batch_size: int,
    shown: Mapping[str, str],
    runtime: Runtime,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Trains a compiled model to its last epoch, from the newest checkpoint in the folder if there is one.

    Args:
        model: Compiled, with a learning rate that is a constant or a function of the step; built, like this call, in
            the scope of runtime.strategy.
        batches: Function from (epoch, step, part) to the batches of a worker from that step on, without end; part is
            (index, count) of the worker.
        name: Text before the progress.
        folder: The folder of this training; gets checkpoints/, metrics.csv, environment.json and tensorboard/.
        epochs: Epochs of the whole training.
        steps: Steps of an epoch.
        batch_size: Images of a step over all devices.
        shown: The logs that the progress shows and their format.
        runtime: How the training runs.
        callbacks: Further callbacks, for the chief only.

    Raises:
        InputError: The loss stops being finite, memory or disk is full, or the batch cannot be shared evenly.
        Stopped: SIGTERM or Ctrl-C, also of another worker; the state is saved first.
    """
    strategy = runtime.strategy
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise InputError(f"batch_size={batch_size} cannot be shared evenly by {replicas} devices")
    model.optimizer.build(model.trainable_variables)  # a checkpoint restores into existing variables only
    checkpoints = Checkpoints(model, folder, steps, runtime.checkpoint_seconds, runtime.has_other_workers)
    done = checkpoints.restore()
    if runtime.is_chief:
        note_start(folder, done)

    metrics = EpochTable(folder / "metrics.csv")

    def watchers(epoch: int, step: int) -> list[keras.callbacks.Callback]:
        return [
            RunningValues(),
            Progress(name, epochs, steps, batch_size, epoch, step, shown),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda done, logs: metrics.add(done + 1, logs)),
            keras.callbacks.TensorBoard(
                folder / "tensorboard", write_graph=False, profile_batch=runtime.profile_steps or 0
            ),
            *callbacks,
        ]

    # Keras would replace the weights by their average after each fit, and a resumed epoch is a fit of its own.
    model.optimizer.finalize_variable_values = lambda variables: None
    with _signals_noted() as signals, _out_of_memory_named(batch_size):
        for epoch, step, until in _rounds(done, steps, epochs):
            model.fit(
                _distributed(batches, epoch, step, batch_size // replicas, strategy),
                epochs=until,
                initial_epoch=epoch,
                steps_per_epoch=steps - step,
                verbose=0,
                callbacks=[
                    StopOnNonFinite(checkpoints),
                    *(watchers(epoch, step) if runtime.is_chief else []),
                    checkpoints,
                    StopWhenAsked(lambda: runtime.agree(max(signals, default=0)), checkpoints),
                ],
            )
    _take_average(model)


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Inside the block, a model that trains with a moving average of its weights has the average, as after training.

    A model without a moving average stays as it is.
    """
    current = model.get_weights()
    _take_average(model)
    try:
        yield
    finally:
        model.set_weights(current)


def _take_average(model: keras.Model) -> None:
    """Sets the weights to their moving average, if the optimizer keeps one."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # under mixed_float16 it is wrapped
    type(optimizer).finalize_variable_values(optimizer, model.trainable_variables)  # `fit` hides the instance's own


def _rounds(done: int, steps: int, epochs: int) -> list[tuple[int, int, int]]:
    """The remaining calls of fit, as (epoch, step, until): the rest of an interrupted epoch, then the whole ones."""
    epoch, step = divmod(done, steps)
    rounds = [(epoch, step, epoch + 1)] if step else []
    if epoch + len(rounds) < epochs:
        rounds.append((epoch + len(rounds), 0, epochs))
    return rounds


def save_trained(model: keras.Model, path: pathlib.Path, runtime: Runtime) -> None:
    """Saves the weights of a trained model, in the scope of the strategy; all workers take part, the chief writes."""
    if runtime.is_chief:
        save_weights(model, path)
        return
    with tempfile.TemporaryDirectory() as discarded:
        save_weights(model, pathlib.Path(discarded) / path.name)


def _distributed(
    batches: Batches, epoch: int, step: int, replica_size: int, strategy: tf.distribute.Strategy
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """The batches for this strategy: each worker prepares its own part, and splits it over its devices."""
    if strategy.num_replicas_in_sync == 1:
        return batches(epoch, step, (0, 1))

    def own_part(context: tf.distribute.InputContext) -> tf.data.Dataset:
        part = (context.input_pipeline_id, context.num_input_pipelines)
        return batches(epoch, step, part).rebatch(replica_size).prefetch(context.num_replicas_in_sync)

    return strategy.distribute_datasets_from_function(own_part)


@contextlib.contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Inside the block, the first SIGTERM or Ctrl-C is appended to the list, and the second one interrupts at once."""
    noted = []

    def note(number: int, frame: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)
        print("\nstopping after this step; repeat the signal to stop at once", flush=True)

    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _out_of_memory_named(batch_size: int) -> Iterator[None]:
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise InputError(
            f"the device's memory does not hold a batch of {batch_size}: try --batch_size={max(batch_size // 2, 1)}"
        ) from error
