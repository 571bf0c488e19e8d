"""What every command-line tool does around its main function: parse flags, and end in one line when input is bad."""

import contextlib
import dataclasses
import logging as python_logging
import os
import shlex
import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from absl import app, flags, logging

from lrdnn_base.errors import InputError, Stopped
from lrdnn_base.options import options_of

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextlib.contextmanager
def _native_stderr_dropped() -> Iterator[None]:
    """Drops what C++ code writes to stderr; Python's own exceptions still come through."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


# TensorFlow writes its start-up messages before its log level takes effect: several lines before every answer. They
# are dropped unless the user sets the log level; devices.device_names reports a GPU that cannot be used. TensorFlow
# reads the level once, so that it need not stay in the environment, where child processes would take it for the user's.
if _LOG_LEVEL in os.environ:
    import tensorflow
else:
    os.environ[_LOG_LEVEL] = "2"
    with _native_stderr_dropped():
        import tensorflow

        tensorflow.config.list_physical_devices()
    del os.environ[_LOG_LEVEL]


def run(main: Callable[[], None]) -> None:
    """Parses the absl flags and calls main.

    One line on stderr and exit code 1 for: a flag that does not exist or cannot have its value, an InputError, a file
    that the system will not open or write. Ctrl-C exits with 130, a training that SIGTERM stopped with 143. Every
    other exception keeps its traceback.
    """

    def guarded(argv: list[str]) -> None:
        logging.get_absl_handler().setFormatter(python_logging.Formatter("%(levelname)s: %(message)s"))
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        try:
            if len(argv) > 1:
                raise InputError(f"unexpected argument {argv[1]!r}: flags are written --name=value (see --help)")
            main()
        except InputError as error:
            _end(f"error: {error}", 1)
        except OSError as error:
            if error.filename is None:
                raise
            _end(f"error: {error.filename}: {error.strerror}", 1)
        except Stopped as stopped:
            _end(str(stopped), 128 + stopped.signal)
        except KeyboardInterrupt:
            _end("interrupted", 130)

    app.run(guarded, flags_parser=_parse)


def define_flags(config: type, names: Iterable[str] | None = None) -> None:
    """Defines a flag for each option of a dataclass (see `lrdnn_base.options`): its name, type, default and help text.

    Args:
        config: A dataclass whose fields were declared with `option`.
        names: Which of them; all when None.
    """
    types = typing.get_type_hints(config)
    for field in options_of(config):
        if names is not None and field.name not in names:
            continue
        default = None if field.default is dataclasses.MISSING else field.default
        kind, choices, text = _plain_type(types[field.name]), field.metadata["choices"], field.metadata["help"]
        if choices and kind is str:
            flags.DEFINE_enum(field.name, default, list(choices), text)
        else:
            _DEFINE[kind](field.name, default, text)
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[field.name])  # for --help


def read_flags(config: type) -> dict[str, Any]:
    """The values of all flags that `define_flags` defined for a dataclass, by name; unset flags are left out."""
    values = {field.name: flags.FLAGS[field.name].value for field in options_of(config) if field.name in flags.FLAGS}
    return {name: value for name, value in values.items() if value is not None}


def given_flags(config: type) -> dict[str, Any]:
    """Like `read_flags`, only those flags that the user gave."""
    return {name: value for name, value in read_flags(config).items() if flags.FLAGS[name].present}


_DEFINE = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}


def _plain_type(annotation: Any) -> type:
    """`int` of `int | None`."""
    (kind,) = [part for part in typing.get_args(annotation) or (annotation,) if part is not type(None)]
    return kind


def command_line() -> str:
    """The command that started this process, as a shell takes it: "python -m lrdnn_tf.train --seed=1"."""
    return shlex.join(["python", *sys.orig_argv[1:]])


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        _end(f"error: no flag --{error.flagname}: there are {', '.join(_own_flags()) or 'none'}", 1)
    except flags.Error as error:
        _end(f"error: {' '.join(str(error).split())}", 1)


def _own_flags() -> list[str]:
    """The flags of this project, without those that absl and the libraries define."""
    modules = flags.FLAGS.flags_by_module_dict().items()
    return [
        f"--{flag.name}"
        for module, defined in modules
        if not module.startswith(("absl", "tensorflow", "tf_keras"))
        for flag in defined
    ]


def _end(line: str, code: int) -> None:
    print(line, file=sys.stderr)
    sys.exit(code)
