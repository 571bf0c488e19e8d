"""TensorFlow Serving's configuration files (deploy/*.config) hold the messages that the server expects.

The package tensorflow-serving-api contains only ModelServerConfig; the other messages are declared here as in
tensorflow_serving/servables/tensorflow/session_bundle_config.proto and
tensorflow_serving/config/monitoring_config.proto.
"""

import pathlib
import re

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from experiments.benchmarks.loopback_server import read_batching
from lrdnn_tf.serving.client import MODEL_NAME
from lrdnn_tf.serving.warmup import _BATCH_SIZES

DEPLOY = pathlib.Path(__file__).resolve().parents[3] / "deploy"
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


def message_class(name):
    """The class of a message of _MESSAGES."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = text_format.Parse(_MESSAGES, descriptor_pb2.FileDescriptorProto())
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}"))


def read(file, message_class):
    return text_format.Parse((DEPLOY / file).read_text(), message_class())


def test_models_config_names_the_model_as_the_clients_do():
    (model,) = read("models.config", ModelServerConfig).model_config_list.config
    assert (model.name, model.model_platform) == (MODEL_NAME, "tensorflow")
    assert f":{model.base_path}:ro" in (DEPLOY / "compose.yaml").read_text()


def test_batching_config_is_one_that_the_server_takes_and_that_is_warmed_up():
    batching = read("batching.config", message_class("BatchingParameters"))
    sizes = list(batching.allowed_batch_sizes)
    assert sizes == sorted(sizes)
    assert sizes[-1] == batching.max_batch_size.value
    assert batching.num_batch_threads.value >= 1
    assert not batching.pad_variable_length_inputs  # it would pad images
    assert tuple(sizes) == _BATCH_SIZES


def test_monitoring_config_turns_prometheus_on():
    config = read("monitoring.config", message_class("MonitoringConfig")).prometheus_config
    assert config.enable
    assert config.path.startswith("/")


def test_the_compose_file_hands_over_every_configuration():
    compose = (DEPLOY / "compose.yaml").read_text()
    handed_over = set(re.findall(r"/config/(\w+\.config)", compose))
    assert handed_over == {path.name for path in DEPLOY.glob("*.config")}
    assert set(re.findall(r'"127\.0\.0\.1:(\d+):\1"', compose)) == {"8500", "8501"}


def test_the_benchmark_reads_every_parameter_as_the_server_does():
    message = read("batching.config", message_class("BatchingParameters"))
    fields = {field.name: value for field, value in message.ListFields()}
    sizes = fields.pop("allowed_batch_sizes")
    expected = {name: value.value for name, value in fields.items()} | {"allowed_batch_sizes": list(sizes)}
    assert read_batching(DEPLOY / "batching.config") == expected


@pytest.mark.parametrize("text", ["max_batchsize { value: 3 }", "max_batch_size: 3", "allowed_batch_sizes: one"])
def test_a_wrong_field_is_refused(text):
    with pytest.raises(text_format.ParseError, match="1:"):
        text_format.Parse(text, message_class("BatchingParameters")())
