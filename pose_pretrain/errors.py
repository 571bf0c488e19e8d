"""The one exception that means: the person, not the program, has something to put right."""


class InputError(ValueError):
    """Bad input: a file, folder, flag or label that cannot be used as it is.

    The message is one line that says what is wrong, where, and what to do. Binaries print it and
    exit with code 1; every other exception keeps its traceback.
    """
