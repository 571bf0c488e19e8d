"""Training of each phase in images a second: on one batch over and over, and through the real input pipeline.

The reference is the identity phase's network in a plain Keras train_on_batch loop. On a GPU:

    python -m experiments.benchmarks.training --batch_size=64 --steps=50 --precision=mixed_float16 --peak_tflops=989
"""

import contextlib
import itertools
import json
import pathlib
import statistics
import tempfile
import time

import tensorflow as tf
import tf_keras as keras
from absl import flags
from tensorflow.python.profiler.model_analyzer import profile
from tensorflow.python.profiler.option_builder import ProfileOptionBuilder

from data_prep import market1501
from experiments.benchmarks.conversion import make_raw_folder
from experiments.measure import peak_mb, timed
from lrdnn_base import command
from lrdnn_base.devices import PRECISIONS, device_names, set_precision
from lrdnn_base.training_loop import TrainingModel
from lrdnn_tf import attributes
from lrdnn_tf.config import BACKBONES, ModelConfig, TrainingConfig
from lrdnn_tf.data.dataset import Dataset, read_dataset
from lrdnn_tf.data.pipeline import training_batches
from lrdnn_tf.model.lrdnn import EMBEDDING, build_model
from lrdnn_tf.phases import PHASES
from lrdnn_tf.training.train_phase import compile_model

FLAGS = flags.FLAGS
IDENTITIES, TRAINING_IMAGES = 751, 12936  # of Market-1501
_LEARNING = TrainingConfig(epochs=1)
_WARM_UP = 2  # steps before those that count
_BACKWARD = 3  # the work of a training step, in forward passes


def phase_model(phase: str, backbone: str, height: int, width: int, pose_width: float, bilinear_dim: int):
    """The network that a phase trains, uncompiled, with Market-1501's heads."""
    has = PHASES[phase]
    config = ModelConfig(
        identities=IDENTITIES,
        attributes=attributes.MARKET1501 if has.attribute_heads else (),
        height=height,
        width=width,
        backbone=backbone,
        pose_maps="both" if has.pose_branch else "none",
        pose_width=pose_width,
        bilinear_dim=bilinear_dim,
    )
    return build_model(config)


def real_batches(dataset: Dataset, model: keras.Model, batch_size: int) -> tf.data.Dataset:
    """The batches of training; the generated crops have no attributes, so those labels are class 0."""
    _, height, width, _ = model.input_shape
    tasks = [name for name in model.output if name != EMBEDDING]
    zeros = tf.zeros([batch_size], tf.int32)
    return training_batches(dataset, height, width, batch_size, seed=0).map(
        lambda images, labels: (images, {task: labels.get(task, zeros) for task in tasks})
    )


class _StepTimes(keras.callbacks.Callback):
    """When each step ended."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())


def seconds_a_step(model: keras.Model, batches: tf.data.Dataset, steps: int, repeats: int) -> float:
    """Of model.fit, without the time to compile it: the median over several runs of steps."""
    times = _StepTimes()
    model.fit(batches, steps_per_epoch=_WARM_UP + steps * repeats, verbose=0, callbacks=[times])
    ends = times.ends[_WARM_UP - 1 :: steps]
    return statistics.median((end - start) / steps for start, end in itertools.pairwise(ends))


def seconds_by_train_on_batch(model: keras.Model, batch: tuple, steps: int, repeats: int) -> float:
    """The same of the plain loop that people write first."""
    keras_model = keras.Model(model.input, model.output)
    compile_model(keras_model, _LEARNING, steps, jit_compile=False)

    def loop() -> None:
        for _ in range(steps):
            keras_model.train_on_batch(*batch)

    for _ in range(_WARM_UP):
        keras_model.train_on_batch(*batch)
    return statistics.median(timed(loop)[0] / steps for _ in range(repeats))


def forward_gflops(model: keras.Model) -> float:
    """Floating point operations of a forward pass over one image, as TensorFlow counts them, in 10^9."""
    spec = tf.TensorSpec([1, *model.input_shape[1:]], tf.float32)
    graph = tf.function(lambda images: model(images, training=False)).get_concrete_function(spec).graph
    options = ProfileOptionBuilder(ProfileOptionBuilder.float_operation()).with_empty_output().build()
    return profile(graph, options=options).total_float_ops / 1e9


def run_benchmark(
    phases: tuple[str, ...] = tuple(PHASES),
    backbone: str = "resnet50",
    height: int = 256,
    width: int = 128,
    pose_width: float = 1.0,
    bilinear_dim: int = 8192,
    batch_size: int = 16,
    steps: int = 2,
    repeats: int = 3,
    jit_compile: bool = False,
    peak_tflops: float | None = None,
    trace_dir: str | None = None,
) -> dict:
    """Times the phases in turn, prints a table and one JSON line, and returns what it printed."""
    result = {"benchmark": "training", "ours_s": None, "reference_s": None, "speedup": None}
    with tempfile.TemporaryDirectory() as scratch:
        make_raw_folder(pathlib.Path(scratch) / "raw", 40 * batch_size, seed=0)
        market1501.convert(pathlib.Path(scratch) / "raw", pathlib.Path(scratch) / "out", name="generated")
        dataset = read_dataset(pathlib.Path(scratch) / "out")
        print(
            f"{keras.mixed_precision.global_policy().name} on {device_names()}; {backbone}, {height}x{width},", end=""
        )
        print(f" batches of {batch_size}, {'with' if jit_compile else 'without'} XLA")
        for phase in phases:
            plain = phase_model(phase, backbone, height, width, pose_width, bilinear_dim)
            model = TrainingModel(plain.input, plain.output)
            compile_model(model, _LEARNING, steps, jit_compile)
            batch = next(iter(real_batches(dataset, plain, batch_size)))
            synthetic = seconds_a_step(model, tf.data.Dataset.from_tensors(batch).repeat(), steps, repeats)
            if phase == "identity":
                result["ours_s"] = synthetic
                result["reference_s"] = seconds_by_train_on_batch(plain, batch, steps, repeats)
                result["speedup"] = result["reference_s"] / synthetic
            with _traced(trace_dir and f"{trace_dir}/{phase}"):
                real = seconds_a_step(model, real_batches(dataset, plain, batch_size), steps, repeats)
            rates = {"synthetic": batch_size / synthetic, "real": batch_size / real}
            tflops = _BACKWARD * forward_gflops(plain) * rates["real"] / 1e3
            hours = PHASES[phase].epochs * TRAINING_IMAGES / rates["real"] / 3600
            line = f"  {phase:10} {rates['synthetic']:8.1f} images/s on one batch, {rates['real']:8.1f} with the input"
            share = f" ({tflops / peak_tflops:.0%} of the peak)" if peak_tflops else ""
            print(f"{line} pipeline, {tflops:.2f} TFLOP/s{share}, Market-1501's schedule {hours:.1f} h", flush=True)
            result |= {f"{phase}_{kind}_images_per_s": rate for kind, rate in rates.items()}
            result |= {f"{phase}_tflops": tflops, f"{phase}_market1501_hours": hours}
            keras.backend.clear_session()
    if result["speedup"]:
        print(f"  identity beside train_on_batch of the same network: {result['speedup']:.2f} times as fast")
    result |= {"peak_mb": peak_mb(), "backbone": backbone, "batch_size": batch_size, "jit_compile": jit_compile}
    result |= {"precision": keras.mixed_precision.global_policy().name}
    print(json.dumps(result))
    return result


def _traced(folder: str | None) -> contextlib.AbstractContextManager:
    return tf.profiler.experimental.Profile(folder) if folder else contextlib.nullcontext()


def main() -> None:
    set_precision(FLAGS.precision)
    run_benchmark(
        tuple(FLAGS.phases), FLAGS.backbone, FLAGS.height, FLAGS.width, FLAGS.pose_width, FLAGS.bilinear_dim,
        FLAGS.batch_size, FLAGS.steps, FLAGS.repeats, FLAGS.jit_compile, FLAGS.peak_tflops, FLAGS.trace_dir,
    )  # fmt: skip


if __name__ == "__main__":
    flags.DEFINE_multi_enum("phases", list(PHASES), list(PHASES), "Phases to time.")
    flags.DEFINE_enum("backbone", "resnet50", BACKBONES, "Main branch.")
    flags.DEFINE_integer("height", 256, "Input height in pixels.")
    flags.DEFINE_integer("width", 128, "Input width in pixels.")
    flags.DEFINE_float("pose_width", 1.0, "Factor on the channels of the pose network.")
    flags.DEFINE_integer("bilinear_dim", 8192, "Length of the fused descriptor.")
    flags.DEFINE_integer("batch_size", 16, "Images a step.", lower_bound=1)
    flags.DEFINE_integer("steps", 2, "Steps of each measurement.", lower_bound=1)
    flags.DEFINE_integer("repeats", 3, "Measurements, of which the median counts.", lower_bound=1)
    flags.DEFINE_enum("precision", "auto", PRECISIONS, "Number format.")
    flags.DEFINE_bool("jit_compile", False, "Whether XLA compiles the training step.")
    flags.DEFINE_float("peak_tflops", None, "The device's peak, to say what share of it is reached.")
    flags.DEFINE_string("trace_dir", None, "Where TensorBoard finds traces of where the time goes, one a phase.")
    command.run(main)
