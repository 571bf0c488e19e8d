"""The rows of the paper's tables: their phases, their flags, and the paper's numbers."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lrdnn_base.errors import InputError
from lrdnn_tf.evaluation.report import PAPER

MARKET1501, DUKEMTMC, CUHK03, RENDERED = "market1501", "dukemtmc", "cuhk03", "rendered"
# Which flag files a dataset uses: the paper gives one schedule for both of its datasets.
SIZES = {MARKET1501: "full", DUKEMTMC: "full", CUHK03: "cuhk03", RENDERED: "small"}
DATASETS = tuple(SIZES)
PRETRAINED = "pose"  # the pose network that all rows share
OTHER = "other pose"  # the one of --other_pose_dir


class Row(NamedTuple):
    """A row of a table or study: one training and its evaluation.

    Attributes:
        name: Name in the table and in --rows.
        folder: Folder of the run, in the folder of its seed.
        phase: The phase that the row trains and evaluates.
        start: The row whose weights the training starts from.
        flags: What distinguishes the row from others of the same flag file.
        schedule: Name of the flag file, experiments/paper/SIZE/SCHEDULE.flags; that of the phase when empty.
        pose: Pose network of a fusion: PRETRAINED, OTHER, one of experiments.damage_pose.DAMAGES, or None for none.
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
        about_attributes: Whether it has no meaning for a dataset without attribute labels.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    compared: Mapping[str, tuple[str, ...]]
    others: str = ""
    text: str = ""
    beside_paper: bool = False
    about_attributes: bool = False


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


def without_attributes(table: Table) -> Table:
    """The table for a dataset without attribute labels: without the paper's letter A.

    Rows that only add attributes are left out; what starts from them starts from B, and is compared with B.

    Raises:
        InputError: The table is about attributes.
    """
    if table.about_attributes:
        raise InputError(f"{table.name} compares attribute losses, and the dataset has no attributes")
    renamed = {row.name: _without_a(row) for row in table.rows}
    compared = {}
    for name, others in table.compared.items():
        own = renamed[name].name
        compared.setdefault(own, tuple(dict.fromkeys(renamed[other].name for other in others)))
    compared.pop(B.name, None)  # of rows that became B
    text = f"{table.text} The dataset has no attribute labels, hence no letter A.".strip()
    rows = {row.name: row for row in renamed.values()}
    return table._replace(rows=tuple(rows.values()), compared=compared, text=text)


def _without_a(row: Row) -> Row:
    """The row without attributes: B for one that only adds them."""
    if row.phase == "attributes" and "--attribute_weight=0" not in row.flags:
        return B
    if row.phase == "attributes":  # B, trained on; without attributes that is its own phase again
        return row._replace(phase="identity", flags=("--phase=identity",))
    return row._replace(
        name=row.name.replace("+A", ""),
        folder=row.folder.replace("b_a", "b"),
        start=row.start and _without_a(row.start),
        flags=tuple(effective([*row.flags, "--attributes=false"])) if row.phase == "fusion" else row.flags,
        variant_of=row.variant_of and _without_a(row.variant_of),
    )
