"""The weights that --evaluate_every keeps, in evaluation, export and pictures, beside the last ones."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from lrdnn_base.errors import InputError
from lrdnn_base.run_folder import save_weights
from lrdnn_tf import runs
from lrdnn_tf.config import TrainingConfig
from lrdnn_tf.data.split import read_split
from lrdnn_tf.evaluate import evaluate
from lrdnn_tf.evaluation.results import Settings
from lrdnn_tf.evaluation.retrieval import retrieval_scores
from lrdnn_tf.export import export, export_tflite
from lrdnn_tf.serving.model_card import CARD_FILE
from lrdnn_tf.training.phase_config import phase_config
from lrdnn_tf.training.train_phase import train_phase
from lrdnn_tf.visualize import visualize

BEST = Settings(rerank=False, weights="best")


@pytest.fixture(scope="module")
def scored_run(trained_run, tmp_path_factory):
    """A copy of `trained_run` whose identity and fusion phases have best weights that differ from the last ones."""
    run_dir = tmp_path_factory.mktemp("scored") / "run"
    shutil.copytree(trained_run, run_dir)
    generator = np.random.default_rng(0)
    for phase in ("identity", "fusion"):
        model, _ = runs.load_model(run_dir, phase)
        for variable in model.trainable_variables:
            variable.assign(variable * generator.uniform(0.5, 1.5, variable.shape))
        save_weights(model, run_dir / phase / runs.BEST_WEIGHTS_FILE)
    return run_dir


@pytest.fixture
def run_copy(scored_run, tmp_path):
    """`scored_run`, for a test that writes into it."""
    shutil.copytree(scored_run, tmp_path / "run")
    return tmp_path / "run"


def test_last_weights_are_the_default_and_best_ones_those_of_the_best_file(scored_run):
    last, named, best = (runs.load_model(scored_run, "identity", *choice)[0] for choice in ((), ("last",), ("best",)))
    stored, _ = runs.load_model(scored_run, "identity")
    stored.load_weights(scored_run / "identity/best.weights.h5")
    pairs = zip(best.get_weights(), stored.get_weights(), last.get_weights(), named.get_weights(), strict=True)
    for b, expected, a, same in pairs:
        np.testing.assert_array_equal(b, expected)
        np.testing.assert_array_equal(a, same)
    assert not np.allclose(best.get_weights()[0], last.get_weights()[0])
    with pytest.raises(InputError, match="weights 'first' is not one of last, best"):
        runs.load_model(scored_run, "identity", "first")


@pytest.mark.parametrize(
    "use",
    [
        lambda run, data, out: runs.load_model(run, "attributes", "best"),
        lambda run, data, out: evaluate(run, data, ["attributes"], settings=BEST, report_dir=out / "report"),
        lambda run, data, out: export(run, "attributes", out / "export", "best"),
        lambda run, data, out: export_tflite(run, "attributes", "float16", out / "tflite", "best"),
    ],
)
def test_a_phase_without_best_weights_ends_in_one_line(scored_run, tiny_dataset, tmp_path, use):
    with pytest.raises(InputError, match=r"/attributes has no best\.weights\.h5: .*--evaluate_every") as error:
        use(scored_run, tiny_dataset.path, tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_run_without_best_weights_ends_in_one_line(trained_run, raw_market, tiny_dataset, tmp_path):
    with pytest.raises(InputError, match=r"no trained phase .* best\.weights\.h5: .*--evaluate_every"):
        evaluate(trained_run, tiny_dataset.path, settings=BEST)
    with pytest.raises(InputError, match=r"/fusion has no best\.weights\.h5: .*--evaluate_every"):
        visualize(trained_run, raw_market / "query", tmp_path / "out", weights="best")
    assert not (tmp_path / "out").exists()


def test_best_weights_of_a_training_that_left_no_state_are_deleted(tiny_dataset, tmp_path):
    file = tmp_path / "identity" / runs.BEST_WEIGHTS_FILE
    file.parent.mkdir()
    file.write_bytes(b"of another config")
    config = phase_config("identity", tiny_dataset, None, True, {"backbone": "small", "height": 64, "width": 32})
    train_phase("identity", tiny_dataset, tmp_path, config, TrainingConfig(epochs=1, batch_size=24))
    assert runs.trained_phases(tmp_path) == ["identity"]
    assert not file.exists()


def test_best_weights_of_a_phase_that_is_not_complete_are_refused(run_copy):
    runs.weights_path(run_copy, "fusion").unlink()
    with pytest.raises(InputError, match=r"the fusion phase in .* is not complete"):
        runs.load_model(run_copy, "fusion", "best")
    assert runs.trained_phases(run_copy, "best") == ["identity"]


def test_an_evaluation_of_the_best_weights_leaves_the_other_report_alone(run_copy, tiny_dataset, monkeypatch):
    last = evaluate(run_copy, tiny_dataset.path, ["identity"], settings=Settings(rerank=False))
    before = {file: file.stat().st_mtime_ns for file in (run_copy / "report").iterdir()}
    loaded, load_model = [], runs.load_model
    monkeypatch.setattr(runs, "load_model", lambda *choice: loaded.append(choice[1:]) or load_model(*choice))
    best = evaluate(run_copy, tiny_dataset.path, settings=BEST)
    assert loaded == [("identity", "best"), ("fusion", "best")]
    assert list(best["phases"]) == ["identity", "fusion"]  # those that have best weights
    assert {file: file.stat().st_mtime_ns for file in (run_copy / "report").iterdir()} == before
    assert (last["settings"]["weights"], best["settings"]["weights"]) == ("last", "best")
    assert json.loads((run_copy / "report_best/summary.json").read_text()) == best
    for folder, words in (("report", "after the last epoch"), ("report_best", "highest mAP")):
        assert words in (run_copy / folder / "index.html").read_text()
    model, _ = runs.load_model(run_copy, "identity", "best")
    scores = retrieval_scores(model, *(read_split(tiny_dataset, name) for name in ("query", "gallery")))
    assert best["phases"]["identity"]["mAP"] == pytest.approx(scores["mAP"])


@pytest.mark.parametrize(("weights", "folder"), [("best", "report"), ("last", "report_best")])
def test_the_report_folder_of_the_other_weights_is_refused(scored_run, tiny_dataset, tmp_path, weights, folder):
    # The model card and the tables read RUN/report as that of the last weights.
    (tmp_path / "link").symlink_to(scored_run)
    settings = Settings(rerank=False, weights=weights)
    with pytest.raises(InputError, match=f"--report_dir=.*{folder} is for the other weights") as error:
        evaluate(scored_run, tiny_dataset.path, settings=settings, report_dir=tmp_path / "link" / folder)
    assert "\n" not in str(error.value)
    assert not (scored_run / folder).exists()


def test_an_export_of_the_best_weights_serves_them_and_says_so(run_copy, tiny_dataset):
    for name, value in (("report", 0.25), ("report_best", 0.75)):
        numbers = {"dataset": "tiny", "chance_rank1": 0.1, "phases": {"identity": {"queries": 6, "mAP": value}}}
        (run_copy / name).mkdir()
        (run_copy / name / "summary.json").write_text(json.dumps(numbers))
    crops = read_split(tiny_dataset, "query").image_files(range(4))
    cards = {}
    for weights in runs.WEIGHTS:
        version = export(run_copy, "identity", run_copy / "export", weights)
        served = tf.saved_model.load(str(version)).signatures["serving_default"](image_bytes=tf.constant(crops))
        model, config = runs.load_model(run_copy, "identity", weights)
        images = next(iter(read_split(tiny_dataset, "query").batches(config.height, config.width, 4)))
        expected = tf.math.l2_normalize(model(images, training=False)["embedding"], axis=1)
        np.testing.assert_allclose(served["embedding"], expected, atol=1e-5)
        cards[weights] = (version / CARD_FILE).read_text()
    assert "| mAP | 25.0 |" in cards["last"] and "after the last epoch" in cards["last"]
    assert "| mAP | 75.0 |" in cards["best"] and "highest mAP" in cards["best"]
    paths = [export_tflite(run_copy, "identity", "float16", run_copy / "tflite", weights) for weights in runs.WEIGHTS]
    assert [path.name for path in paths] == ["identity-float16.tflite", "identity-best-float16.tflite"]
    assert paths[0].read_bytes() != paths[1].read_bytes()


def test_pictures_show_the_chosen_weights(scored_run, raw_market, tmp_path):
    for weights in runs.WEIGHTS:
        visualize(scored_run, raw_market / "query", tmp_path / weights, limit=2, weights=weights)
    pictures = [(tmp_path / weights / "responses.jpg").read_bytes() for weights in runs.WEIGHTS]
    assert pictures[0] != pictures[1]
