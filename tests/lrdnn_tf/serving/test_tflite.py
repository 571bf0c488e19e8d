import numpy as np
import pytest

from experiments.tflite_loss import measure
from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.data.split import read_split
from lrdnn_tf.export import export_tflite
from lrdnn_tf.serving.tflite import embed_by_tflite


@pytest.mark.parametrize(
    "phase, precision, least",
    [("identity", "int8", 0.99), pytest.param("fusion", "float16", 0.999, marks=pytest.mark.slow)],
)
def test_embeddings_stay_where_they_were(trained_run, tiny_dataset, tmp_path, phase, precision, least):
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
