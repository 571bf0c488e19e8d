"""What every binary here does around its main: absl flags in, one clear line out when the input is bad."""

import contextlib
import logging as python_logging
import os
import sys
from collections.abc import Callable, Iterator

from absl import app, flags, logging

from pose_pretrain.errors import InputError, Stopped


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


# TensorFlow's start-up notes are written before its log level counts; six lines before every answer help nobody.
# A GPU that cannot be used is one of them: training says which devices it runs on.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with _native_stderr_dropped():
    import tensorflow

    tensorflow.config.list_physical_devices()


def run(main: Callable[[], None]) -> None:
    """Parses the absl flags and calls main.

    A flag that does not exist or cannot have its value, an InputError, or a file that the system will not open or
    write, ends in one line on stderr and exit code 1; so does Ctrl-C, with 130, and a training that SIGTERM stopped,
    with 143. Every other exception keeps its traceback.
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


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        _end(f"error: no flag --{error.flagname}: there are {', '.join(_own_flags())}", 1)
    except flags.Error as error:
        _end(f"error: {' '.join(str(error).split())}", 1)


def _own_flags() -> list[str]:
    """Those of ours, without the ones that absl and the libraries bring."""
    modules = flags.FLAGS.flags_by_module_dict().items()
    return [
        f"--{flag.name}"
        for module, its in modules
        if not module.startswith(("absl", "tensorflow", "tf_keras"))
        for flag in its
    ]


def _end(line: str, code: int) -> None:
    print(line, file=sys.stderr)
    sys.exit(code)
