"""The layers of WORKSPACE.md: imports point downwards only, and only command-line tools know flags."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

# A module may import from its own rank and from those below it (further right in the list).
PACKAGES = ["experiments", "data_prep", "lrdnn_tf", "pose_pretrain", "lrdnn_base"]
# In lrdnn_tf: tools > searching > training, evaluation > serving > runs > model, data > config > attributes, phases.
RANKS = {
    "attributes": 0, "phases": 0, "config": 1,
    "model": 2, "data": 2,
    "runs": 3,
    "serving": 4,
    "training": 5, "evaluation": 5,
    "searching": 6,
    "pretrain_pose": 7, "train": 7, "evaluate": 7, "export": 7, "search": 7, "visualize": 7,
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


def test_no_module_imports_itself_through_others():
    """Imports inside functions count: they hide a circle until the function is called."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path for name in PACKAGES for path in modules(name)
    }

    def modules_of(path):
        return {name if name in files else name.rpartition(".")[0] for name in imported(path)} & files.keys()

    needs = {name: modules_of(path) for name, path in files.items()}
    while removable := [name for name, below in needs.items() if not below & needs.keys()]:
        for name in removable:
            del needs[name]
    assert not needs


def test_the_pose_network_knows_nothing_of_re_identification():
    text = "".join(path.read_text().lower() for path in modules("pose_pretrain"))
    assert "identit" not in text
    assert "gallery" not in text


def test_the_base_knows_neither_poses_nor_identities():
    text = "".join(path.read_text().lower() for path in modules("lrdnn_base"))
    assert not re.findall(r"\bpose|identit", text)


def test_lrdnn_tf_imports_few_names_from_the_pose_network():
    names = {name for path in modules("lrdnn_tf") for name in imported(path) if name.startswith("pose_pretrain.")}
    assert len(names) <= 15, sorted(names)


def test_only_command_line_tools_know_flags():
    for package in PACKAGES:
        for path in modules(package):
            if path.name != "command.py" and any(name.startswith("absl.flags") for name in imported(path)):
                assert "    command.run(main)\n" in path.read_text(), path


@pytest.mark.parametrize("package", PACKAGES)
def test_files_and_functions_are_short(package):
    long = []
    for path in modules(package):
        text = path.read_text()
        if text.count("\n") > 400:
            long.append(str(path))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 80:
                long.append(f"{path}: {node.name}")
    assert not long
