"""The index of a folder of crops: what a model says of every image, on disk, so that it is asked once.

INDEX/images.sqlite     which image stands in which row, and which files the model refused; which model it was
INDEX/embeddings.npy    float32 [rows, D]
INDEX/classes.npy       int32 [rows, tasks]
INDEX/scores.npy        float32 [rows, tasks]

Rows are written before the table says that they are there: a run that is killed leaves an index that lacks some images,
and the next one goes on. Images that are new or whose size or time of change differs are embedded, the rows of those
that are gone are used again.
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
from lrdnn_tf.serving import answers
from lrdnn_tf.serving.answers import Description, Model

INDEX_FOLDER = ".lrdnn_index"  # in the gallery, unless another place is named
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_FORMAT_VERSION = "1"
_TABLE = "images.sqlite"
_ROW_FILES = ("embeddings.npy", "classes.npy", "scores.npy")
_HEADER_BYTES = 128
_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Index:
    """What is known of the images of a folder. Rows of images that are gone are not usable.

    Attributes:
        description: Of the model.
        paths: For every row the image, relative to the folder; "" where there is none.
        usable: bool [rows].
        embeddings: float32 [rows, D], unit length, on disk.
        classes: int32 [rows, tasks], on disk.
        scores: float32 [rows, tasks], on disk.
        refused: Why files are not in it, by path.
    """

    description: Description
    paths: Sequence[str]
    usable: np.ndarray
    embeddings: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    refused: Mapping[str, str]


def find_images(path: str | os.PathLike) -> list[pathlib.Path]:
    """The image files of a folder and its subfolders, sorted by name, without hidden ones; a file stands for itself.

    Raises:
        InputError: There is no such file or folder, or no image in it.
    """
    path = pathlib.Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"no file or folder {path}")
    images = sorted(_images_below(os.fspath(path)))
    if not images:
        raise InputError(f"no image ({', '.join(IMAGE_SUFFIXES)}) in {path}: name a folder of crops")
    return [pathlib.Path(image) for image in images]


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
        gallery: Folder of crops; subfolders count, hidden ones do not.
        index_dir: Where the index is; in the gallery's folder .lrdnn_index when None.
        rebuild: Begin anew, whatever is there.
        parallel: Batches that the model is asked about at a time.

    Raises:
        InputError: No image, an index of another model or one that is damaged, one that another process is writing,
            a folder that cannot be written, or a server that does not answer.
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
        raise InputError(f"cannot write {folder} ({error.strerror}): name another place with --index_dir") from None
    try:
        with _opened_table(folder, rebuild) as table:
            _require_same_model(table, folder, description)
            unreadable = _bring_up_to_date(table, folder, model, description, files, parallel)
            return _load(table, folder, description, unreadable)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise InputError(f"another process is writing {folder}: wait for it, or name another --index_dir") from None
        raise InputError(f"cannot write {folder} ({error}): name another place with --index_dir") from None
    except sqlite3.DatabaseError as error:
        raise InputError(f"the index {folder} is damaged ({error}): make it again with --rebuild") from None


class RowFile:
    """A .npy file of rows that grows: `numpy.load` reads it at any time, and never meets half a row.

    Args:
        path: The file; made when it is not there.
        columns: Numbers in a row.
        dtype: Of a number.

    Raises:
        InputError: The file is there and holds other rows.
    """

    def __init__(self, path: pathlib.Path, columns: int, dtype: type):
        self._path, self._columns, self._dtype = path, columns, np.dtype(dtype)
        if not path.exists():
            path.write_bytes(self._header(0))
        try:
            found = self.load()
        except (ValueError, OSError, EOFError) as error:
            raise InputError(f"{path} is damaged ({error}): make the index again with --rebuild") from None
        if found.shape[1:] != (columns,) or found.dtype != self._dtype:
            raise InputError(f"{path} holds other rows {found.shape}: make the index again with --rebuild")
        self.rows = len(found)

    def load(self) -> np.ndarray:
        """[rows, columns], mapped from disk where there is anything to map."""
        empty = self._path.stat().st_size <= _HEADER_BYTES
        return np.load(self._path, mmap_mode=None if empty else "r")

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Writes values [n, columns] to these rows, int [n]; rows beyond the end must follow it without a gap."""
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
        """Of numpy's format 1.0, padded to a fixed length, so that it can be written over."""
        text = f"{{'descr': '{self._dtype.str}', 'fortran_order': False, 'shape': ({rows}, {self._columns}), }}"
        room = _HEADER_BYTES - 10
        return b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + text.ljust(room - 1).encode() + b"\n"


def _images_below(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):  # a link may lead back up
                yield from _images_below(entry.path)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                yield entry.path


@contextlib.contextmanager
def _opened_table(folder: pathlib.Path, rebuild: bool) -> Iterator[sqlite3.Connection]:
    """The table, held against other processes until it is closed; what was not committed is rolled back."""
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
    """Embeddings of two models cannot be compared."""
    ours = {"format_version": _FORMAT_VERSION, "model_id": description.model_id}
    there = dict(table.execute("SELECT name, value FROM about"))
    if there and there != ours:
        raise InputError(
            f"the index {folder} was made by another model ({there.get('model_id')}, this is {description.model_id}): "
            "make it again with --rebuild, or name another place with --index_dir"
        )
    table.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", ours.items())
    table.commit()


def _bring_up_to_date(
    table: sqlite3.Connection,
    folder: pathlib.Path,
    model: Model,
    description: Description,
    files: Mapping[str, pathlib.Path],
    parallel: int,
) -> dict[str, str]:
    """Embeds what is new or changed. Returns why files could not be opened at all; those are tried again next time."""
    columns = _row_files(folder, description)
    rows = min(column.rows for column in columns)
    known = {path: tuple(rest) for path, *rest in table.execute("SELECT path, size, mtime_ns, place FROM images")}
    lost = {path for path, (*_, place) in known.items() if path not in files or (place is not None and place >= rows)}
    table.executemany("DELETE FROM images WHERE path = ?", ((path,) for path in lost))
    table.commit()
    known = {path: rest for path, rest in known.items() if path not in lost}
    taken = {place for *_, place in known.values()}
    free = itertools.chain((row for row in range(rows) if row not in taken), itertools.count(rows))
    stamps, unreadable = _stamps(files)
    fresh = [path for path, stamp in stamps.items() if known.get(path, ())[:2] != stamp]
    at_once = _BATCH * parallel
    with tqdm(total=len(fresh), desc="indexing", unit="image", disable=None if fresh else True) as progress:
        for start in range(0, len(fresh), at_once):
            paths, images = _read([(path, files[path]) for path in fresh[start : start + at_once]], unreadable)
            found, refused = answers.embed(model, images, _BATCH, parallel)
            places = _places([path for n, path in enumerate(paths) if n not in refused], known, free)
            for column, values in zip(columns, (found.embeddings, found.classes, found.scores), strict=True):
                column.write(np.fromiter(places.values(), np.int64, len(places)), values)
            entries = [(path, *stamps[path], places.get(path), refused.get(n)) for n, path in enumerate(paths)]
            table.executemany("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?)", entries)
            table.commit()
            progress.update(len(fresh[start : start + at_once]))
    return unreadable


def _stamps(files: Mapping[str, pathlib.Path]) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Size and time of change of each file, and why some have none."""
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
    """The contents of those files that can be opened; why others cannot is added to unreadable."""
    paths, images = [], []
    for path, file in files:
        try:
            images.append(file.read_bytes())
            paths.append(path)
        except OSError as error:
            unreadable[path] = error.strerror
    return paths, images


def _places(paths: list[str], known: Mapping[str, tuple], free: Iterator[int]) -> dict[str, int]:
    """A row for each image: that which it had, or a free one."""
    places = {}
    for path in paths:
        before = known[path][-1] if path in known else None
        places[path] = next(free) if before is None else before
    return places


def _row_files(folder: pathlib.Path, description: Description) -> list[RowFile]:
    tasks = len(description.tasks)
    shapes = ((description.embedding_size, np.float32), (tasks, np.int32), (tasks, np.float32))
    return [RowFile(folder / file, *shape) for file, shape in zip(_ROW_FILES, shapes, strict=True)]


def _load(table: sqlite3.Connection, folder: pathlib.Path, description: Description, unreadable: dict) -> Index:
    columns = [column.load() for column in _row_files(folder, description)]
    paths = [""] * min(map(len, columns))
    for path, place in table.execute("SELECT path, place FROM images WHERE place IS NOT NULL"):
        paths[place] = path
    refused = dict(table.execute("SELECT path, refused FROM images WHERE refused IS NOT NULL"))
    embeddings, classes, scores = (column[: len(paths)] for column in columns)
    usable = np.fromiter(map(bool, paths), bool, len(paths))
    return Index(description, paths, usable, embeddings, classes, scores, refused | unreadable)
