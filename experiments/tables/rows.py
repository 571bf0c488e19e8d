"""The rows of the paper's tables: their phases, their flags, and the paper's numbers."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lrdnn_base.errors import InputError
from lrdnn_tf.evaluation.report import PAPER

MARKET1501, DUKEMTMC, RENDERED = "market1501", "dukemtmc", "rendered"
# Which flag files a dataset uses: the paper gives one schedule for both real datasets.
SIZES = {MARKET1501: "full", DUKEMTMC: "full", RENDERED: "small"}
DATASETS = tuple(SIZES)
PRETRAINED = "pose"  # the pose network that all rows share


class Row(NamedTuple):
    """A row of a table or study: one training and its evaluation.

    Attributes:
        name: Name in the table and in --rows.
        folder: Folder of the run, in the folder of its seed.
        phase: The phase that the row trains and evaluates.
        start: The row whose weights the training starts from.
        flags: What distinguishes the row from others of the same flag file.
        schedule: Name of the flag file, experiments/paper/SIZE/SCHEDULE.flags; that of the phase when empty.
        pose: Pose network of a fusion: PRETRAINED, one of experiments.damage_pose.DAMAGES, or None for none.
        variant_of: The row that this one changes. A variant whose settings equal that row's shares its run.
        paper: The paper's rank-1 and mAP in percent, by dataset.
    """

    name: str
    folder: str
    phase: str
    start: "Row | None"
    flags: tuple[str, ...] = ()
    schedule: str = ""
    pose: str | None = PRETRAINED
    variant_of: "Row | None" = None
    paper: Mapping[str, tuple[float, float]] = {}


class Table(NamedTuple):
    """What one command trains, evaluates and writes.

    Attributes:
        name: Name of the page and of the module.
        title: Title of the page.
        rows: The rows, in the order of the page.
        compared: For a row, the rows that its mAP is compared with within each seed.
        others: The paper's scores of other methods, a Markdown table.
        text: A paragraph under the title.
        beside_paper: Whether the page shows the paper's scores of the rows.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    compared: Mapping[str, tuple[str, ...]]
    others: str = ""
    text: str = ""
    beside_paper: bool = False


def effective(flags: Iterable[str]) -> list[str]:
    """Flags sorted by name. Of a flag that is given twice the last one counts, as in absl."""
    return sorted({flag.partition("=")[0]: flag for flag in flags}.values())


def _paper(method: str) -> dict[str, tuple[float, float]]:
    return {dataset: scores[method] for dataset, scores in PAPER.items() if method in scores}


def _fusion(name: str, folder: str, maps: str, parsed: bool, method: str) -> Row:
    flags = (f"--channel_parse={str(parsed).lower()}", f"--pose_maps={maps}")
    return Row(name, folder, "fusion", B_A, flags, paper=_paper(method))


B = Row("B", "b", "identity", None, paper=_paper("B"))
B_A = Row("B+A", "b_a", "attributes", B, paper=_paper("B+A"))
B_A_H = _fusion("B+A+H", "b_a_h", "confidence", True, "B+A+H")
B_A_C = _fusion("B+A+C", "b_a_c", "affinity", True, "B+A+C")
LRDNN = _fusion("B+A+H+C", "lrdnn", "both", True, "B+A+H+C (LRDNN)")
WITHOUT_CPB = _fusion("B+A+H+C without CPB", "lrdnn_without_cpb", "both", False, "B+A+H+C without channel parsing")


def variant(base: Row, name: str, folder: str, *flags: str, pose: str | None = PRETRAINED) -> Row:
    """A row of a study: `base` with other flags or another pose network, for which the paper has no scores."""
    merged = tuple(effective([*base.flags, *flags]))
    return base._replace(name=name, folder=folder, flags=merged, pose=pose, variant_of=base, paper={})


def chosen(table: Table, names: str | None) -> list[Row]:
    """The rows with the given names, which are separated by commas, in the table's order; all when None.

    Raises:
        InputError: A row does not exist, or no name is given.
    """
    known = [row.name for row in table.rows]
    wanted = known if names is None else [name.strip() for name in names.split(",")]
    if not any(wanted):
        raise InputError(f"--rows is empty: there are {', '.join(known)}")
    if unknown := [name for name in wanted if name not in known]:
        raise InputError(f"no row {', '.join(map(repr, unknown))} in {table.name}: there are {', '.join(known)}")
    return [row for row in table.rows if row.name in wanted]
