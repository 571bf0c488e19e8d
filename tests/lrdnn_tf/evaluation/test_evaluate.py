import base64
import collections
import dataclasses
import html.parser
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from lrdnn_base.errors import InputError
from lrdnn_tf import runs
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.data.split import read_split
from lrdnn_tf.evaluate import evaluate, format_table
from lrdnn_tf.evaluation import pictures, queries, ranking, report, results
from lrdnn_tf.evaluation.descriptors import describe, ranking_labels
from lrdnn_tf.evaluation.reranking import rerank
from lrdnn_tf.evaluation.results import COSINE, RERANKED, Settings, evaluate_phase
from lrdnn_tf.evaluation.retrieval import retrieval_scores
from lrdnn_tf.model.lrdnn import EMBEDDING

SMALL = Settings(k1=5, k2=2)  # the gallery has 12 images


@pytest.fixture(scope="module")
def evaluated(trained_run, tiny_dataset, tmp_path_factory):
    """The summary of an evaluation of all three phases, and the folder of its report."""
    report_dir = tmp_path_factory.mktemp("evaluated") / "report"
    started = time.time() - 1000
    summary = evaluate(
        trained_run, tiny_dataset.path, settings=SMALL, batch_size=5, report_dir=report_dir, started_at=started
    )
    return summary, report_dir


@pytest.fixture(scope="module")
def splits(tiny_dataset):
    """Query and gallery."""
    return [read_split(tiny_dataset, name) for name in ("query", "gallery")]


@pytest.fixture(scope="module")
def labels(splits):
    """The labels of query and gallery."""
    return [ranking_labels(split) for split in splits]


def relabelled(split, **columns):
    return dataclasses.replace(split, labels=split.labels.assign(**columns))


@pytest.fixture(scope="module")
def page(evaluated):
    return (evaluated[1] / "index.html").read_text(encoding="utf-8")


def test_summary_is_on_disk_and_has_the_main_numbers_of_every_phase(evaluated):
    summary, report_dir = evaluated
    assert json.loads((report_dir / "summary.json").read_text()) == summary
    assert list(summary["phases"]) == ["identity", "attributes", "fusion"]
    for phase in summary["phases"].values():
        for name in ("rank1", "rank5", "rank10", "rank20", "mAP", "mAP_trapezoid", "mINP"):
            assert 0 <= phase[name] <= 1
            assert 0 <= phase[f"{name}_reranked"] <= 1
        assert (phase["queries"], phase["queries_left_out"]) == (6, 0)
    assert summary["phases"]["identity"]["mean_attribute_accuracy"] is None
    assert 0 <= summary["phases"]["fusion"]["mean_attribute_accuracy"] <= 1
    assert summary["dataset"] == "tiny"
    assert 1000 <= summary["seconds"] < 2000


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


def test_without_reranking_neither_page_nor_table_mention_it(evaluated, without_reranking, page):
    summary, report_dir = without_reranking
    assert "Re-ranked" in page
    assert "re-rank" not in (report_dir / "index.html").read_text(encoding="utf-8").lower()
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


@pytest.mark.slow
def test_the_flags_reach_the_report(trained_run, tiny_dataset, tmp_path):
    flags = ["--phases=identity", "--flip", "--multi_query=average", "--query_expansion=3", "--k1=6", "--k2=3"]
    where = [f"--run_dir={trained_run}", f"--data_dir={tiny_dataset.path}", f"--report_dir={tmp_path}"]
    subprocess.run([sys.executable, "-m", "lrdnn_tf.evaluate", *where, *flags], check=True)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert Settings(**summary["settings"]) == Settings(True, "average", 3, True, 6, 3, 0.3)
    assert summary["command"].endswith(" ".join(flags))


def test_tables_hold_the_same_numbers_as_the_summary(evaluated):
    summary, report_dir = evaluated
    table = pd.read_csv(report_dir / "tables.csv").set_index(["phase", "table", "item", "metric"])["value"]
    for phase, numbers in summary["phases"].items():
        assert table[phase, "retrieval", np.nan, "mAP"].item() == pytest.approx(numbers["mAP"])
        assert table[phase, "retrieval re-ranked", np.nan, "rank1"].item() == pytest.approx(numbers["rank1_reranked"])
    accuracies = table.xs(("fusion", "attributes", "accuracy"), level=("phase", "table", "metric"))
    assert accuracies.mean() == pytest.approx(summary["phases"]["fusion"]["mean_attribute_accuracy"])
    assert len(accuracies) == 12


class _Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources, self.unclosed, self.images = [], [], 0

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.images += tag == "img"
        if tag not in ("img", "meta", "br"):
            self.unclosed.append(tag)

    def handle_endtag(self, tag):
        assert self.unclosed.pop() == tag


def test_page_is_well_formed_and_needs_no_other_file(page):
    links = _Links()
    links.feed(page)
    assert not links.unclosed
    assert links.images == len(links.sources) > 20
    assert all(source.startswith("data:image/") for source in links.sources)
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert "://" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_page_shows_every_main_number(page, evaluated):
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    for phase in evaluated[0]["phases"].values():
        for name in ("rank1", "rank20", "mAP", "mAP_trapezoid", "mINP"):
            assert f"{100 * phase[name]:.1f}" in cells
            assert f"{100 * phase[f'{name}_reranked']:.1f}" in cells
    assert "Paper: Market-1501" in page
    assert "90.4" in cells
    assert "another dataset" in page


def test_frames_are_green_exactly_for_the_same_person(page):
    for listing in re.findall(r'<div class="list">(.*?)</div>\s*</div></div>', page, re.DOTALL):
        people = re.findall(r'<div class="person (\w+)">.*?id (\d+)<br>', listing, re.DOTALL)
        assert people[0][0] == "query"
        assert len(people) == 11
        for kind, identity in people[1:]:
            assert (kind == "right") == (identity == people[0][1])


def report_arguments(trained_run, dataset, query, gallery):
    """The arguments of render_page for one phase, without the summary."""
    return [evaluate_phase(trained_run, "identity", dataset, query, gallery, settings=SMALL)], dataset, query, gallery


@pytest.fixture(scope="module")
def written(trained_run, tiny_dataset, splits):
    return report_arguments(trained_run, tiny_dataset, *splits)


def test_a_failed_write_leaves_no_summary(evaluated, written, tmp_path, monkeypatch):
    folder = tmp_path / "report"
    shutil.copytree(evaluated[1], folder)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "replace", fail)
    with pytest.raises(InputError, match="No space left on device"):
        report.write_report(folder, "page", report.long_table(written[0]), evaluated[0])
    assert not (folder / "summary.json").exists()


def test_a_full_disk_leaves_the_previous_report(evaluated, written, tmp_path, monkeypatch):
    folder = tmp_path / "report"
    shutil.copytree(evaluated[1], folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_text = pathlib.Path.write_text

    def full(path, *arguments, **options):
        if path.name.endswith(report.PAGE):
            raise OSError(28, "No space left on device")
        return write_text(path, *arguments, **options)

    monkeypatch.setattr(pathlib.Path, "write_text", full)
    with pytest.raises(InputError, match="No space left on device"):
        report.write_report(folder, "page", report.long_table(written[0]), evaluated[0])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_html_in_names_is_shown_as_text(evaluated, written):
    summary = evaluated[0] | {"command": "<script>alert(1)</script>"}
    assert "<script" not in report.render_page(*written, summary)


def test_queries_left_out_are_counted_on_the_page(evaluated, written, trained_run, tiny_dataset, splits):
    assert "so none is left out" in report.render_page(*written, evaluated[0])
    query, gallery = splits
    identities = gallery.labels["identity"]
    gallery = relabelled(gallery, identity=identities.where(identities != query.labels["identity"][0], 0))
    results = report_arguments(trained_run, tiny_dataset, query, gallery)
    assert results[0][0].by_cosine.queries_left_out == 1
    page = report.render_page(*results, evaluated[0])
    assert "1 of the 6 queries have no image in another camera and are left out" in " ".join(page.split())


def test_the_page_describes_changed_queries(evaluated, written):
    plain = report.render_page(*written, evaluated[0])
    settings = Settings(flip=True, multi_query="max", query_expansion=1, k1=5, k2=2)
    changed = report.render_page(*written, evaluated[0] | {"settings": dataclasses.asdict(settings)})
    for sentence in ("is pooled (max)", "averaged with the gallery image nearest", "an image and its mirror image"):
        assert sentence in changed
        assert sentence not in plain


def test_pairs_without_a_match_are_grey_in_the_heat_map():
    pairs = pd.DataFrame(
        {"query_camera": [1, 2], "gallery_camera": [2, 1], "queries": 3, "rank1": 1.0, "mAP": [0.2, 1]}
    )
    image = cv2.imdecode(np.frombuffer(_decoded(pictures.camera_heat_map(pairs)), np.uint8), cv2.IMREAD_COLOR)
    height, width = image.shape[:2]
    colours = [image[int(y * height), int(x * width)].astype(int) for y, x in ((0.2, 0.45), (0.2, 0.7))]
    assert np.ptp(colours[0]) < 10 < np.ptp(colours[1])  # grey; coloured


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "B"),
        ({"attributes": True}, "B+A"),
        ({"attributes": True, "pose_maps": "confidence"}, "B+A+H"),
        ({"attributes": True, "pose_maps": "affinity"}, "B+A+C"),
        ({"attributes": True, "pose_maps": "both"}, "B+A+H+C (LRDNN)"),
        ({"attributes": True, "pose_maps": "both", "channel_parse": False}, "B+A+H+C without channel parsing"),
        ({"pose_maps": "both"}, "B+H+C"),
    ],
)
def test_method_names_are_the_papers(fields, name, tiny_dataset):
    if fields.get("attributes"):
        fields = fields | {"attributes": tiny_dataset.attributes}
    assert report.method_name(ModelConfig(identities=2, **fields)) == name


def test_thumbnails_keep_the_picture(splits):
    (original,) = splits[0].image_files([0])
    uri = pictures.thumbnail(original)
    shown = cv2.imdecode(np.frombuffer(_decoded(uri), np.uint8), cv2.IMREAD_COLOR)
    expected = cv2.imdecode(np.frombuffer(original, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (192, 96, 3)
    assert np.abs(cv2.resize(shown, (64, 128)).astype(float) - expected).mean() < 5


def _decoded(uri):
    return base64.b64decode(uri.partition("base64,")[2])


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
    def broken(run_dir, phase):
        model, config = load_model(run_dir, phase)
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
