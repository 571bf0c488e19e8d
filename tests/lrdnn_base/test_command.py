"""How a command-line tool ends, and what it writes to stderr."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from absl import flags
from lrdnn_base import command
from lrdnn_base.errors import InputError

flags.DEFINE_integer("size", 1, "Size.")
flags.DEFINE_enum("kind", "x", ["x", "y"], "Kind.")

def main():
    {body}

command.run(main)
"""


def run(body: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", SCRIPT.format(body=body), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("body", "arguments", "code", "line"),
    [
        ('raise InputError("data: not here, make it")', (), 1, "error: data: not here, make it"),
        ('open("/dev/null/x")', (), 1, "error: /dev/null/x: Not a directory"),
        ("raise KeyboardInterrupt", (), 130, "interrupted"),
        ("pass", ("extra",), 1, "error: unexpected argument 'extra': flags are written --name=value (see --help)"),
        ("pass", ("--sizes=3",), 1, "error: no flag --sizes: there are --size, --kind"),
        ("pass", ("--size=big",), 1, "error: flag --size=big: invalid literal for int() with base 10: 'big'"),
        ("pass", ("--kind=z",), 1, "error: flag --kind=z: value should be one of <x|y>"),
    ],
)
def test_bad_input_ends_in_one_line(body, arguments, code, line):
    ended = run(body, *arguments)
    assert (ended.returncode, ended.stderr.strip()) == (code, line)


def test_an_internal_error_keeps_its_traceback():
    ended = run("[][0]")
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "IndexError" in ended.stderr
