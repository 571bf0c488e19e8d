"""The exceptions that are not faults of the program: input that cannot be used, and a request to stop."""


class InputError(ValueError):
    """Input that cannot be used as it is: a file, folder, flag or label.

    The message is one line that says what is wrong, where, and what to do. A command-line tool prints it and exits
    with code 1; every other exception keeps its traceback.
    """


class Stopped(Exception):
    """A training was asked to stop, by SIGTERM or Ctrl-C, and saved its state.

    A command-line tool prints the message and exits with 128 + the signal's number, as shells do.
    """

    def __init__(self, signal: int, message: str):
        super().__init__(message)
        self.signal = signal
