import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.data.split import read_split
from lrdnn_tf.export import export
from lrdnn_tf.serving.model_card import CARD_FILE, model_card, read_summary
from lrdnn_tf.serving.warmup import WARMUP_FILE

C_API_SCRIPT = pathlib.Path(__file__).with_name("run_by_c_api.py")


@pytest.fixture(scope="module")
def version(export_dir):
    return export_dir / "1"


@pytest.fixture(scope="module")
def loaded(version):
    return tf.saved_model.load(str(version))


def signature_def(version: pathlib.Path, name: str):
    content = (version / "saved_model.pb").read_bytes()
    return saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].signature_def[name]


def test_the_c_api_serves_what_evaluation_computes(trained_run, version, tiny_dataset, tmp_path):
    files = [tmp_path / f"{number}.jpg" for number in range(3)]
    for file, crop in zip(files, read_split(tiny_dataset, "query").image_files(range(3)), strict=True):
        file.write_bytes(crop)
    tensors = signature_def(version, "serving_default")
    names = [tensors.inputs["image_bytes"].name, tensors.outputs["embedding"].name]
    libraries = pathlib.Path(tf.__file__).parent
    # -I -S: the script can import neither this project nor installed packages.
    command = [sys.executable, "-I", "-S", C_API_SCRIPT, libraries, version, *names, *files]
    finished = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True, cwd=tmp_path)
    model, config = runs.load_model(trained_run, "fusion")
    images = next(iter(read_split(tiny_dataset, "query").batches(config.height, config.width, 3)))
    expected = model(images, training=False)["embedding"]
    np.testing.assert_allclose(json.loads(finished.stdout), expected, atol=1e-5)


def test_attributes_are_the_most_likely_class_and_its_probability(trained_run, loaded, tiny_dataset):
    model, config = runs.load_model(trained_run, "fusion")
    crops = read_split(tiny_dataset, "gallery").image_files(range(4))
    served = loaded.signatures["serving_default"](image_bytes=tf.constant(crops))
    images = next(iter(read_split(tiny_dataset, "gallery").batches(config.height, config.width, 4)))
    outputs = model(images, training=False)
    np.testing.assert_allclose(np.linalg.norm(served["embedding"], axis=1), 1, atol=1e-5)
    for column, task in enumerate(config.attributes):
        probabilities = tf.nn.softmax(outputs[task.name]).numpy()
        np.testing.assert_array_equal(served["attribute_classes"][:, column], probabilities.argmax(axis=1))
        np.testing.assert_allclose(served["attribute_scores"][:, column], probabilities.max(axis=1), atol=1e-5)


def test_pixels_of_any_size_are_embedded_as_their_image_file_is(loaded):
    serve = loaded.signatures
    for height, width in ((128, 64), (300, 90), (20, 10)):
        pixels = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        png = tf.io.encode_png(pixels[0])
        by_bytes = serve["serving_default"](image_bytes=png[tf.newaxis])["embedding"]
        by_pixels = serve["embed_pixels"](pixels=tf.constant(pixels))["embedding"]
        np.testing.assert_allclose(by_bytes, by_pixels, atol=1e-5)


def test_every_signature_has_an_input_and_a_row_for_each_of_its_rows(loaded, version):
    """TensorFlow Serving's REST interface and its batching refuse others."""
    inputs = {
        "serving_default": tf.constant([tf.io.encode_png(np.zeros([9, 5, 3], np.uint8)).numpy()] * 3),
        "embed_pixels": tf.zeros([3, 9, 5, 3], tf.uint8),
        "describe": tf.constant(["", "a", "b"]),
    }
    for name, value in inputs.items():
        (argument,) = signature_def(version, name).inputs
        for rows in (3, 0):
            outputs = loaded.signatures[name](**{argument: value[:rows]})
            assert {tensor.shape[0] for tensor in outputs.values()} == {rows}, name


def test_warm_up_requests_are_prediction_logs_that_the_model_answers(loaded, version):
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(version / WARMUP_FILE))
    ]
    requests = [log.predict_log.request for log in logs]
    assert {request.model_spec.signature_name for request in requests} == set(loaded.signatures)
    batches = {tensor.tensor_shape.dim[0].size for request in requests for tensor in request.inputs.values()}
    assert batches == {1, 2, 4, 8, 16, 32}
    for request in requests:
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        inputs = {n: tf.strings.as_string(v) if v.dtype == tf.string else v for n, v in inputs.items()}
        loaded.signatures[request.model_spec.signature_name](**inputs)


def test_the_model_card_describes_data_use_limits_and_law(trained_run, version):
    card = (version / CARD_FILE).read_text()
    for heading in ("Data", "Metrics", "Intended use", "Limits", "Law and ethics", "Config"):
        assert f"\n## {heading}\n" in card
    assert "`tiny`: 8 identities" in card
    assert "- gender: male, female" in card
    assert "DukeMTMC-reID" in card
    assert "withdrawn" in card
    assert "Not measured" in card
    config = json.loads(card.split("```json")[1].split("```")[0])
    assert config["model"] == runs.read_config(trained_run, "fusion")["model"]


def test_the_model_card_shows_what_the_report_measured(trained_run, tmp_path):
    phase = {"queries": 6, "rank1": 0.5, "mAP": 0.25, "mean_attribute_accuracy": None}
    (tmp_path / "report").mkdir()
    summary = {"dataset": "tiny", "chance_rank1": 0.125, "phases": {"identity": phase}}
    (tmp_path / "report/summary.json").write_text(json.dumps(summary))
    card = model_card(runs.read_config(trained_run, "identity"), read_summary(tmp_path))
    assert "| rank-1 | 50.0 |" in card
    assert "| rank-1 of a random order | 12.5 |" in card
    assert "no attribute heads" in card
    assert "attribute accuracy" not in card
    (tmp_path / "report/summary.json").write_text("{")
    with pytest.raises(InputError, match=r"summary\.json .*evaluate again"):
        read_summary(tmp_path)


def test_versions_count_up_and_a_model_without_attributes_exports_too(trained_run, tmp_path):
    (tmp_path / "9").mkdir()
    second = export(trained_run, "identity", tmp_path)
    assert second.name == "10"
    assert not list(tmp_path.glob("writing*"))
    answer = tf.saved_model.load(str(second)).signatures["embed_pixels"](pixels=tf.zeros([2, 64, 32, 3], tf.uint8))
    assert answer["attribute_classes"].shape == (2, 0)
    assert answer["embedding"].shape == (2, 256)


def test_an_interrupted_export_leaves_no_version(trained_run, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lrdnn_tf.serving.export.write_warmup_requests", stop)
    with pytest.raises(KeyboardInterrupt):
        export(trained_run, "identity", tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.isdigit()]


def test_exporting_a_missing_phase_says_how_to_train_it(tmp_path):
    with pytest.raises(InputError, match=r"no fusion phase .* --phase=fusion"):
        export(tmp_path / "run", "fusion", tmp_path / "export")
    assert not (tmp_path / "export").exists()
