"""Reads TensorFlow Serving's configuration files (deploy/*.config) against the messages that the server reads them by.

The package tensorflow-serving-api holds ModelServerConfig; BatchingParameters and MonitoringConfig it leaves out, so
their fields are listed here (tensorflow_serving/servables/tensorflow/session_bundle_config.proto and
tensorflow_serving/config/monitoring_config.proto).
"""

import os
import pathlib

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from google.protobuf.message import Message

from lrdnn_base.errors import InputError

_PACKAGE = "lrdnn_tf.serving_config"  # not the server's own name, which the pool may know one day
_FIELD = descriptor_pb2.FieldDescriptorProto
_INT64, _STRING = ".google.protobuf.Int64Value", ".google.protobuf.StringValue"
_MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": (1, _INT64),
        "batch_timeout_micros": (2, _INT64),
        "max_enqueued_batches": (3, _INT64),
        "num_batch_threads": (4, _INT64),
        "thread_pool_name": (5, _STRING),
        "allowed_batch_sizes": (6, [_FIELD.TYPE_INT64]),
        "pad_variable_length_inputs": (7, _FIELD.TYPE_BOOL),
    },
    "PrometheusConfig": {"enable": (1, _FIELD.TYPE_BOOL), "path": (2, _FIELD.TYPE_STRING)},
    "MonitoringConfig": {"prometheus_config": (1, f".{_PACKAGE}.PrometheusConfig")},
}


def read_models(path: str | os.PathLike) -> Message:
    """A file for --model_config_file as a ModelServerConfig; InputError when it is none."""
    from tensorflow_serving.config import model_server_config_pb2

    return _read(path, model_server_config_pb2.ModelServerConfig())


def read_batching(path: str | os.PathLike) -> Message:
    """A file for --batching_parameters_file as BatchingParameters; InputError when it is none."""
    return _read(path, _message("BatchingParameters"))


def read_monitoring(path: str | os.PathLike) -> Message:
    """A file for --monitoring_config_file as a MonitoringConfig; InputError when it is none."""
    return _read(path, _message("MonitoringConfig"))


def _read(path: str | os.PathLike, message: Message) -> Message:
    try:
        return text_format.Parse(pathlib.Path(path).read_text(), message)
    except text_format.ParseError as error:
        raise InputError(f"{path}: no {message.DESCRIPTOR.name}: {error}") from None


def _message(name: str) -> Message:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="serving_config.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
        message_type=[
            descriptor_pb2.DescriptorProto(name=message, field=[_field(*entry) for entry in fields.items()])
            for message, fields in _MESSAGES.items()
        ],
    )
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))()


def _field(name: str, number_and_type: tuple) -> descriptor_pb2.FieldDescriptorProto:
    """A type is a scalar's, a list of one for repeated, or the name of a message."""
    number, kind = number_and_type
    label = _FIELD.LABEL_REPEATED if isinstance(kind, list) else _FIELD.LABEL_OPTIONAL
    kind = kind[0] if isinstance(kind, list) else kind
    if isinstance(kind, str):
        return _FIELD(name=name, number=number, label=label, type=_FIELD.TYPE_MESSAGE, type_name=kind)
    return _FIELD(name=name, number=number, label=label, type=kind)
