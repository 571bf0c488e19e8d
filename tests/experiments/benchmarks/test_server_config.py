import pathlib
import re

import pytest

from experiments.benchmarks import server_config
from lrdnn_base.errors import InputError
from lrdnn_tf.serving.client import MODEL_NAME
from lrdnn_tf.serving.warmup import _BATCH_SIZES

DEPLOY = pathlib.Path(__file__).resolve().parents[3] / "deploy"


def test_models_config_names_the_model_as_the_clients_do():
    (model,) = server_config.read_models(DEPLOY / "models.config").model_config_list.config
    assert (model.name, model.model_platform) == (MODEL_NAME, "tensorflow")
    assert f":{model.base_path}:ro" in (DEPLOY / "compose.yaml").read_text()


def test_batching_config_is_one_that_the_server_takes_and_that_is_warmed_up():
    batching = server_config.read_batching(DEPLOY / "batching.config")
    sizes = list(batching.allowed_batch_sizes)
    assert sizes == sorted(sizes)
    assert sizes[-1] == batching.max_batch_size.value
    assert batching.num_batch_threads.value >= 1
    assert not batching.pad_variable_length_inputs  # it would pad images
    assert tuple(sizes) == _BATCH_SIZES


def test_monitoring_config_turns_prometheus_on():
    config = server_config.read_monitoring(DEPLOY / "monitoring.config").prometheus_config
    assert config.enable
    assert config.path.startswith("/")


def test_the_compose_file_hands_over_every_configuration():
    compose = (DEPLOY / "compose.yaml").read_text()
    handed_over = set(re.findall(r"/config/(\w+\.config)", compose))
    assert handed_over == {path.name for path in DEPLOY.glob("*.config")}
    assert set(re.findall(r'"127\.0\.0\.1:(\d+):\1"', compose)) == {"8500", "8501"}


@pytest.mark.parametrize("text", ["max_batchsize { value: 3 }", "max_batch_size: 3", "allowed_batch_sizes: one"])
def test_a_wrong_field_is_named(tmp_path, text):
    (tmp_path / "batching.config").write_text(text)
    with pytest.raises(InputError, match=r"batching\.config: no BatchingParameters: 1:"):
        server_config.read_batching(tmp_path / "batching.config")
