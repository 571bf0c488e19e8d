import os
import pathlib
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import AttributeTask
from lrdnn_tf.searching.index import INDEX_FOLDER, RowFile, update_index
from lrdnn_tf.serving.answers import Answers, Description, RefusedImage

TASKS = (AttributeTask("hat", ("no", "yes")), AttributeTask("coat", ("red", "blue", "green")))


class CountingModel:
    """Embeds the number that a file contains; records the numbers it was asked for, and can be interrupted."""

    def __init__(self, model_id="a", tasks=TASKS, stop_after=None):
        self.asked, self.stop_after = [], stop_after
        self._description = Description(model_id, 3, tasks)

    def describe(self):
        return self._description

    def predict(self, images):
        if any(not image.isdigit() for image in images):
            raise RefusedImage("no number")
        if self.stop_after is not None and len(self.asked) + len(images) > self.stop_after:
            raise KeyboardInterrupt
        numbers = np.array([int(image) for image in images])
        self.asked += numbers.tolist()
        columns = range(len(self._description.tasks))
        return Answers(
            np.stack([numbers, numbers + 0.25, -numbers], axis=1).astype(np.float32),
            np.array([[number % (2 + column) for column in columns] for number in numbers], np.int32),
            np.array([[number / 1000 for _ in columns] for number in numbers], np.float32),
        )


def write(folder: pathlib.Path, numbers) -> None:
    for number in numbers:
        (folder / f"{number:03}.jpg").write_text(str(number))


def assert_holds(index, numbers):
    """Every image has its own row, with the outputs of the model for it."""
    rows = {path: row for row, path in enumerate(index.paths) if path}
    assert set(rows) == {f"{number:03}.jpg" for number in numbers}
    assert index.usable.sum() == len(rows)
    for number in numbers:
        row = rows[f"{number:03}.jpg"]
        np.testing.assert_array_equal(index.embeddings[row], np.float32([number, number + 0.25, -number]))
        np.testing.assert_array_equal(index.classes[row], [number % 2, number % 3])
        np.testing.assert_array_equal(index.scores[row], np.float32([number / 1000] * 2))


def test_only_new_and_changed_files_are_embedded_and_rows_are_reused(tmp_path):
    write(tmp_path, range(100, 180))
    model = CountingModel()
    assert_holds(update_index(model, tmp_path), range(100, 180))
    assert model.asked == list(range(100, 180))
    again = CountingModel()
    assert_holds(update_index(again, tmp_path), range(100, 180))
    assert again.asked == []
    for number in (103, 150, 179):
        (tmp_path / f"{number}.jpg").unlink()
    write(tmp_path, [200])
    (tmp_path / "110.jpg").write_text("0110")  # another size, the same number
    os.utime(tmp_path / "120.jpg")
    changed = CountingModel()
    index = update_index(changed, tmp_path)
    assert_holds(index, [*set(range(100, 179)) - {103, 150}, 200])
    assert sorted(changed.asked) == [110, 120, 200]
    assert len(index.paths) == 80
    assert isinstance(index.embeddings, np.memmap)
    np.testing.assert_array_equal(np.load(tmp_path / INDEX_FOLDER / "embeddings.npy"), index.embeddings)


@pytest.mark.parametrize("parallel", [1, 2])
def test_an_interrupted_run_resumes_where_it_was(tmp_path, parallel):
    write(tmp_path, range(300))
    stopped = CountingModel(stop_after=130)
    with pytest.raises(KeyboardInterrupt):
        update_index(stopped, tmp_path, parallel=parallel)
    rest = CountingModel()
    assert_holds(update_index(rest, tmp_path, parallel=parallel), range(300))
    assert 170 <= len(rest.asked) <= 300 - 64


def test_a_killed_process_leaves_an_index_that_the_next_one_resumes(tmp_path):
    """Killed at the worst moment: rows are written and the table does not refer to them yet."""
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    write(gallery, range(100))
    script = f"""
import os, sys
sys.path[:0] = [{str(pathlib.Path(__file__).parent)!r}, {str(pathlib.Path(__file__).parents[3])!r}]
from lrdnn_tf.searching import index
from test_index import CountingModel
write, written = index.RowFile.write, []
def write_and_die(self, rows, values):
    write(self, rows, values)
    written.append(self)
    if len(written) == 5:
        os.kill(os.getpid(), 9)
index.RowFile.write = write_and_die
index.update_index(CountingModel(), {str(gallery)!r})
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    assert len(np.load(gallery / INDEX_FOLDER / "embeddings.npy")) == 64
    rest = CountingModel()
    assert_holds(update_index(rest, gallery), range(100))
    assert len(rest.asked) == 68


def test_refused_files_are_stored_with_the_reason_and_not_embedded_again(tmp_path):
    write(tmp_path, range(40))
    (tmp_path / "020.jpg").write_text("twenty")
    (tmp_path / "lost.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "folder").symlink_to(tmp_path)
    model = CountingModel()
    for _ in range(2):
        index = update_index(model, tmp_path)
        assert_holds(index, set(range(40)) - {20})
        assert index.refused == {"020.jpg": "no number", "lost.jpg": "No such file or directory"}
    assert len(model.asked) == 39
    (tmp_path / "020.jpg").write_text("20")
    index = update_index(model, tmp_path)
    assert_holds(index, range(40))
    assert "020.jpg" not in index.refused


def test_a_file_that_becomes_unreadable_for_the_model_leaves_the_index(tmp_path):
    write(tmp_path, range(10))
    update_index(CountingModel(), tmp_path)
    (tmp_path / "004.jpg").write_text("broken now")
    assert_holds(update_index(CountingModel(), tmp_path), set(range(10)) - {4})
    write(tmp_path, [77])
    index = update_index(CountingModel(), tmp_path)
    assert_holds(index, {*range(10), 77} - {4})
    assert len(index.paths) == 10


def test_an_index_of_another_model_is_refused_or_rebuilt(tmp_path):
    write(tmp_path, range(5))
    update_index(CountingModel("a"), tmp_path)
    other = CountingModel("b")
    with pytest.raises(InputError, match=r"made by another model \(a, this is b\).*--rebuild.*--index_dir"):
        update_index(other, tmp_path)
    assert other.asked == []
    elsewhere = tmp_path.parent / f"{tmp_path.name}-b"
    assert_holds(update_index(other, tmp_path, elsewhere), range(5))
    assert_holds(update_index(other, tmp_path, rebuild=True), range(5))
    assert other.asked == [*range(5), *range(5)]


def test_two_processes_do_not_write_one_index(tmp_path):
    write(tmp_path, range(5))
    update_index(CountingModel(), tmp_path)
    holder = sqlite3.connect(tmp_path / INDEX_FOLDER / "images.sqlite")
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(InputError, match="another process is writing"):
        update_index(CountingModel(), tmp_path)
    holder.close()
    assert_holds(update_index(CountingModel(), tmp_path), range(5))


@pytest.mark.parametrize("file", ["images.sqlite", "embeddings.npy", "classes.npy"])
def test_a_damaged_index_is_named_and_rebuilt(tmp_path, file):
    write(tmp_path, range(5))
    update_index(CountingModel(), tmp_path)
    (tmp_path / INDEX_FOLDER / file).write_bytes(b"damaged" * 100)
    with pytest.raises(InputError, match=r"damaged .*--rebuild"):
        update_index(CountingModel(), tmp_path)
    assert_holds(update_index(CountingModel(), tmp_path, rebuild=True), range(5))


def test_rows_that_are_lost_are_embedded_again(tmp_path):
    write(tmp_path, range(5))
    update_index(CountingModel(), tmp_path)
    (tmp_path / INDEX_FOLDER / "scores.npy").unlink()
    assert_holds(update_index(CountingModel(), tmp_path), range(5))


def test_a_model_without_attributes_has_an_index(tmp_path):
    write(tmp_path, range(70))
    for _ in range(2):
        index = update_index(CountingModel(tasks=()), tmp_path)
        assert index.classes.shape == index.scores.shape == (70, 0)
        assert index.embeddings.shape == (70, 3)


def test_images_are_found_below_the_folder_but_not_in_hidden_ones(tmp_path):
    for name in ("b/c.PNG", "a.jpg", "b/.hidden.jpg", ".git/x.jpg", "notes.txt", "b/d.jpeg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    assert update_index(CountingModel(), tmp_path).paths == ["a.jpg", "b/c.PNG", "b/d.jpeg"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image"):
        update_index(CountingModel(), tmp_path / "empty")


def test_folders_that_cannot_be_used_are_named(tmp_path):
    write(tmp_path, [1])
    with pytest.raises(InputError, match="is a file: name the folder"):
        update_index(CountingModel(), tmp_path / "001.jpg")
    with pytest.raises(InputError, match="no file or folder"):
        update_index(CountingModel(), tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"cannot write .*--index_dir"):
        update_index(CountingModel(), tmp_path, tmp_path / "001.jpg" / "index")


def test_row_files_are_npy_files_at_any_time(tmp_path):
    rows = RowFile(tmp_path / "rows.npy", 2, np.float32)
    assert rows.load().shape == (0, 2)
    rows.write(np.array([0, 1, 2]), np.arange(6).reshape(3, 2))
    rows.write(np.array([1, 3]), np.array([[9, 9], [7, 8]]))
    expected = np.float32([[0, 1], [9, 9], [4, 5], [7, 8]])
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), expected)
    np.testing.assert_array_equal(RowFile(tmp_path / "rows.npy", 2, np.float32).load(), expected)
    with (tmp_path / "rows.npy").open("ab") as file:
        file.write(b"half a")  # a killed run may leave this
    np.testing.assert_array_equal(RowFile(tmp_path / "rows.npy", 2, np.float32).load(), expected)
    with pytest.raises(InputError, match="holds other rows"):
        RowFile(tmp_path / "rows.npy", 3, np.float32)
