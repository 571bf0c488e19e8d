"""Reads TensorFlow Serving's configuration files (deploy/*.config) into the messages that the server expects.

The package tensorflow-serving-api contains only ModelServerConfig; the other messages are declared here as in
tensorflow_serving/servables/tensorflow/session_bundle_config.proto and
tensorflow_serving/config/monitoring_config.proto.
"""

import os
import pathlib

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from google.protobuf.message import Message

from lrdnn_base.errors import InputError

# The package is not the server's own, whose messages a later tensorflow-serving-api may contain.
_MESSAGES = """
name: "serving_config.proto" package: "deploy" syntax: "proto3"
dependency: "google/protobuf/wrappers.proto"
message_type {
  name: "BatchingParameters"
  field { number: 1 name: "max_batch_size" type: TYPE_MESSAGE type_name: ".google.protobuf.Int64Value" }
  field { number: 2 name: "batch_timeout_micros" type: TYPE_MESSAGE type_name: ".google.protobuf.Int64Value" }
  field { number: 3 name: "max_enqueued_batches" type: TYPE_MESSAGE type_name: ".google.protobuf.Int64Value" }
  field { number: 4 name: "num_batch_threads" type: TYPE_MESSAGE type_name: ".google.protobuf.Int64Value" }
  field { number: 5 name: "thread_pool_name" type: TYPE_MESSAGE type_name: ".google.protobuf.StringValue" }
  field { number: 6 name: "allowed_batch_sizes" type: TYPE_INT64 label: LABEL_REPEATED }
  field { number: 7 name: "pad_variable_length_inputs" type: TYPE_BOOL }
}
message_type {
  name: "PrometheusConfig"
  field { number: 1 name: "enable" type: TYPE_BOOL }
  field { number: 2 name: "path" type: TYPE_STRING }
}
message_type {
  name: "MonitoringConfig"
  field { number: 1 name: "prometheus_config" type: TYPE_MESSAGE type_name: ".deploy.PrometheusConfig" }
}
"""


def read_models(path: str | os.PathLike) -> Message:
    """A file for --model_config_file as a ModelServerConfig; InputError if it is not one."""
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    return _read(path, ModelServerConfig)


def read_batching(path: str | os.PathLike) -> Message:
    """A file for --batching_parameters_file as BatchingParameters; InputError if it is not one."""
    return _read(path, _message_class("BatchingParameters"))


def read_monitoring(path: str | os.PathLike) -> Message:
    """A file for --monitoring_config_file as a MonitoringConfig; InputError if it is not one."""
    return _read(path, _message_class("MonitoringConfig"))


def _read(path: str | os.PathLike, message_class: type[Message]) -> Message:
    try:
        return text_format.Parse(pathlib.Path(path).read_text(), message_class())
    except text_format.ParseError as error:
        raise InputError(f"{path}: no {message_class.DESCRIPTOR.name}: {error}") from None


def _message_class(name: str) -> type[Message]:
    """The class of a message of _MESSAGES."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = text_format.Parse(_MESSAGES, descriptor_pb2.FileDescriptorProto())
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}"))
