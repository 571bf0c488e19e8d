"""Number precision and devices of a training process."""

import tensorflow as tf
import tf_keras as keras

from pose_pretrain.errors import InputError

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
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


def device_names() -> str:
    """The devices that TensorFlow will use, in words."""
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return ", ".join(gpu.get("device_name", "GPU") for gpu in gpus) or "the CPU: TensorFlow found no GPU"


def _has_tensor_cores() -> bool:
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return bool(details) and all(gpu.get("compute_capability", (0, 0)) >= _TENSOR_CORES_SINCE for gpu in details)
