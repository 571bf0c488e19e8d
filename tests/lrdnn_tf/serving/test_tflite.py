import pathlib

import numpy as np
import pytest

from experiments.tflite_loss import measure
from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.data.split import read_split
from lrdnn_tf.export import export_tflite
from lrdnn_tf.model.lrdnn import build_model
from lrdnn_tf.serving.tflite import embed_by_tflite, to_tflite


@pytest.mark.parametrize(
    "phase, precision, least",
    [("identity", "int8", 0.99), pytest.param("fusion", "float16", 0.999, marks=pytest.mark.slow)],
)
def test_converted_embeddings_are_near_the_original_ones(trained_run, tiny_dataset, tmp_path, phase, precision, least):
    model, config = runs.load_model(trained_run, phase)
    images = next(iter(read_split(tiny_dataset, "query").batches(config.height, config.width, 6))).numpy()
    expected = model(images, training=False)["embedding"].numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    path = export_tflite(trained_run, phase, precision, tmp_path)
    assert path == tmp_path / f"{phase}-{precision}.tflite"
    assert list(tmp_path.iterdir()) == [path]
    found = embed_by_tflite(path, images)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)
    assert np.sum(found * expected, axis=1).min() > least
    weights = sum(
        variable.numpy().nbytes for variable in model.trainable_variables if "classifier" not in variable.name
    )
    assert path.stat().st_size < weights * (0.35 if precision == "int8" else 0.6)


def test_the_model_of_the_caller_is_not_changed(tmp_path):
    config = ModelConfig(
        identities=5, height=64, width=32, backbone="small", pose_width=0.1, pose_maps="both", bilinear_dim=64
    )
    assert config.bilinear_method == "fft"
    model = build_model(config)
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 32, 3)).astype(np.float32)

    def state():
        outputs = {name: values.numpy() for name, values in model(images, training=False).items()}
        return [layer.get_config() for layer in model.layers], model.get_weights(), outputs

    layers, weights, outputs = state()
    (tmp_path / "model.tflite").write_bytes(to_tflite(model, config, "float16"))
    layers_after, weights_after, outputs_after = state()
    assert layers_after == layers
    assert len(weights_after) == len(weights)
    for found, expected in zip(weights_after, weights, strict=True):
        np.testing.assert_array_equal(found, expected)
    for name, values in outputs.items():
        np.testing.assert_array_equal(outputs_after[name], values)
    converted = embed_by_tflite(tmp_path / "model.tflite", images)
    np.testing.assert_allclose(np.sum(converted * outputs["embedding"], axis=1), 1, atol=1e-3)


def test_a_failed_write_leaves_the_previous_file(trained_run, tmp_path, monkeypatch):
    def fill_the_disk(path, content):
        write(path, content[:10])
        raise OSError(28, "No space left on device", str(path))

    write = pathlib.Path.write_bytes
    previous = tmp_path / "identity-int8.tflite"
    previous.write_bytes(b"previous")
    monkeypatch.setattr(pathlib.Path, "write_bytes", fill_the_disk)
    monkeypatch.setattr("lrdnn_tf.serving.tflite.to_tflite", lambda *_: b"a converted model")
    with pytest.raises(OSError, match="No space left"):
        export_tflite(trained_run, "identity", "int8", tmp_path)
    assert previous.read_bytes() == b"previous"
    assert list(tmp_path.iterdir()) == [previous]


def test_an_unknown_precision_is_named(trained_run, tmp_path):
    with pytest.raises(InputError, match="'int4' is not one of float16, int8"):
        export_tflite(trained_run, "identity", "int4", tmp_path)


@pytest.mark.slow
def test_the_loss_of_a_run_is_measured(trained_run, tiny_dataset):
    table = measure(trained_run, tiny_dataset.path, ["identity"])
    assert table["precision"].tolist() == ["float32", "float16", "int8"]
    assert table["rank1"].between(0, 1).all()
    assert table["least_cosine"].dropna().gt(0.98).all()
    assert table["size_mb"].is_monotonic_decreasing
