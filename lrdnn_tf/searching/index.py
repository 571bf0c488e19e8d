"""The index of a folder of crops: the outputs of a model for every image, computed once and stored on disk.

INDEX/images.sqlite     the row of each image (column "place"), the files that the model refused, and the model's id
INDEX/embeddings.npy    float32 [rows, D]
INDEX/classes.npy       int32 [rows, tasks]
INDEX/scores.npy        float32 [rows, tasks]

Rows are written before the table refers to them. A run that is killed therefore leaves a valid index that lacks some
images, and the next run resumes there. Images that are new, or whose size or modification time changed, are embedded;
the rows of deleted images are reused.
"""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from lrdnn_base.errors import InputError
from lrdnn_base.files import find_images
from lrdnn_tf.serving import answers
from lrdnn_tf.serving.answers import Description, Model

INDEX_FOLDER = ".lrdnn_index"  # in the gallery, unless another folder is named
_FORMAT_VERSION = "1"
_TABLE = "images.sqlite"
_ROW_FILES = ("embeddings.npy", "classes.npy", "scores.npy")
_HEADER_BYTES = 128
_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Index:
    """The model's outputs for the images of a folder. Arrays of rows are memory-mapped from disk.

    Attributes:
        description: The model that computed the outputs.
        paths: The image of each row, relative to the folder; "" for a free row.
        usable: bool [rows], whether a row belongs to an image.
        embeddings: float32 [rows, D], unit length.
        classes: int32 [rows, tasks], the most likely class of each attribute task.
        scores: float32 [rows, tasks], its probability.
        refused: The reasons why files are not in the index, by path.
    """

    description: Description
    paths: Sequence[str]
    usable: np.ndarray
    embeddings: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    refused: Mapping[str, str]


def update_index(
    model: Model,
    gallery: str | os.PathLike,
    index_dir: str | os.PathLike | None = None,
    rebuild: bool = False,
    parallel: int = 1,
) -> Index:
    """Brings the index of a folder up to date, with a progress bar, and opens it.

    Args:
        model: A local model or a client.
        gallery: Folder of crops, including its subfolders except hidden ones.
        index_dir: Folder of the index; GALLERY/.lrdnn_index when None.
        rebuild: Whether to delete an existing index first.
        parallel: Number of batches that the model computes at the same time.

    Raises:
        InputError: No image; an index that belongs to another model, is damaged, or is being written by another
            process; a folder that cannot be written; or a server that does not answer.
    """
    gallery = pathlib.Path(gallery)
    if gallery.is_file():
        raise InputError(f"{gallery} is a file: name the folder of crops to search")
    files = {os.fspath(path.relative_to(gallery)): path for path in find_images(gallery)}
    folder = gallery / INDEX_FOLDER if index_dir is None else pathlib.Path(index_dir)
    description = model.describe()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {folder} ({error.strerror}): name another folder with --index_dir") from None
    try:
        with _opened_table(folder, rebuild) as table:
            _require_same_model(table, folder, description)
            columns = _row_files(folder, description)
            unreadable = _bring_up_to_date(table, columns, model, files, parallel)
            return _load(table, columns, description, unreadable)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise InputError(f"another process is writing {folder}: wait for it, or name another --index_dir") from None
        raise InputError(f"cannot write {folder} ({error}): name another folder with --index_dir") from None
    except sqlite3.DatabaseError as error:
        raise InputError(f"the index {folder} is damaged ({error}): rebuild it with --rebuild") from None


class RowFile:
    """A .npy file to which rows are appended. `numpy.load` can read it at any time and sees complete rows only.

    Args:
        path: The file, which is created when it does not exist.
        columns: Number of values in a row.
        dtype: The type of a value.

    Raises:
        InputError: The file is damaged, or has rows of another length or type.
    """

    def __init__(self, path: pathlib.Path, columns: int, dtype: type):
        self._path, self._columns, self._dtype = path, columns, np.dtype(dtype)
        if not path.exists():
            path.write_bytes(self._header(0))
        try:
            found = self.load()
        except (ValueError, OSError, EOFError) as error:
            raise InputError(f"{path} is damaged ({error}): rebuild the index with --rebuild") from None
        if found.shape[1:] != (columns,) or found.dtype != self._dtype:
            raise InputError(f"{path} holds other rows {found.shape}: rebuild the index with --rebuild")
        self.rows = len(found)

    def load(self) -> np.ndarray:
        """All rows [rows, columns], memory-mapped unless there are none, which cannot be mapped."""
        empty = self._path.stat().st_size <= _HEADER_BYTES
        return np.load(self._path, mmap_mode=None if empty else "r")

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Writes values [n, columns] to the rows with these indices, int [n]; new rows must follow the last one."""
        values = np.ascontiguousarray(values, self._dtype)
        with self._path.open("r+b") as file:
            for row, value in zip(rows, values, strict=True):
                file.seek(_HEADER_BYTES + int(row) * value.nbytes)
                file.write(value.tobytes())
            file.flush()
            self.rows = max(self.rows, int(np.max(rows, initial=-1)) + 1)
            file.seek(0)
            file.write(self._header(self.rows))
            file.flush()
            os.fsync(file.fileno())

    def _header(self, rows: int) -> bytes:
        """The header of numpy's format 1.0, padded to a fixed length so that it can be overwritten in place."""
        text = f"{{'descr': '{self._dtype.str}', 'fortran_order': False, 'shape': ({rows}, {self._columns}), }}"
        room = _HEADER_BYTES - 10
        return b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + text.ljust(room - 1).encode() + b"\n"


@contextlib.contextmanager
def _opened_table(folder: pathlib.Path, rebuild: bool) -> Iterator[sqlite3.Connection]:
    """The table, locked against other processes until it is closed; uncommitted changes are rolled back."""
    if rebuild:
        for file in (_TABLE, *_ROW_FILES):
            (folder / file).unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(folder / _TABLE, timeout=0)) as table:
        table.execute("PRAGMA locking_mode=EXCLUSIVE")
        table.execute("BEGIN IMMEDIATE")
        table.execute("CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT)")
        table.execute(
            "CREATE TABLE IF NOT EXISTS images"
            " (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, place INTEGER, refused TEXT)"
        )
        table.commit()
        yield table


def _require_same_model(table: sqlite3.Connection, folder: pathlib.Path, description: Description) -> None:
    """Refuses the index of another model, since embeddings of two models cannot be compared."""
    expected = {"format_version": _FORMAT_VERSION, "model_id": description.model_id}
    stored = dict(table.execute("SELECT name, value FROM about"))
    if stored and stored != expected:
        raise InputError(
            f"the index {folder} was made by another model ({stored.get('model_id')}, this is {description.model_id}): "
            "rebuild it with --rebuild, or name another folder with --index_dir"
        )
    table.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", expected.items())
    table.commit()


def _bring_up_to_date(
    table: sqlite3.Connection,
    columns: Sequence[RowFile],
    model: Model,
    files: Mapping[str, pathlib.Path],
    parallel: int,
) -> dict[str, str]:
    """Embeds new and changed images.

    Returns:
        The reasons why files could not be opened, by path, which are not stored: the next run tries these files again.
    """
    rows = min(column.rows for column in columns)
    known = {path: tuple(rest) for path, *rest in table.execute("SELECT path, size, mtime_ns, place FROM images")}
    lost = {path for path, (*_, row) in known.items() if path not in files or (row is not None and row >= rows)}
    table.executemany("DELETE FROM images WHERE path = ?", ((path,) for path in lost))
    table.commit()
    known = {path: rest for path, rest in known.items() if path not in lost}
    kept = {path: row for path, (*_, row) in known.items() if row is not None}
    taken = set(kept.values())
    free = itertools.chain((row for row in range(rows) if row not in taken), itertools.count(rows))
    stamps, unreadable = _stamps(files)
    fresh = [path for path, stamp in stamps.items() if known.get(path, ())[:2] != stamp]
    at_once = _BATCH * parallel
    with tqdm(total=len(fresh), desc="indexing", unit="image", disable=None if fresh else True) as progress:
        for start in range(0, len(fresh), at_once):
            paths, images = _read([(path, files[path]) for path in fresh[start : start + at_once]], unreadable)
            found, refused = answers.embed(model, images, _BATCH, parallel)
            row_of = {
                path: kept[path] if path in kept else next(free) for n, path in enumerate(paths) if n not in refused
            }
            for column, values in zip(columns, (found.embeddings, found.classes, found.scores), strict=True):
                column.write(np.fromiter(row_of.values(), np.int64, len(row_of)), values)
            entries = [(path, *stamps[path], row_of.get(path), refused.get(n)) for n, path in enumerate(paths)]
            table.executemany("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?)", entries)
            table.commit()
            progress.update(len(fresh[start : start + at_once]))
    return unreadable


def _stamps(files: Mapping[str, pathlib.Path]) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Size (bytes) and modification time (ns) of each file, and the reasons why other files cannot be indexed."""
    stamps, unreadable = {}, {}
    for path, file in files.items():
        try:
            path.encode()
            status = file.stat()
            stamps[path] = (status.st_size, status.st_mtime_ns)
        except UnicodeEncodeError:
            unreadable[path.encode(errors="backslashreplace").decode()] = "its name is not UTF-8, rename it"
        except OSError as error:
            unreadable[path] = error.strerror
    return stamps, unreadable


def _read(files: list[tuple[str, pathlib.Path]], unreadable: dict[str, str]) -> tuple[list[str], list[bytes]]:
    """Paths and bytes of the files that can be opened; the reasons why others cannot are added to `unreadable`."""
    paths, images = [], []
    for path, file in files:
        try:
            images.append(file.read_bytes())
            paths.append(path)
        except OSError as error:
            unreadable[path] = error.strerror
    return paths, images


def _row_files(folder: pathlib.Path, description: Description) -> list[RowFile]:
    tasks = len(description.tasks)
    shapes = ((description.embedding_size, np.float32), (tasks, np.int32), (tasks, np.float32))
    return [RowFile(folder / file, *shape) for file, shape in zip(_ROW_FILES, shapes, strict=True)]


def _load(table: sqlite3.Connection, columns: Sequence[RowFile], description: Description, unreadable: dict) -> Index:
    paths = [""] * min(column.rows for column in columns)
    for path, row in table.execute("SELECT path, place FROM images WHERE place IS NOT NULL"):
        paths[row] = path
    refused = dict(table.execute("SELECT path, refused FROM images WHERE refused IS NOT NULL"))
    embeddings, classes, scores = (column.load()[: len(paths)] for column in columns)
    usable = np.fromiter(map(bool, paths), bool, len(paths))
    return Index(description, paths, usable, embeddings, classes, scores, refused | unreadable)
