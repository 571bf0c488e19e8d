"""The borders of DESIGN: imports run one way, and only binaries know flags."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

# A module may import from its own rank and from those below it (further right in the list).
PACKAGES = ["experiments", "data_prep", "lrdnn_tf", "pose_pretrain"]
# Inside lrdnn_tf: binaries -> training | evaluation | serving -> runs -> model | data -> config -> attributes.
RANKS = {
    "attributes": 0, "config": 1, "binary": 1,
    "model": 2, "data": 2,
    "runs": 3,
    "training": 4, "evaluation": 4, "serving": 4,
    "pretrain_pose": 5, "train": 5, "evaluate": 5, "export": 5, "search": 5, "visualize": 5,
}  # fmt: skip


def modules(package: str) -> list[pathlib.Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: pathlib.Path) -> set[str]:
    """Full names of what a file imports, for example {"lrdnn_tf.data.dataset.Dataset"}."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part_of_lrdnn(name: str) -> str | None:
    """The part of lrdnn_tf that a full name lies in: "lrdnn_tf.data.dataset" is in "data"."""
    parts = name.split(".")
    return parts[1] if parts[0] == "lrdnn_tf" and len(parts) > 1 else None


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_downwards_only(package):
    above = set(PACKAGES[: PACKAGES.index(package)])
    upwards = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imported(path)
        if name.split(".")[0] in above
    ]
    assert not upwards


def test_lrdnn_tf_imports_downwards_only():
    wrong = []
    for path in modules("lrdnn_tf"):
        part = path.relative_to(ROOT / "lrdnn_tf").parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for other in filter(None, map(part_of_lrdnn, imported(path))):
            if other != part and RANKS[other] >= RANKS[part]:
                wrong.append(f"{path.relative_to(ROOT)} imports lrdnn_tf.{other}")
    assert not wrong


def test_the_pose_network_knows_nothing_of_re_identification():
    text = "".join(path.read_text().lower() for path in modules("pose_pretrain"))
    assert "identit" not in text
    assert "gallery" not in text


def test_only_binaries_know_flags():
    for package in PACKAGES:
        for path in modules(package):
            if path.name not in ("binary.py", "flagfiles.py") and any(
                name.startswith("absl.flags") for name in imported(path)
            ):
                assert "    binary.run(main)\n" in path.read_text(), path
