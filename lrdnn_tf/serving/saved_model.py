"""An exported model in this process."""

import os
import pathlib
from collections.abc import Sequence

import tensorflow as tf

from lrdnn_base.errors import InputError
from lrdnn_tf.serving import answers
from lrdnn_tf.serving.answers import Answers, Description


def newest_version(path: str | os.PathLike) -> pathlib.Path:
    """The folder of a SavedModel: path itself, or the newest version under it.

    Raises:
        InputError: There is none.
    """
    folder = pathlib.Path(path)
    if (folder / "saved_model.pb").is_file():
        return folder
    versions = [int(file.parent.name) for file in folder.glob("*/saved_model.pb") if file.parent.name.isdigit()]
    if not versions:
        raise InputError(f"no SavedModel in {folder}: write one with python -m lrdnn_tf.export")
    return folder / str(max(versions))


class LocalModel:
    """A SavedModel that `lrdnn_tf.export` wrote, see `lrdnn_tf.serving.signatures` for what it gives.

    Args:
        path: The version folder, or the folder of versions, of which the newest is taken.

    Raises:
        InputError: There is none, or it is damaged.
    """

    def __init__(self, path: str | os.PathLike):
        folder = newest_version(path)
        try:
            self._model = tf.saved_model.load(os.fspath(folder))  # its signatures live as long as it does
            self._signatures = {name: self._model.signatures[name] for name in ("serving_default", "describe")}
        except (OSError, IndexError, KeyError, ValueError, tf.errors.OpError) as error:  # of damaged files
            raise InputError(f"the SavedModel in {folder} is damaged, export it again: {error}") from None

    def describe(self) -> Description:
        outputs = self._signatures["describe"](request=tf.constant([answers.DESCRIBE_REQUEST]))
        return answers.description_from({name: value.numpy() for name, value in outputs.items()})

    def predict(self, images: Sequence[bytes]) -> Answers:
        """Answers for one batch of image files.

        Raises:
            RefusedImage: One of them cannot be decoded, or is too large.
        """
        try:
            outputs = self._signatures["serving_default"](image_bytes=tf.constant(list(images), tf.string))
        except tf.errors.InvalidArgumentError as error:
            raise answers.RefusedImage(answers.reason(error.message)) from None
        return answers.answers_from({name: value.numpy() for name, value in outputs.items()}, len(images))
