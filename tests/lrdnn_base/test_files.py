import os

import pytest

from lrdnn_base import files
from lrdnn_base.errors import InputError


def test_a_failed_write_leaves_the_previous_file(tmp_path):
    path = tmp_path / "scores.csv"
    files.write_text(path, "before")
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        assert temporary.name == f"writing.{os.getpid()}.scores.csv"
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_read_as_written(tmp_path):
    content = {"name": "é", "values": [1, 2.5, None]}
    files.write_json(tmp_path / "a.json", content)
    assert files.read_json(tmp_path / "a.json", "delete it") == content
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"score": float("nan")})
    assert files.read_json(tmp_path / "a.json", "delete it") == content


@pytest.mark.parametrize("content", [None, "{", "[]", "\udcff"])
def test_json_that_cannot_be_used_ends_with_the_remedy(tmp_path, content):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"cannot read .*a\.json .*: delete it$"):
        files.read_json(path, "delete it")


def test_images_are_found_in_subfolders_without_hidden_ones(tmp_path):
    for name in ("b.JPG", "a/c.png", "a/notes.txt", ".hidden/d.jpg", "a/.e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in files.find_images(tmp_path)] == ["a/c.png", "b.JPG"]
    assert files.find_images(tmp_path / "a/notes.txt") == [tmp_path / "a/notes.txt"]
    with pytest.raises(InputError, match="no file or folder"):
        files.find_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image"):
        files.find_images(tmp_path / "empty")


def test_a_listing_is_short():
    assert files.listing(["a", "b"]) == "a, b"
    assert files.listing(list("abcdefg"), "bad images") == "7 bad images: a, b, c, d, e and 2 more"


def test_the_hash_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
