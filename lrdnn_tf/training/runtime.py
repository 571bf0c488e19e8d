"""Number precision and devices of a training process."""

import json
import os

import tensorflow as tf
import tf_keras as keras

from pose_pretrain.errors import InputError
from pose_pretrain.training_files import gpu_names

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
_TENSOR_CORES_SINCE = (7, 0)  # compute capability


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
    """The TensorFlow distribution strategy of that name; must come before anything else is computed.

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
        raise InputError(f"TF_CONFIG: task {own['type']} is no worker; training knows chief and worker only")
    return len(workers)


def read_steps(text: str | None) -> tuple[int, int] | None:
    """ "10,20" as (10, 20): the first and the last step of a trace."""
    if text is None:
        return None
    first, comma, last = text.partition(",")
    if not (comma and first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last)):
        raise InputError(f"profile_steps={text!r}: expected the first and the last step, such as 10,20")
    return int(first), int(last)


def device_names() -> str:
    """The devices that TensorFlow will use, in words."""
    return gpu_names() or "the CPU: TensorFlow found no GPU"


def _has_tensor_cores() -> bool:
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return bool(details) and all(gpu.get("compute_capability", (0, 0)) >= _TENSOR_CORES_SINCE for gpu in details)
