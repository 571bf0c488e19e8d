"""Training speed of each phase in images per second: on one repeated batch, and with the real input pipeline.

The reference is the network of the first phase (identity) in a plain Keras train_on_batch loop. On a GPU:

    python -m experiments.benchmarks.training --batch_size=64 --steps=50 --precision=mixed_float16 --peak_tflops=989
"""

import dataclasses
import itertools
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext

import tensorflow as tf
import tf_keras as keras
from tensorflow.python.profiler.model_analyzer import profile
from tensorflow.python.profiler.option_builder import ProfileOptionBuilder

from data_prep import market1501
from experiments.benchmarks.compare import OURS, REFERENCE, Comparison
from experiments.benchmarks.conversion import make_dataset
from experiments.measure import peak_mb, timed
from lrdnn_base import command
from lrdnn_base.devices import PRECISIONS, device_names, set_precision
from lrdnn_base.errors import InputError
from lrdnn_base.options import check_options, option
from lrdnn_base.training_loop import TrainingModel
from lrdnn_tf.config import BACKBONES, ModelConfig, TrainingConfig
from lrdnn_tf.data.batches import training_batches
from lrdnn_tf.data.dataset import Dataset
from lrdnn_tf.data.split import read_split
from lrdnn_tf.model.lrdnn import EMBEDDING, build_model
from lrdnn_tf.phases import PHASES
from lrdnn_tf.training.train_phase import compile_model

IDENTITIES, TRAINING_IMAGES = 751, 12936  # of Market-1501
_LEARNING = TrainingConfig(epochs=1)
_WARM_UP = 2  # steps before those that are timed
_PASSES = 3  # operations of a training step in units of a forward pass


@dataclasses.dataclass(frozen=True)
class Options:
    phases: str = option(",".join(PHASES), "Phases to measure, separated by commas.")
    backbone: str = option("resnet50", "Backbone of the main branch.", choices=BACKBONES)
    height: int = option(256, "Input height in pixels.", at_least=1)
    width: int = option(128, "Input width in pixels.", at_least=1)
    pose_width: float = option(1.0, "Factor on the number of channels of the pose network.", above=0)
    bilinear_dim: int = option(8192, "Length of the fused descriptor.", at_least=1)
    batch_size: int = option(16, "Images per step.", at_least=1)
    steps: int = option(2, "Steps per measurement.", at_least=1)
    repeats: int = option(3, "Measurements, whose median counts.", at_least=1)
    precision: str = option("auto", "Number format.", choices=PRECISIONS)
    jit_compile: bool = option(False, "Compile the training step with XLA.")
    peak_tflops: float | None = option(None, "Peak TFLOP/s of the device; the share that is reached is reported.")
    trace_dir: str | None = option(None, "Folder for a TensorBoard trace of each phase.")

    def __post_init__(self):
        check_options(self)


def phase_model(phase: str, options: Options) -> keras.Model:
    """The network that a phase trains, uncompiled, with Market-1501's heads."""
    has = PHASES[phase]
    config = ModelConfig(
        identities=IDENTITIES,
        attributes=market1501.TASKS if has.attribute_heads else (),
        height=options.height,
        width=options.width,
        backbone=options.backbone,
        pose_maps="both" if has.pose_branch else "none",
        pose_width=options.pose_width,
        bilinear_dim=options.bilinear_dim,
    )
    return build_model(config)


def real_batches(dataset: Dataset, model: keras.Model, batch_size: int) -> tf.data.Dataset:
    """Training batches; the synthetic crops have no attributes, so the labels of those tasks are class 0."""
    _, height, width, _ = model.input_shape
    tasks = [name for name in model.output if name != EMBEDDING]
    zeros = tf.zeros([batch_size], tf.int32)
    return training_batches(read_split(dataset, "train"), height, width, batch_size, seed=0).map(
        lambda images, labels: (images, {task: labels.get(task, zeros) for task in tasks})
    )


def seconds_per_step(model: keras.Model, batches: tf.data.Dataset, steps: int, repeats: int = 1) -> float:
    """Median over several groups of steps in one call of model.fit, without the time to compile."""
    ends = []
    clock = keras.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: ends.append(time.perf_counter()))
    model.fit(batches, steps_per_epoch=_WARM_UP + steps * repeats, verbose=0, callbacks=[clock])
    ends = ends[_WARM_UP - 1 :: steps]
    return statistics.median((end - start) / steps for start, end in itertools.pairwise(ends))


def train_on_batch_loop(model: keras.Model, batch: tuple, steps: int) -> Callable[[], None]:
    """The reference: a plain loop over the same network and batch, after its first steps."""
    plain = keras.Model(model.input, model.output)
    compile_model(plain, _LEARNING, steps, jit_compile=False)

    def loop(steps: int = steps) -> None:
        for _ in range(steps):
            plain.train_on_batch(*batch)

    loop(_WARM_UP)
    return loop


def forward_gflops(model: keras.Model) -> float:
    """Floating point operations of a forward pass over one image, as TensorFlow counts them, in 10^9."""
    spec = tf.TensorSpec([1, *model.input_shape[1:]], tf.float32)
    graph = tf.function(lambda images: model(images, training=False)).get_concrete_function(spec).graph
    options = ProfileOptionBuilder(ProfileOptionBuilder.float_operation()).with_empty_output().build()
    return profile(graph, options=options).total_float_ops / 1e9


def measure_phase(phase: str, dataset: Dataset, options: Options) -> tuple[Comparison, dict[str, float]]:
    """Compares model.fit and the train_on_batch loop on one batch, and measures model.fit with the input pipeline."""
    plain = phase_model(phase, options)
    model = TrainingModel(plain.input, plain.output)
    compile_model(model, _LEARNING, options.steps, options.jit_compile)
    batches = real_batches(dataset, plain, options.batch_size)
    batch = next(iter(batches))
    repeated, loop = tf.data.Dataset.from_tensors(batch).repeat(), train_on_batch_loop(plain, batch, options.steps)
    seconds = {OURS: [], REFERENCE: []}
    for _ in range(options.repeats):
        seconds[OURS].append(seconds_per_step(model, repeated, options.steps))
        seconds[REFERENCE].append(timed(loop)[0] / options.steps)
    comparison = Comparison("training", seconds, {OURS: peak_mb()})
    with tf.profiler.experimental.Profile(f"{options.trace_dir}/{phase}") if options.trace_dir else nullcontext():
        real_s = seconds_per_step(model, batches, options.steps, options.repeats)
    synthetic, real = options.batch_size / comparison.median(OURS), options.batch_size / real_s
    print(f"  {phase:10} {synthetic:8.1f} images/s on one batch, {real:8.1f} with the input pipeline", flush=True)
    figures = {
        "synthetic_images_per_s": synthetic,
        "real_images_per_s": real,
        "tflops": _PASSES * forward_gflops(plain) * real / 1e3,
        "market1501_hours": PHASES[phase].epochs * TRAINING_IMAGES / real / 3600,
    }
    if options.peak_tflops:
        figures["share_of_peak"] = figures["tflops"] / options.peak_tflops
    return comparison, {f"{phase}_{name}": value for name, value in figures.items()}


def run_benchmark(options: Options) -> dict:
    """Measures the phases one after the other; the comparison that is reported is that of the first phase."""
    phases = options.phases.split(",")
    if unknown := set(phases) - set(PHASES):
        raise InputError(f"phases: no phase {', '.join(sorted(unknown))}: there are {', '.join(PHASES)}")
    precision = set_precision(options.precision)
    comparisons, figures = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        dataset = make_dataset(pathlib.Path(scratch), 40 * options.batch_size)
        for phase in phases:
            comparison, of_phase = measure_phase(phase, dataset, options)
            comparisons.append(comparison)
            figures |= of_phase
            keras.backend.clear_session()
    figures |= {"precision": precision, "devices": device_names(), "peak_mb": peak_mb()}  # the peak of all phases
    return comparisons[0].report(**dataclasses.asdict(options) | figures)


def main() -> None:
    run_benchmark(Options(**command.read_flags(Options)))


if __name__ == "__main__":
    command.define_flags(Options)
    command.run(main)
