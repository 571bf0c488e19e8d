"""The exceptions that are no fault of the program: bad input, and being asked to stop."""


class InputError(ValueError):
    """Bad input: a file, folder, flag or label that cannot be used as it is.

    The message is one line that says what is wrong, where, and what to do. Binaries print it and
    exit with code 1; every other exception keeps its traceback.
    """


class Stopped(Exception):
    """A training was asked to stop, by SIGTERM or Ctrl-C, and saved its state.

    Binaries print the message and exit with 128 + the signal's number, as the shell counts.
    """

    def __init__(self, signal: int, message: str):
        super().__init__(message)
        self.signal = signal
