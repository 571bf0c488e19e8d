import pathlib
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest

from lrdnn_base.errors import InputError
from lrdnn_tf.evaluation.reranking import rerank
from lrdnn_tf.search import search
from lrdnn_tf.serving.answers import embed
from lrdnn_tf.serving.saved_model import LocalModel

TILE_HEIGHT, TILE_WIDTH = 226, 102


@pytest.fixture
def gallery(raw_market, tmp_path):
    """A copy that indexes may be written into."""
    return shutil.copytree(raw_market / "bounding_box_test", tmp_path / "gallery")


@pytest.fixture
def query(gallery):
    return str(sorted(gallery.iterdir())[4])


def test_it_finds_the_image_itself_first(export_dir, gallery, query, tmp_path):
    matches = search(str(gallery), query, str(export_dir), top=3, out_dir=str(tmp_path / "out"))
    assert matches["path"].iloc[0] == query
    assert matches["similarity"].iloc[0] == pytest.approx(1, abs=1e-5)
    assert matches["similarity"].is_monotonic_decreasing
    assert matches["rank"].tolist() == [1, 2, 3]
    assert matches["gender"].isin(["male", "female"]).all()
    table = pd.read_csv(tmp_path / "out/matches.csv")
    pd.testing.assert_frame_equal(table, matches, check_dtype=False)
    assert cv2.imread(str(tmp_path / "out/matches.png")).shape == (TILE_HEIGHT, 4 * TILE_WIDTH, 3)


def test_a_folder_of_queries_has_a_row_each(export_dir, gallery, raw_market, tmp_path):
    queries = raw_market / "query"
    matches = search(str(gallery), str(queries), str(export_dir), top=2, out_dir=str(tmp_path / "out"))
    assert matches["query"].tolist() == [str(path) for path in sorted(queries.iterdir()) for _ in range(2)]
    shape = cv2.imread(str(tmp_path / "out/matches.png")).shape
    assert shape == (TILE_HEIGHT * len(list(queries.iterdir())), 3 * TILE_WIDTH, 3)


def test_a_server_finds_what_the_model_finds(export_dir, server, gallery, query):
    expected = search(str(gallery), query, str(export_dir))
    for address in (server.grpc_address, server.rest_address):
        found = search(str(gallery), query, server=address, rebuild=True)
        pd.testing.assert_frame_equal(found, expected, atol=1e-5)
        pd.testing.assert_frame_equal(search(str(gallery), query, server=address), expected, atol=1e-5)


def test_attributes_filter_what_is_found(export_dir, gallery, query):
    everything = search(str(gallery), query, str(export_dir), top=99)
    gender, colour = everything["gender"].iloc[3], everything["upper_colour"].iloc[3]
    found = search(str(gallery), query, str(export_dir), top=99, where=[f"gender={gender}", f"upper_colour={colour}"])
    kept = everything[(everything["gender"] == gender) & (everything["upper_colour"] == colour)]
    assert found["path"].tolist() == kept["path"].tolist()
    assert found["rank"].tolist() == list(range(1, len(kept) + 1))


def test_attributes_alone_find_the_likeliest(export_dir, gallery, local_model, tmp_path):
    paths = sorted(gallery.glob("*.jpg"))
    answers, _ = embed(local_model, [path.read_bytes() for path in paths])
    task = local_model.describe().tasks[0]
    class_ = int(np.bincount(answers.classes[:, 0]).argmax())
    where = [f"{task.name}={task.classes[class_]}"]
    matches = search(str(gallery), None, str(export_dir), top=99, where=where, out_dir=str(tmp_path / "out"))
    assert "query" not in matches
    assert set(matches["path"]) == {str(paths[row]) for row in np.flatnonzero(answers.classes[:, 0] == class_)}
    likely = dict(zip(map(str, paths), answers.scores[:, 0], strict=True))
    np.testing.assert_allclose(matches["probability"], [likely[path] for path in matches["path"]], atol=1e-5)
    assert matches["probability"].is_monotonic_decreasing
    assert (tmp_path / "out/matches.png").is_file()


def test_a_failed_write_leaves_the_previous_files(export_dir, gallery, query, tmp_path, monkeypatch):
    def fill_the_disk(table, path, **_):
        pathlib.Path(path).write_text("query,ra")
        raise OSError(28, "No space left on device", str(path))

    out_dir = tmp_path / "out"
    search(str(gallery), query, str(export_dir), top=3, out_dir=str(out_dir))
    previous = {path.name: path.read_bytes() for path in out_dir.iterdir()}
    assert set(previous) == {"matches.csv", "matches.png"}
    monkeypatch.setattr(pd.DataFrame, "to_csv", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        search(str(gallery), query, str(export_dir), top=5, out_dir=str(out_dir))
    assert {path.name: path.read_bytes() for path in out_dir.iterdir()} == previous


def test_what_nobody_has_finds_nothing(export_dir, gallery, query, tmp_path, capsys):
    everything = search(str(gallery), query, str(export_dir), top=99)
    tasks = LocalModel(export_dir).describe().tasks
    task, word = next((t, w) for t in tasks for w in t.classes if w not in set(everything[t.name]))
    for asked in (query, None):
        found = search(
            str(gallery), asked, str(export_dir), where=[f"{task.name}={word}"], out_dir=str(tmp_path / "out")
        )
        assert found.empty
        assert "0 of 12 images have" in capsys.readouterr().out
        assert pd.read_csv(tmp_path / "out/matches.csv").empty
        assert not (tmp_path / "out/matches.png").exists()


def test_reranking_orders_as_the_evaluation_does(export_dir, gallery, query, local_model):
    matches = search(str(gallery), query, str(export_dir), top=99, reranked=True)
    paths = matches["path"].tolist()
    embedding, _ = embed(local_model, [pathlib.Path(query).read_bytes()])
    others, _ = embed(local_model, [pathlib.Path(path).read_bytes() for path in paths])
    (distances,) = rerank(embedding.embeddings, others.embeddings, k1=12, k2=6)
    np.testing.assert_allclose(matches["reranked_distance"], distances[0], atol=1e-4)
    assert matches["reranked_distance"].is_monotonic_increasing
    short = search(str(gallery), query, str(export_dir), top=2, reranked=True)
    assert short["path"].tolist() == paths[:2]


def test_files_that_are_no_images_are_skipped_and_named(export_dir, gallery, query, capsys):
    for name in ("a.jpg", "b.png"):
        (gallery / name).write_text("not an image")
    for _ in range(2):
        assert len(search(str(gallery), query, str(export_dir), top=99)) == 12
        message = capsys.readouterr().err
        assert re.search(r"skipped in .* \(2\): a\.jpg \(not a JPEG or PNG image\), b\.png \(not", message)
    with pytest.raises(InputError, match=r"cannot search for .*a\.jpg \(not a JPEG or PNG image\)"):
        search(str(gallery), str(gallery / "a.jpg"), str(export_dir))


def test_a_folder_without_one_good_image_is_an_error(export_dir, query, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.jpg").write_text("not an image")
    with pytest.raises(InputError, match=r"no image in .* can be read: a\.jpg"):
        search(str(tmp_path / "bad"), query, str(export_dir))


def test_the_index_of_another_model_is_named(export_dir, identity_export, gallery, query):
    search(str(gallery), query, str(export_dir))
    with pytest.raises(InputError, match="made by another model"):
        search(str(gallery), query, str(identity_export))
    matches = search(str(gallery), query, str(identity_export), rebuild=True)
    assert list(matches) == ["query", "rank", "similarity", "path"]
    with pytest.raises(InputError, match="knows no attributes"):
        search(str(gallery), query, str(identity_export), where=["hat=yes"])


@pytest.mark.parametrize("damaged", ["saved_model.pb", "variables/variables.data-00000-of-00001"])
def test_a_damaged_model_is_named(export_dir, tmp_path, damaged):
    shutil.copytree(export_dir / "1", tmp_path / "1")
    content = (tmp_path / "1" / damaged).read_bytes()
    (tmp_path / "1" / damaged).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged, export it again"):
        LocalModel(tmp_path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"query": "q"}, "either a model with --model, or a server"),
        ({"query": "q", "model_dir": "m", "server": "h:1"}, "either a model with --model, or a server"),
        ({"model_dir": "m"}, "nothing to search for"),
        ({"model_dir": "m", "where": ["hat=yes"], "reranked": True}, "--rerank needs a --query"),
        ({"model_dir": "nowhere", "where": ["hat=yes"]}, r"no SavedModel in nowhere: .* lrdnn_tf\.export"),
        ({"query": "nobody.jpg", "model_dir": "m"}, "no file or folder nobody.jpg"),
    ],
)
def test_what_is_missing_is_named(options, message):
    with pytest.raises(InputError, match=message):
        search("gallery", **options)


def test_the_tool_ends_in_one_line_when_the_server_is_down(gallery, query):
    command = [sys.executable, "-m", "lrdnn_tf.search", "--server=127.0.0.1:1", f"--gallery={gallery}"]
    finished = subprocess.run([*command, f"--query={query}"], capture_output=True, text=True)
    assert finished.returncode == 1
    assert re.fullmatch(r"error: 127\.0\.0\.1:1 does not answer, 5 tries .*\n", finished.stderr)
