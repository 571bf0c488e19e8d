"""The rows of the paper's tables, and what the paper says of them. Which flags a row is: experiments/paper/DATASET/."""

from collections.abc import Mapping
from typing import NamedTuple

from lrdnn_base.errors import InputError
from lrdnn_tf.evaluation.report import PAPER

MARKET1501, DUKEMTMC, RENDERED = "market1501", "dukemtmc", "rendered"
DATASETS = (MARKET1501, DUKEMTMC, RENDERED)


class Score(NamedTuple):
    """Rank-1 and mAP in percent; None where the paper gives none."""

    rank1: float | None
    mean_ap: float | None


class Row(NamedTuple):
    """A row of a table or study.

    Attributes:
        name: As people read and type it.
        folder: Of its run, under the folder of its seed.
        phase: What it trains and measures.
        start: The row that its training starts from.
        flagfile: Its flags, FLAGFILE.flags in experiments/paper/DATASET/.
        flags: What it changes of those.
        pose: The pose network of a fusion: "pose", or one of experiments.damage_pose.DAMAGES.
        paper: What the paper says of it, by dataset.
    """

    name: str
    folder: str
    phase: str
    start: "Row | None"
    flagfile: str
    flags: str = ""
    pose: str = "pose"
    paper: Mapping[str, Score] = {}


class Table(NamedTuple):
    """What one command makes.

    Attributes:
        name: Of its page, and of its module.
        title: Of its page.
        rows: In their order.
        compared: For a row, those rows that its mAP is set against within each seed.
        others: Methods of others, by the paper, per dataset.
        text: A paragraph under the title.
        beside_paper: Whether the paper's numbers of the rows stand beside ours.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    compared: Mapping[str, tuple[str, ...]]
    others: Mapping[str, Mapping[str, Score]] = {}
    text: str = ""
    beside_paper: bool = False


def _paper(method: str) -> dict[str, Score]:
    return {dataset: Score(*scores[method]) for dataset, scores in PAPER.items() if method in scores}


B = Row("B", "b", "identity", None, "b", paper=_paper("B"))
B_A = Row("B+A", "b_a", "attributes", B, "b_a", paper=_paper("B+A"))
B_A_H = Row("B+A+H", "b_a_h", "fusion", B_A, "b_a_h", paper=_paper("B+A+H"))
B_A_C = Row("B+A+C", "b_a_c", "fusion", B_A, "b_a_c", paper=_paper("B+A+C"))
LRDNN = Row("B+A+H+C", "lrdnn", "fusion", B_A, "lrdnn", paper=_paper("B+A+H+C (LRDNN)"))
WITHOUT_CPB = Row(
    "B+A+H+C without CPB",
    "lrdnn_without_cpb",
    "fusion",
    B_A,
    "lrdnn_without_cpb",
    paper=_paper("B+A+H+C without channel parsing"),
)


def variant(base: Row, name: str, folder: str, flags: str, pose: str = "pose") -> Row:
    """A row of a study: another row with other flags or another pose network, of which the paper says nothing."""
    return base._replace(name=name, folder=folder, flags=flags, pose=pose, paper={})


def chosen(table: Table, names: list[str] | None) -> list[Row]:
    """The rows of those names, in the table's order; all when None.

    Raises:
        InputError: No such row, or none at all.
    """
    known = [row.name for row in table.rows]
    if names is not None and not any(names):
        raise InputError(f"--rows is empty: there are {', '.join(known)}")
    if unknown := [name for name in names or () if name not in known]:
        raise InputError(f"no row {', '.join(map(repr, unknown))} in {table.name}: there are {', '.join(known)}")
    return [row for row in table.rows if names is None or row.name in names]
