"""Devices and number precision of a training process, and how it runs: `Runtime`."""

import ctypes
import dataclasses
import json
import os
import pathlib
import sysconfig

import tensorflow as tf
import tf_keras as keras

from lrdnn_base.errors import InputError
from lrdnn_base.options import option

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
_TENSOR_CORES_SINCE = (7, 0)  # compute capability
_NVIDIA_DRIVER = pathlib.Path("/proc/driver/nvidia/version")
# What TensorFlow 2.21 opens at run time on a machine with an NVIDIA GPU (CUDA 12, cuDNN 9).
_CUDA_LIBRARIES = (
    "libcuda.so.1",
    "libcudart.so.12",
    "libcublas.so.12",
    "libcublasLt.so.12",
    "libcufft.so.11",
    "libcusolver.so.11",
    "libcusparse.so.12",
    "libcudnn.so.9",
)


@dataclasses.dataclass(frozen=True)
class Runtime:
    """How a training runs. Nothing here changes what is learned.

    Attributes:
        strategy: The TensorFlow distribution strategy, that is, on which devices the training runs.
        jit_compile: Whether XLA compiles the training step.
        profile_steps: First and last step of this process that TensorBoard gets a trace of; None for no trace.
        checkpoint_seconds: The least time between two checkpoints at the end of an epoch; within an epoch there is
            one every ten minutes.
    """

    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=tf.distribute.get_strategy)
    jit_compile: bool = False
    profile_steps: tuple[int, int] | None = None
    checkpoint_seconds: float = 60

    @property
    def is_chief(self) -> bool:
        """Whether this process writes files: the only process, or the chief of several workers."""
        return self.strategy.extended.should_checkpoint

    @property
    def has_other_workers(self) -> bool:
        """Whether other processes take part, which must save at the same step as this one."""
        return isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy)

    def agree(self, number: int) -> int:
        """The largest of the numbers that the workers pass, each of which must call this at the same point."""
        if not self.has_other_workers:
            return number
        numbers = self.strategy.experimental_distribute_values_from_function(lambda context: tf.constant([number]))
        return int(tf.reduce_max(self.strategy.gather(numbers, axis=0)))


@dataclasses.dataclass(frozen=True)
class RuntimeOptions:
    """The options of a command-line tool that become a Runtime."""

    precision: str = option(
        "auto", "Number format; auto is mixed_float16 on a GPU with tensor cores, else float32.", choices=PRECISIONS
    )
    strategy: str = option(
        "auto", "Devices; auto takes all GPUs, or all workers that TF_CONFIG names.", choices=STRATEGIES
    )
    jit_compile: bool = option(False, "Whether XLA compiles the training step.")
    profile_steps: str | None = option(None, "First and last step that TensorBoard gets a trace of, such as 10,20.")


def make_runtime(options: RuntimeOptions, name: str) -> Runtime:
    """Sets the precision of this process and returns its Runtime; prints both after `name`.

    Call it before anything else is computed with TensorFlow.

    Raises:
        InputError: An option cannot be used, or TF_CONFIG is not what TensorFlow expects.
    """
    runtime = Runtime(make_strategy(options.strategy), options.jit_compile, read_steps(options.profile_steps))
    print(f"{name}: {set_precision(options.precision)} on {device_names()}")
    return runtime


def set_precision(precision: str) -> str:
    """Sets Keras' policy for the models built from here on, and returns its name.

    Args:
        precision: One of PRECISIONS; "auto" is mixed_float16 on a GPU with tensor cores, float32 elsewhere.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision={precision!r} is not one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        precision = "mixed_float16" if _has_tensor_cores() else "float32"
    keras.mixed_precision.set_global_policy(precision)
    return precision


def make_strategy(name: str) -> tf.distribute.Strategy:
    """The TensorFlow distribution strategy of that name; call it before anything else is computed.

    Args:
        name: "one_device"; "mirrored", all GPUs of this machine; "multi_worker", all machines that TF_CONFIG names; or
            "auto": multi_worker where TF_CONFIG names several, else mirrored where there are several GPUs.

    Raises:
        InputError: TF_CONFIG is not what TensorFlow expects.
    """
    if name not in STRATEGIES:
        raise InputError(f"strategy={name!r} is not one of {', '.join(STRATEGIES)}")
    workers = _workers()
    if name == "auto":
        several_gpus = len(tf.config.list_physical_devices("GPU")) > 1
        name = "multi_worker" if workers > 1 else "mirrored" if several_gpus else "one_device"
    if name == "multi_worker":
        if not workers:
            raise InputError("--strategy=multi_worker needs TF_CONFIG, which names the workers; see WORKSPACE.md")
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.MirroredStrategy() if name == "mirrored" else tf.distribute.get_strategy()


def _workers() -> int:
    """How many workers TF_CONFIG names, the chief among them; 0 without it."""
    stored = os.environ.get("TF_CONFIG", "")
    if not stored:
        return 0
    try:
        content = json.loads(stored)
        cluster, own = content["cluster"], content["task"]
        workers = [*cluster.get("chief", []), *cluster["worker"]]
        own_address = cluster[own["type"]][own["index"]]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        expected = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        raise InputError(f"TF_CONFIG cannot be used ({error!r}); it looks like {expected}") from None
    if own_address not in workers:
        raise InputError(f"TF_CONFIG: task {own['type']} is not a worker; training takes chief and worker only")
    return len(workers)


def read_steps(text: str | None) -> tuple[int, int] | None:
    """ "10,20" as (10, 20): the first and the last step of a trace."""
    if text is None:
        return None
    first, comma, last = text.partition(",")
    if not (comma and first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last)):
        raise InputError(f"profile_steps={text!r}: expected the first and the last step, such as 10,20")
    return int(first), int(last)


def gpu_names() -> str:
    """Names of the GPUs that TensorFlow can use, separated by commas; empty where there is none."""
    return ", ".join(gpu.get("device_name", "GPU") for gpu in _gpu_details())


def device_names() -> str:
    """The devices that TensorFlow will use, for people. Says why not, where a GPU is there and cannot be used."""
    if gpus := gpu_names():
        return gpus
    if not _NVIDIA_DRIVER.is_file():
        return "the CPU: TensorFlow found no GPU"
    return f"the CPU: this machine has an NVIDIA driver, but TensorFlow cannot use the GPU ({_why_no_gpu()})"


def _why_no_gpu() -> str:
    missing = [library for library in _CUDA_LIBRARIES if not _can_be_loaded(library)]
    if missing:
        return f"cannot load {', '.join(missing)}: install the extra, pip install -e '.[gpu]'"
    return "every CUDA library is there; TF_CPP_MIN_LOG_LEVEL=0 shows TensorFlow's own messages"


def _can_be_loaded(library: str) -> bool:
    """Whether the loader finds a shared library, by itself or in the wheels that `tensorflow[and-cuda]` installs."""
    wheels = pathlib.Path(sysconfig.get_path("purelib"), "nvidia").glob(f"*/lib/{library}")
    for candidate in (library, *map(str, wheels)):
        try:
            ctypes.CDLL(candidate)
            return True
        except OSError:
            continue
    return False


def _has_tensor_cores() -> bool:
    details = _gpu_details()
    return bool(details) and all(gpu.get("compute_capability", (0, 0)) >= _TENSOR_CORES_SINCE for gpu in details)


def _gpu_details() -> list[dict]:
    return [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
