import base64
import dataclasses
import html.parser
import pathlib
import re
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from lrdnn_base.errors import InputError
from lrdnn_tf.config import ModelConfig
from lrdnn_tf.evaluation import pictures, report
from lrdnn_tf.evaluation.results import COSINE, Settings, evaluate_phase

SMALL = Settings(k1=5, k2=2)  # the gallery has 12 images


def relabelled(split, **columns):
    return dataclasses.replace(split, labels=split.labels.assign(**columns))


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
        for name in ("rank1", "rank20", "mAP", "mAP_trapezoid", "mAP_interpolated", "mINP"):
            assert f"{100 * phase[name]:.1f}" in cells
            assert f"{100 * phase[f'{name}_reranked']:.1f}" in cells
    assert "Paper: Market-1501" in page
    assert "90.4" in cells
    assert "another dataset" in page


def comparison(page: str, method: str) -> list[str]:
    """The cells of a row of the comparison with the paper."""
    (row,) = re.findall(rf"<tr><th>{re.escape(method)}</th>(.*?)</tr>", page, re.DOTALL)
    return re.findall(r"<td[^>]*>(?:<b>)?([^<]*)", row)


def test_the_paper_is_beside_re_ranked_scores(page, evaluated):
    phase = evaluated[0]["phases"]["fusion"]
    own = [f"{100 * phase[name]:.1f}" for name in ("rank1", "mAP", "rank1_reranked", "mAP_reranked")]
    assert comparison(page, "B+A+H+C (LRDNN)") == [*own, "90.4", "82.8", "85.3", "73.2"]
    assert comparison(page, "B+A+H") == ["–"] * 4 + ["88.7", "80.1", "81.4", "71.2"]
    assert "to be compared with re-ranked scores" in page


def test_without_re_ranking_the_page_warns_of_the_comparison(evaluated, written):
    (result,), *others = written
    plain = dataclasses.replace(result, rankings={COSINE: result.by_cosine})
    page = report.render_page([plain], *others, evaluated[0])
    assert comparison(page, "B")[2:] == ["80.3", "69.8", "74.1", "65.5"]
    assert "This evaluation left re-ranking out." in page


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
    assert "1 of the 6 queries have no true match and are left out" in " ".join(page.split())


def test_without_cameras_the_page_says_that_the_protocol_is_another_one(
    evaluated, written, trained_run, tiny_dataset, splits
):
    known = report.render_page(*written, evaluated[0])
    results = report_arguments(trained_run, tiny_dataset, *(relabelled(split, camera=0) for split in splits))
    summary = report.summarize(results[0], results[1], SMALL, "", 0)
    assert (evaluated[0]["protocol"], summary["protocol"]) == ("cross-camera", "any-camera")
    unknown = report.render_page(*results, summary)
    for words, page in (("Pairs of cameras", known), ("not the cross-camera protocol", unknown)):
        assert [words in rendered for rendered in (known, unknown)] == [page is known, page is unknown]
    assert "camera unknown" in unknown
    assert "from unknown cameras" in unknown


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
        ({"attributes": True, "pose_maps": "both", "fuse": "pool5"}, "B+A+H+C on pool5"),
        (
            {"attributes": True, "pose_maps": "confidence", "channel_parse": False, "fuse": "pool5"},
            "B+A+H without channel parsing, on pool5",
        ),
        ({"attributes": True, "pose_maps": "positions", "channel_parse": False}, "B+A+positions"),
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
