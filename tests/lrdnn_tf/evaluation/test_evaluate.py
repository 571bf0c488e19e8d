import collections
import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tf_keras as keras

from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.data.decode import decode_image
from lrdnn_tf.evaluate import evaluate, format_table
from lrdnn_tf.evaluation import queries, ranking, results
from lrdnn_tf.evaluation.descriptors import describe
from lrdnn_tf.evaluation.reranking import rerank
from lrdnn_tf.evaluation.results import COSINE, RERANKED, Settings, evaluate_phase
from lrdnn_tf.evaluation.retrieval import retrieval_scores
from lrdnn_tf.model.channel_parse import CHANNEL_WEIGHTS
from lrdnn_tf.model.lrdnn import EMBEDDING

SMALL = Settings(k1=5, k2=2)  # the gallery has 12 images


def relabelled(split, **columns):
    return dataclasses.replace(split, labels=split.labels.assign(**columns))


def test_summary_is_on_disk_and_has_the_main_numbers_of_every_phase(evaluated):
    summary, report_dir = evaluated
    assert json.loads((report_dir / "summary.json").read_text()) == summary
    assert list(summary["phases"]) == ["identity", "attributes", "fusion"]
    for phase in summary["phases"].values():
        for name in ("rank1", "rank5", "rank10", "rank20", "mAP", "mAP_trapezoid", "mAP_interpolated", "mINP"):
            assert 0 <= phase[name] <= 1
            assert 0 <= phase[f"{name}_reranked"] <= 1
        assert (phase["queries"], phase["queries_left_out"]) == (6, 0)
    assert summary["phases"]["identity"]["mean_attribute_accuracy"] is None
    assert 0 <= summary["phases"]["fusion"]["mean_attribute_accuracy"] <= 1
    assert summary["dataset"] == "tiny"
    assert 1000 <= summary["seconds"] < 2000


def test_the_spread_of_channel_weights_is_that_of_the_models_own_weights(evaluated, trained_run, splits):
    model, config = runs.load_model(trained_run, "fusion")
    images = np.stack([decode_image(image, config.height, config.width) for image in splits[0].image_files(range(6))])
    weights = keras.Model(model.input, model.get_layer(CHANNEL_WEIGHTS).output)(images).numpy()
    phases = evaluated[0]["phases"]
    expected = np.median(weights.reshape(6, -1).std(axis=0))
    assert phases["fusion"]["channel_weight_spread"] == pytest.approx(expected, rel=1e-4)
    assert phases["attributes"]["channel_weight_spread"] is None


def test_chance_is_that_of_the_protocol(evaluated):
    # 6 queries of camera 1; the gallery has 12 images of cameras 2 and 3, two of each person.
    assert evaluated[0]["chance_rank1"] == pytest.approx(2 / 12)


def test_summary_equals_a_ranking_of_the_descriptors(evaluated, trained_run, splits, labels):
    model, _ = runs.load_model(trained_run, "fusion")
    query, gallery = (describe(model, split).embeddings for split in splits)
    phase = evaluated[0]["phases"]["fusion"]
    assert phase["mAP"] == pytest.approx(ranking.rank(query, gallery, *labels).mean_ap, abs=1e-9)
    reranked = ranking.rank_distances(rerank(query, gallery, SMALL.k1, SMALL.k2), *labels)
    assert phase["mAP_reranked"] == pytest.approx(reranked.mean_ap, abs=1e-9)


def test_descriptions_do_not_depend_on_the_batch_size(trained_run, tiny_dataset, splits):
    model, _ = runs.load_model(trained_run, "attributes")
    whole, parts = (describe(model, splits[1], batch_size) for batch_size in (12, 5))
    assert whole.embeddings.shape[0] == 12
    assert whole.embeddings.dtype == np.float32
    np.testing.assert_allclose(parts.embeddings, whole.embeddings, rtol=1e-4, atol=1e-5)
    assert list(whole.logits) == [task.name for task in tiny_dataset.attributes]
    for task in tiny_dataset.attributes:
        assert whole.logits[task.name].shape == (12, len(task.classes))
        np.testing.assert_array_equal(whole.predictions()[task.name], whole.logits[task.name].argmax(axis=1))


def test_flipped_descriptors_are_the_mean_with_the_mirror_image(trained_run, splits):
    model, _ = runs.load_model(trained_run, "attributes")
    plain, both = (describe(model, splits[0], flip=flip) for flip in (False, True))
    images = np.concatenate([*splits[0].batches(64, 32, 4).as_numpy_iterator()])
    mirrored = model(np.flip(images, axis=2), training=False)[EMBEDDING].numpy()
    assert not np.allclose(mirrored, plain.embeddings, rtol=1e-3)
    np.testing.assert_allclose(both.embeddings, (plain.embeddings + mirrored) / 2, rtol=1e-4, atol=1e-5)
    for task, logits in plain.logits.items():
        np.testing.assert_array_equal(both.logits[task], logits)


def test_settings_change_descriptors_and_then_queries(trained_run, tiny_dataset, splits, labels):
    settings = Settings(flip=True, multi_query="max", query_expansion=2, k1=5, k2=2)
    result = evaluate_phase(trained_run, "identity", tiny_dataset, *splits, settings=settings)
    model, _ = runs.load_model(trained_run, "identity")
    query, gallery = (describe(model, split, flip=True).embeddings for split in splits)
    query = queries.expand_queries(queries.pool_queries(query, gallery, *labels, "max"), gallery, 2)
    expected = ranking.rank(query, gallery, *labels)
    np.testing.assert_allclose(result.rankings[COSINE].average_precisions, expected.average_precisions)
    expected = ranking.rank_distances(rerank(query, gallery, 5, 2), *labels)
    np.testing.assert_allclose(result.rankings[RERANKED].average_precisions, expected.average_precisions)


@pytest.fixture
def reads(monkeypatch):
    """Counts how often each TFRecord file is read, by name."""
    counts = collections.Counter()
    read = tf.data.TFRecordDataset

    def counting(path):
        counts[pathlib.Path(path).name] += 1
        return read(path)

    monkeypatch.setattr(tf.data, "TFRecordDataset", counting)
    return counts


def shards(dataset, *names):
    return {shard.file: 1 for name in names for shard in dataset.splits[name].shards}


def test_an_evaluation_reads_query_and_gallery_once(trained_run, tiny_dataset, tmp_path, reads):
    summary = evaluate(trained_run, tiny_dataset.path, settings=SMALL, report_dir=tmp_path)
    assert len(summary["phases"]) == 3
    assert (tmp_path / "index.html").is_file()
    assert reads == shards(tiny_dataset, "query", "gallery")


def test_scores_while_training_are_those_of_the_evaluation_without_further_reads(evaluated, trained_run, splits, reads):
    model, _ = runs.load_model(trained_run, "identity")
    scores = [retrieval_scores(model, *splits) for _ in range(2)]
    expected = {name: evaluated[0]["phases"]["identity"][name] for name in ("mAP", "rank1")}
    assert scores == [pytest.approx(expected)] * 2
    assert not reads


@pytest.fixture(scope="module")
def without_reranking(trained_run, tiny_dataset, tmp_path_factory):
    """As `evaluated`, without re-ranking."""
    report_dir = tmp_path_factory.mktemp("without_reranking")
    settings = Settings(rerank=False)
    return evaluate(trained_run, tiny_dataset.path, settings=settings, batch_size=5, report_dir=report_dir), report_dir


def test_without_reranking_the_report_has_the_same_numbers_and_no_others(evaluated, without_reranking):
    summary, report_dir = without_reranking
    for phase, numbers in evaluated[0]["phases"].items():
        expected = {name: None if name.endswith("_reranked") else value for name, value in numbers.items()}
        assert summary["phases"][phase] == expected
    tables = [pd.read_csv(folder / "tables.csv") for folder in (evaluated[1], report_dir)]
    assert {"retrieval", "retrieval re-ranked"} <= set(tables[0].table)
    kept = tables[0][tables[0].table != "retrieval re-ranked"].reset_index(drop=True)
    pd.testing.assert_frame_equal(tables[1], kept)


def test_without_reranking_neither_page_nor_table_have_its_scores(evaluated, without_reranking, page):
    summary, report_dir = without_reranking
    plain = (report_dir / "index.html").read_text(encoding="utf-8")
    for heading in ("<th>Re-ranked</th>", "k-reciprocal"):
        assert heading in page and heading not in plain
    assert "mAP re-ranked" in format_table(evaluated[0])
    assert "re-rank" not in format_table(summary)


def test_a_gallery_too_small_for_k1_skips_reranking_with_one_message(
    trained_run, tiny_dataset, splits, without_reranking, tmp_path, monkeypatch
):
    warnings = []
    monkeypatch.setattr(results.logging, "warning", lambda text, *values: warnings.append(text % values))
    phases = ["identity", "attributes"]
    summary = evaluate(trained_run, tiny_dataset.path, phases, 5, Settings(k1=13), tmp_path)
    assert warnings == ["no re-ranking: k1=13 is more than the 12 images of the gallery"]
    assert summary["phases"] == {phase: without_reranking[0]["phases"][phase] for phase in phases}
    assert summary["settings"]["rerank"] is False
    settings = Settings(k1=12)
    assert results.check_splits(tiny_dataset, *splits, settings) is settings


def test_interpolated_map_is_in_every_table(evaluated):
    summary, report_dir = evaluated
    table = pd.read_csv(report_dir / "tables.csv").set_index(["phase", "table", "metric"]).value
    printed = format_table(summary)
    assert printed.splitlines()[0].count("mAP interpolated") == 2
    for phase, numbers in summary["phases"].items():
        assert table[phase, "retrieval", "mAP_interpolated"] == pytest.approx(numbers["mAP_interpolated"])
        assert numbers["mAP_interpolated"] >= numbers["mAP"]
        value = numbers["mAP_interpolated_reranked"]
        assert table[phase, "retrieval re-ranked", "mAP_interpolated"] == pytest.approx(value)
        row = next(line for line in printed.splitlines() if line.startswith(phase))
        assert f" {100 * value:.1f}" in row


@pytest.mark.slow
def test_the_flags_reach_the_report(trained_run, tiny_dataset, tmp_path):
    flags = ["--phases=identity", "--flip", "--multi_query=average", "--query_expansion=3", "--k1=6", "--k2=3"]
    where = [f"--run_dir={trained_run}", f"--data_dir={tiny_dataset.path}", f"--report_dir={tmp_path}"]
    subprocess.run([sys.executable, "-m", "lrdnn_tf.evaluate", *where, *flags], check=True)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert Settings(**summary["settings"]) == Settings(True, "average", 3, True, 6, 3, 0.3)
    assert summary["command"].endswith(" ".join(flags))


def test_no_trained_phase_is_named(tmp_path, tiny_dataset):
    with pytest.raises(InputError, match=r"no trained phase in .* lrdnn_tf\.train"):
        evaluate(tmp_path, tiny_dataset.path)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (Settings(k1=5, k2=7), "k2=7: "),
        (Settings(k1=5, k2=2, query_expansion=13), "query_expansion=13: expected 1 to the 12 images"),
        (Settings(query_expansion=13), "query_expansion=13: expected 1 to the 12 images"),
    ],
)
def test_settings_that_do_not_fit_are_named_before_the_model_is_loaded(
    tiny_dataset, splits, monkeypatch, settings, named
):
    monkeypatch.delattr(results.runs, "load_model")
    with pytest.raises(InputError, match=f"{tiny_dataset.path}: {named}"):
        evaluate_phase("anywhere", "identity", tiny_dataset, *splits, settings=settings)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"k1": 0}, "k1=0 must be at least 1"),
        ({"k1": -5}, "k1=-5 must be at least 1"),
        ({"k2": 0}, "k2=0 must be at least 1"),
        ({"lambda_value": -1}, "lambda_value=-1 must be at least 0 and at most 1"),
        ({"query_expansion": -1}, "query_expansion=-1 must be at least 0"),
        ({"multi_query": "median"}, "multi_query='median' is not one of none, average, max"),
    ],
)
def test_settings_out_of_range_are_named(options, named):
    with pytest.raises(InputError, match=f"^{named}$"):
        Settings(**options)


def test_labels_without_a_match_are_named_before_the_model_is_loaded(tiny_dataset, splits, monkeypatch):
    monkeypatch.delattr(results.runs, "load_model")
    query, gallery = splits
    with pytest.raises(InputError, match="query_labels: no query has an image of its identity from another camera"):
        evaluate_phase("anywhere", "identity", tiny_dataset, query, relabelled(gallery, camera=1), settings=SMALL)


@pytest.mark.parametrize("split", ["query", "gallery"])
@pytest.mark.parametrize("missing", [True, False])
def test_a_dataset_with_nothing_to_evaluate_is_named(trained_run, tiny_dataset, tmp_path, split, missing):
    description = json.loads((tiny_dataset.path / "dataset.json").read_text())
    description["splits"][split] |= {"examples": 0, "shards": []}
    if missing:
        del description["splits"][split]
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    for shard in tiny_dataset.path.glob("*.tfrecord"):
        (tmp_path / shard.name).symlink_to(shard)
    with pytest.raises(InputError, match=f"nothing to evaluate, its {split} split has no image") as error:
        evaluate(trained_run, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("value", "named"), [(np.nan, "the model returns NaN"), (0, "row 0 is all zeros")])
def test_a_corrupted_model_is_named(trained_run, tiny_dataset, monkeypatch, value, named):
    def broken(*arguments):
        model, config = load_model(*arguments)
        model.set_weights([np.full_like(weights, value) for weights in model.get_weights()])
        return model, config

    load_model = runs.load_model
    monkeypatch.setattr(runs, "load_model", broken)
    with pytest.raises(InputError, match=f"identity phase on .*: query: {named}"):
        evaluate(trained_run, tiny_dataset.path, ["identity"], settings=SMALL)


def test_a_file_with_the_name_of_the_report_folder_is_named(trained_run, tiny_dataset, tmp_path):
    (tmp_path / "report").write_text("")
    with pytest.raises(InputError, match="cannot write the report"):
        evaluate(trained_run, tiny_dataset.path, ["identity"], settings=SMALL, report_dir=tmp_path / "report")
