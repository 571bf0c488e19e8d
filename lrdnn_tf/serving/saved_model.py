"""An exported model, loaded in this process."""

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
        InputError: There is no SavedModel.
    """
    folder = pathlib.Path(path)
    if (folder / "saved_model.pb").is_file():
        return folder
    versions = [int(file.parent.name) for file in folder.glob("*/saved_model.pb") if file.parent.name.isdigit()]
    if not versions:
        raise InputError(f"no SavedModel in {folder}: write one with python -m lrdnn_tf.export")
    return folder / str(max(versions))


class LocalModel:
    """A SavedModel that `lrdnn_tf.serving.export.export` wrote; `lrdnn_tf.serving.signatures` describes its outputs.

    Args:
        path: The folder of a version, or the folder of all versions, of which the newest is loaded.

    Raises:
        InputError: There is no SavedModel, or it is damaged.
    """

    def __init__(self, path: str | os.PathLike):
        folder = newest_version(path)
        try:
            self._model = tf.saved_model.load(
                os.fspath(folder)
            )  # a reference, since signatures do not keep their model alive
            self._signatures = {name: self._model.signatures[name] for name in ("serving_default", "describe")}
        except (OSError, IndexError, KeyError, ValueError, tf.errors.OpError) as error:  # raised for damaged files
            raise InputError(f"the SavedModel in {folder} is damaged, export it again: {error}") from None

    def describe(self) -> Description:
        """See `answers.Model`."""
        outputs = self._signatures["describe"](request=tf.constant([answers.DESCRIBE_REQUEST]))
        return answers.description_from({name: value.numpy() for name, value in outputs.items()})

    def predict(self, images: Sequence[bytes]) -> Answers:
        """See `answers.Model`."""
        try:
            outputs = self._signatures["serving_default"](image_bytes=tf.constant(list(images), tf.string))
        except tf.errors.InvalidArgumentError as error:
            raise answers.RefusedImage(answers.reason(error.message)) from None
        return answers.answers_from({name: value.numpy() for name, value in outputs.items()}, len(images))
