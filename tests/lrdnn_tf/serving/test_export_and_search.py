import shutil
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from lrdnn_tf import runs
from lrdnn_tf.data.pipeline import evaluation_batches, read_images
from lrdnn_tf.export import export
from lrdnn_tf.search import search
from lrdnn_tf.serving import gallery
from pose_pretrain.errors import InputError


@pytest.fixture(scope="module")
def export_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def version(trained_run, export_dir):
    return export(trained_run, "fusion", export_dir)


def test_a_process_without_our_code_serves_it_and_agrees_with_evaluation(trained_run, version, tiny_dataset, tmp_path):
    crops = read_images(tiny_dataset, "query", range(3))
    for number, crop in enumerate(crops):
        (tmp_path / f"{number}.jpg").write_bytes(crop)
    script = """
import sys
for package in ("lrdnn_tf", "pose_pretrain", "data_prep", "tf_keras"):
    sys.modules[package] = None  # an import would fail
import numpy as np
import tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
answer = serve(image_bytes=tf.constant([open(path, "rb").read() for path in sys.argv[3:]]))
np.savez(sys.argv[2], **{name: value.numpy() for name, value in answer.items()})
"""
    files = [str(tmp_path / f"{number}.jpg") for number in range(3)]
    subprocess.run([sys.executable, "-c", script, version, tmp_path / "out.npz", *files], check=True, cwd=tmp_path)
    served = np.load(tmp_path / "out.npz")
    model, config = runs.load_model(trained_run, "fusion")
    images = next(iter(evaluation_batches(tiny_dataset, "query", config.height, config.width, 3)))
    outputs = model(images, training=False)
    np.testing.assert_allclose(served["embedding"], outputs["embedding"], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(served["embedding"], axis=1), 1, atol=1e-5)
    for column, task in enumerate(config.attributes):
        probabilities = tf.nn.softmax(outputs[task.name]).numpy()
        np.testing.assert_array_equal(served["attribute_classes"][:, column], probabilities.argmax(axis=1))
        np.testing.assert_allclose(served["attribute_scores"][:, column], probabilities.max(axis=1), atol=1e-5)


def test_pixels_of_any_size_are_embedded_as_their_image_file_is(version):
    serve = tf.saved_model.load(str(version)).signatures
    for height, width in ((128, 64), (300, 90), (20, 10)):
        pixels = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        png = tf.io.encode_png(pixels[0])
        by_bytes = serve["serving_default"](image_bytes=png[tf.newaxis])["embedding"]
        by_pixels = serve["embed_pixels"](pixels=tf.constant(pixels))["embedding"]
        np.testing.assert_allclose(by_bytes, by_pixels, atol=1e-5)


def test_describe_names_tasks_and_classes(version, tiny_dataset):
    words = tf.saved_model.load(str(version)).signatures["describe"]()
    assert [name.decode() for name in words["attribute_names"].numpy()] == [t.name for t in tiny_dataset.attributes]
    assert words["class_names"].numpy()[0] == b"male,female"


def test_versions_count_up_and_a_model_without_attributes_exports_too(trained_run, version, export_dir):
    second = export(trained_run, "identity", export_dir)
    assert (version.name, second.name) == ("1", "2")
    assert not list(export_dir.glob("writing*"))
    answer = tf.saved_model.load(str(second)).signatures["embed_pixels"](pixels=tf.zeros([2, 64, 32, 3], tf.uint8))
    assert answer["attribute_classes"].shape == (2, 0)
    assert answer["embedding"].shape == (2, 256)


def test_exporting_a_missing_phase_says_how_to_train_it(tmp_path):
    with pytest.raises(InputError, match=r"no fusion phase .* --phase=fusion"):
        export(tmp_path / "run", "fusion", tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_search_finds_the_image_itself_first(version, raw_market, tmp_path):
    folder = raw_market / "bounding_box_test"
    query = sorted(folder.iterdir())[4]
    matches = search(str(version), str(folder), str(query), top=3, out_dir=str(tmp_path))
    assert matches["path"].iloc[0] == str(query)
    assert matches["similarity"].iloc[0] == pytest.approx(1, abs=1e-5)
    assert matches["similarity"].is_monotonic_decreasing
    assert matches["gender"].isin(["male", "female"]).all()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "matches.csv"), matches, check_dtype=False)
    assert cv2.imread(str(tmp_path / "matches.png")).shape[1] == 4 * 102


def test_search_names_every_file_that_is_no_image(version, raw_market, tmp_path):
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_text("not an image")
    (tmp_path / "c.jpg").write_bytes(next((raw_market / "query").iterdir()).read_bytes())
    with pytest.raises(InputError, match=r"a\.jpg, .*b\.png; remove or repair"):
        search(str(version), str(tmp_path), str(tmp_path / "c.jpg"), top=1)


@pytest.mark.parametrize("damaged", ["saved_model.pb", "variables/variables.data-00000-of-00001"])
def test_a_damaged_model_is_named(version, tmp_path, damaged):
    shutil.copytree(version, tmp_path / "1")
    content = (tmp_path / "1" / damaged).read_bytes()
    (tmp_path / "1" / damaged).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged, export it again"):
        gallery.load_saved_model(tmp_path)


def test_search_without_a_model_or_images_says_what_to_do(version, tmp_path):
    with pytest.raises(InputError, match=r"no SavedModel in .* lrdnn_tf.export"):
        gallery.load_saved_model(tmp_path)
    with pytest.raises(InputError, match="no file or folder"):
        search(str(version), str(tmp_path), str(tmp_path / "nobody.jpg"), top=1)


def test_nearest_orders_by_similarity_and_ties_by_position():
    embeddings = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8]], np.float32)
    order, similarities = gallery.nearest(embeddings[:1], embeddings, count=9)
    assert order.tolist() == [[0, 2, 3, 1]]
    np.testing.assert_allclose(similarities, [[1, 1, 0.6, 0]], atol=1e-6)
