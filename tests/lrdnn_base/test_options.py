"""Options are declared once: validation and flags come from the fields."""

import concurrent.futures
import dataclasses
import subprocess
import sys

import pytest

from lrdnn_base.errors import InputError
from lrdnn_base.options import check_options, option


@dataclasses.dataclass(frozen=True)
class Config:
    epochs: int = option(help="Passes.", above=0)
    share: float = option(0.5, "Share.", at_least=0, below=1)
    kind: str = option("x", "Kind.", choices=("x", "y"))
    sigma: float | None = option(None, "Sigma.", above=0)
    name: str = "not an option"

    def __post_init__(self):
        check_options(self)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs=0 must be above 0"),
        ({"share": 1.0}, "share=1.0 must be at least 0 and below 1"),
        ({"share": float("nan")}, "share=nan must be at least 0 and below 1"),
        ({"kind": "z"}, "kind='z' is not one of x, y"),
        ({"sigma": 0.0}, "sigma=0.0 must be above 0"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(values, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        Config(**{"epochs": 1} | values)


def test_bounds_are_inclusive_or_not_as_they_say():
    assert Config(epochs=1, share=0.0).sigma is None


SCRIPT = """
import dataclasses
from absl import flags
from lrdnn_base import command
from lrdnn_base.options import option

@dataclasses.dataclass(frozen=True)
class Config:
    epochs: int = option(help="Passes over the images.")
    share: float = option(0.5, "Share.")
    kind: str = option("x", "Kind.", choices=("x", "y"))
    sigma: float | None = option(None, "Sigma.")
    fast: bool = option(False, "Fast.")
    name: str = "not an option"

def main():
    print(command.read_flags(Config), command.given_flags(Config))

command.define_flags(Config)
command.run(main)
"""


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True)


def test_flags_come_from_the_fields():
    calls = (("--epochs=3", "--sigma=2", "--fast"), (), ("--kind=z",), ("--name=a",), ("--help",))
    with concurrent.futures.ThreadPoolExecutor() as processes:
        some, none, other_kind, no_flag, helped = processes.map(lambda flags: run(*flags), calls)
    everything = {"epochs": 3, "share": 0.5, "kind": "x", "sigma": 2.0, "fast": True}
    assert some.stdout.strip() == f"{everything} { ({'epochs': 3, 'sigma': 2.0, 'fast': True}) }"
    assert none.stdout.strip() == "{'share': 0.5, 'kind': 'x', 'fast': False} {}"
    assert "should be one of <x|y>" in other_kind.stderr
    assert "no flag --name: there are --epochs, --share, --kind, --sigma, --fast" in no_flag.stderr
    assert "Passes over the images." in helped.stdout
