"""TensorFlow Addons, which reached its end of life: imported only where a recipe beyond the paper asks for it."""

import warnings
from types import ModuleType

from lrdnn_base.errors import InputError


def addons(needed_by: str) -> ModuleType:
    """The module tensorflow_addons.

    Args:
        needed_by: The flag that asks for it, which the error message tells the user to leave out.

    Raises:
        InputError: It is not installed; for Python 3.12 and later it does not exist.
    """
    try:
        with warnings.catch_warnings():  # it announces its own end of life at every import
            warnings.simplefilter("ignore")
            import tensorflow_addons
    except ImportError as error:
        raise InputError(
            f"{needed_by} needs TensorFlow Addons, which cannot be imported ({error}): "
            f"use Python 3.11 or earlier, or leave out {needed_by}"
        ) from None
    return tensorflow_addons
