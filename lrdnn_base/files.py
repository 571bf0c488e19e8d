"""Files: written completely or not at all, JSON, hashes, image files in folders, short listings for messages."""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lrdnn_base.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
NAMES_SHOWN = 5


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary path to write to, which replaces `path` when the block ends without an exception.

    A reader therefore never sees half a file, and a failed write leaves the previous file as it was. The name ends
    like that of `path`, since some libraries choose the format by the suffix, and carries the process id, so that
    two processes do not write to the same temporary file.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f"writing.{os.getpid()}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | os.PathLike, content: str) -> None:
    """Writes a text file as UTF-8, completely or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def to_json(content: Mapping[str, Any]) -> str:
    """The text of a JSON file. NaN and infinity, which JSON does not have, raise ValueError."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def write_json(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Writes a JSON file, completely or not at all."""
    write_text(path, to_json(content))


def read_json(path: str | os.PathLike, remedy: str) -> dict[str, Any]:
    """The content of a JSON file that holds an object.

    Args:
        path: The file.
        remedy: Ends the error message: what to do about a file that cannot be used.

    Raises:
        InputError: The file cannot be read, or does not hold a JSON object.
    """
    path = pathlib.Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path} ({error}): {remedy}") from None
    if not isinstance(content, dict):
        raise InputError(f"cannot read {path} (not a JSON object): {remedy}")
    return content


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def find_images(path: str | os.PathLike, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[pathlib.Path]:
    """The image files of a folder and its subfolders, sorted by name; hidden files and folders are left out.

    A path that is a file stands for itself, whatever its suffix. Suffixes are compared without case.

    Raises:
        InputError: There is no such file or folder, or no image in it.
    """
    path = pathlib.Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"no file or folder {path}")
    images = sorted(_images_below(os.fspath(path), tuple(suffixes)))
    if not images:
        raise InputError(f"no image ({', '.join(suffixes)}) in {path}: name a folder of crops")
    return [pathlib.Path(image) for image in images]


def listing(entries: Sequence[Any], what: str = "") -> str:
    """A short list for a message: "12 bad images: a, b, c, d, e and 7 more", or without `what` the entries alone."""
    shown = ", ".join(map(str, entries[:NAMES_SHOWN]))
    more = len(entries) - NAMES_SHOWN
    count = f"{len(entries)} {what}: " if what else ""
    return f"{count}{shown}" + (f" and {more} more" if more > 0 else "")


def _images_below(folder: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):  # a link may lead back up
                yield from _images_below(entry.path, suffixes)
            elif entry.name.lower().endswith(suffixes):
                yield entry.path
