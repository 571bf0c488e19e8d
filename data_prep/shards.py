"""Writes a converted dataset: TFRecord shards in a temporary folder, dataset.json last, then one rename.

An interrupted conversion therefore never leaves an incomplete dataset folder.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from absl import logging
from tqdm import tqdm

from data_prep.crops import ImageSource
from data_prep.output import list_all
from lrdnn_base.errors import InputError
from lrdnn_base.files import sha256, write_json
from lrdnn_tf.data.dataset import DESCRIPTION_FILE, FORMAT_VERSION

_AT_A_TIME = 512  # items read, checked and encoded in parallel before they are written


class BadImageError(Exception):
    """An image file cannot be used; the message names the file and the reason."""


class ImageFile(NamedTuple):
    """The unchanged content of an image file, and the size of the image in pixels."""

    content: bytes
    height: int
    width: int


class WrittenSplit(NamedTuple):
    """Result of write_split: the shards as dataset.json lists them, the items in them, and the bad images."""

    shards: list[dict[str, Any]]
    items: list[Any]
    bad_images: list[str]


@contextlib.contextmanager
def new_dataset(out_dir: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A folder to write into, which is renamed to out_dir when the block succeeds and removed when it raises.

    Raises:
        InputError: out_dir exists already, or cannot be written (a full disk, no permission).
    """
    out_dir = pathlib.Path(out_dir)
    if os.path.lexists(out_dir):
        raise InputError(f"{out_dir}: exists already; remove it or choose another --out_dir")
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(out_dir)
        folder = _temporary_folder(out_dir, os.getpid())
        folder.mkdir()
    except OSError as error:
        raise InputError(f"{out_dir}: cannot be created ({error.strerror})") from error
    try:
        yield folder
        folder.rename(out_dir)
    except (OSError, tf.errors.OpError) as error:
        raise InputError(f"{out_dir}: cannot be written ({error}); nothing was kept") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # does not exist after the rename


def write_split(
    folder: pathlib.Path,
    split: str,
    items: Sequence[Any],
    image_of: Callable[[Any], ImageSource],
    encode: Callable[[Any, ImageFile], bytes],
    shards: int,
) -> WrittenSplit:
    """Decodes every image of a split and writes the examples in the order of the items, with a progress bar.

    Args:
        folder: Folder for the shards.
        split: Name of the split.
        items: Objects of any type, one per example.
        image_of: Returns the image file of an item.
        encode: Returns the serialized example of an item, or raises BadImageError. These items, and those whose
            image does not decode, are left out and returned as bad images.
        shards: Number of files, at least 1.
    """
    written, bad_images, descriptions = [], [], []
    with (
        concurrent.futures.ThreadPoolExecutor() as pool,
        tqdm(total=len(items), desc=split, unit="record", disable=None) as bar,
    ):
        for number in range(shards):
            path = folder / f"{split}-{number:05d}-of-{shards:05d}.tfrecord"
            part = items[len(items) * number // shards : len(items) * (number + 1) // shards]
            before = len(written)
            with tf.io.TFRecordWriter(str(path)) as writer:
                for start in range(0, len(part), _AT_A_TIME):
                    chunk = part[start : start + _AT_A_TIME]
                    for item, image in zip(chunk, read_images([image_of(item) for item in chunk], pool), strict=True):
                        try:
                            if isinstance(image, BadImageError):
                                raise image
                            writer.write(encode(item, image))
                            written.append(item)
                        except BadImageError as error:
                            bad_images.append(str(error))
                    bar.update(len(chunk))
            descriptions.append({"file": path.name, "examples": len(written) - before, "sha256": sha256(path)})
    return WrittenSplit(descriptions, written, bad_images)


def check_bad_images(bad_images: Sequence[str], skip: bool) -> None:
    """Raises an InputError that lists the bad images, or logs a warning where they are skipped."""
    if not bad_images:
        return
    if skip:
        logging.warning("%d bad images left out, listed in %s", len(bad_images), DESCRIPTION_FILE)
        return
    raise InputError(f"{list_all(bad_images, 'bad images')}; repair them, or leave them out with --skip_bad_images")


def write_description(folder: pathlib.Path, kind: str, name: str, **fields: Any) -> None:
    """Writes dataset.json."""
    description = {"format_version": FORMAT_VERSION, "kind": kind, "name": name, **fields}
    write_json(folder / DESCRIPTION_FILE, description)


def read_images(files: Sequence[ImageSource], pool: concurrent.futures.Executor) -> list[ImageFile | BadImageError]:
    """Reads image files and decodes them completely, with the decoder that training uses.

    Returns:
        For each file the image, or the error if it is missing, empty, truncated or not an image.
    """
    contents = list(pool.map(_read, files))
    sizes = iter(image_sizes([content for content in contents if isinstance(content, bytes)]))
    images = []
    for file, content in zip(files, contents, strict=True):
        if isinstance(content, BadImageError):
            images.append(content)
        elif (size := next(sizes)) is None:
            images.append(BadImageError(f"{file} (corrupt or truncated, or not an image)"))
        else:
            images.append(ImageFile(content, *size))
    return images


def image_sizes(contents: Sequence[bytes]) -> list[tuple[int, int] | None]:
    """Height and width of encoded images, None for those that do not decode."""
    try:
        return list(map(tuple, _decoded_sizes(tf.constant(contents, tf.string, [len(contents)])).numpy().tolist()))
    except tf.errors.InvalidArgumentError:
        return [None] if len(contents) == 1 else [size for content in contents for size in image_sizes([content])]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def _decoded_sizes(contents: tf.Tensor) -> tf.Tensor:
    """int32 [n, 2]. One call for many images uses all cores, which Python threads would not."""

    def size(content: tf.Tensor) -> tf.Tensor:
        return tf.shape(tf.io.decode_image(content, channels=3, expand_animations=False))[:2]

    return tf.map_fn(size, contents, fn_output_signature=tf.TensorSpec([2], tf.int32), parallel_iterations=64)


def _read(file: ImageSource) -> bytes | BadImageError:
    try:
        content = file.read_bytes()
    except OSError as error:
        return BadImageError(f"{file} ({error.strerror})")
    return content or BadImageError(f"{file} (empty)")


def _temporary_folder(out_dir: pathlib.Path, process: int | str) -> pathlib.Path:
    return out_dir.parent / f".{out_dir.name}.partial-{process}"


def _remove_leftovers(out_dir: pathlib.Path) -> None:
    """Removes the temporary folders of conversions to the same folder that were killed."""
    prefix = _temporary_folder(out_dir, "").name
    for folder in out_dir.parent.iterdir():
        process = folder.name.removeprefix(prefix)
        if folder.name.startswith(prefix) and process.isdigit() and not _runs(int(process)):
            logging.warning("removing %s, left behind by a conversion that was killed", folder)
            shutil.rmtree(folder)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process of another user
        return True
    return process != os.getpid()
