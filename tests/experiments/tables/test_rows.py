"""Every row of every table has flags that its command-line tool understands, for every dataset."""

import json
import shlex
import subprocess
import sys

import pytest

from experiments import table3
from experiments.tables import plan
from experiments.tables.plan import EXPERIMENTS, Options
from experiments.tables.rows import (
    CUHK03,
    DATASETS,
    DUKEMTMC,
    LRDNN,
    RENDERED,
    SIZES,
    chosen,
    effective,
    variant,
    without_attributes,
)
from lrdnn_base.errors import InputError
from lrdnn_base.options import options_of
from lrdnn_tf.config import ModelConfig, TrainingConfig
from lrdnn_tf.train import PhaseOptions

PARSE_ALL = """
import json, runpy, sys
from absl import app, flags
app.run = lambda *_, **__: None
runpy.run_module(sys.argv[1], run_name="__main__")
values = []
for arguments in json.load(sys.stdin):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["test", *arguments])
    values.append({name: flags.FLAGS[name].value for name in ("epochs", "learning_rate", "decay")})
print(json.dumps(values))
"""
# The phases in which a flag has an effect. Backbone and input size are decided by the first phase.
ONLY_IN = {
    **{field.name: field.metadata["only_in"] for config in (ModelConfig, TrainingConfig, PhaseOptions)
       for field in options_of(config)},
    **{name: ("identity",) for name in ("backbone", "last_stride", "height", "width")},
}  # fmt: skip


def options(dataset: str) -> Options:
    return Options(dataset=dataset, data_dir="data", pose_data_dir="poses")


def planned_steps(tables_of, dataset: str) -> list[plan.Step]:
    """The steps of all tables for one seed."""
    return [step for table in tables_of(dataset) for step in plan.steps(table.rows, (0,), options(dataset))]


def steps(tables_of, dataset: str, tool: str) -> dict[str, list[str]]:
    """The arguments of all steps of a command-line tool, by the name of the step."""
    planned = planned_steps(tables_of, dataset)
    return {step.name: list(step.command[1:]) for step in planned if step.command[0] == tool}


def parsed(module: str, arguments: list[list[str]]) -> list[dict]:
    """The values of some flags after a command-line tool parsed each list of arguments."""
    command = [sys.executable, "-c", PARSE_ALL, module]
    done = subprocess.run(command, input=json.dumps(arguments), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_training_understands_the_flags_of_every_row(tables_of):
    cases = [(dataset, *step) for dataset in DATASETS for step in steps(tables_of, dataset, "lrdnn_tf.train").items()]
    values = parsed("lrdnn_tf.train", [arguments for _, _, arguments in cases])
    for (dataset, name, _), value in zip(cases, values, strict=True):
        row = name.removeprefix("seed0_")
        if dataset == CUHK03:
            assert value["epochs"] == (20 if row == "b" else 4), name
        elif dataset != RENDERED:  # section 4.3
            epochs = {"b_a": 60, "b_a_sum": 60, "b_on": 160, "b_a_on": 160}.get(row, 100)
            assert value == {"epochs": epochs, "learning_rate": 1e-4, "decay": 0.96}, (dataset, name)
        else:
            epochs = {"b": 30, "b_a": 15, "b_a_sum": 15, "b_on": 27, "b_a_on": 27}.get(row, 12)
            assert value == {"epochs": epochs, "learning_rate": 1e-3 if row == "b" else 1e-4, "decay": 0.96}, name


def test_pose_pretraining_understands_its_flag_files(tables_of):
    arguments = [steps(tables_of, dataset, "lrdnn_tf.pretrain_pose")["pose"] for dataset in DATASETS]
    assert [values["epochs"] for values in parsed("lrdnn_tf.pretrain_pose", arguments)] == [40, 40, 8, 18]


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_row_has_a_flag_without_effect_in_its_phase(dataset, tables_of):
    for step in (step for step in planned_steps(tables_of, dataset) if step.command[0] == "lrdnn_tf.train"):
        given = [*step.settings, *step.command[1:]]
        names = {flag.removeprefix("--").partition("=")[0] for flag in given if flag.startswith("--")}
        (phase,) = (setting.removeprefix("--phase=") for setting in step.settings if setting.startswith("--phase="))
        assert phase == step.done.parent.name
        assert not [name for name in names if ONLY_IN.get(name) and phase not in ONLY_IN[name]], step.name


def test_every_flag_file_is_used_and_says_what_to_expect(tables_of):
    used = {
        argument.removeprefix("--flagfile=")
        for dataset in {size: dataset for dataset, size in SIZES.items()}.values()
        for tool in ("lrdnn_tf.train", "lrdnn_tf.pretrain_pose")
        for arguments in steps(tables_of, dataset, tool).values()
        for argument in arguments
        if argument.startswith("--flagfile=")
    }
    files = list((EXPERIMENTS / "paper").rglob("*.flags"))
    assert {str(EXPERIMENTS.parent / name) for name in used} == set(map(str, files))
    for file in files:
        lines = file.read_text().splitlines()
        head = [line for line in lines if line.startswith("# ")]
        assert any("Expected result" in line for line in head), file
        assert any("Duration and machine: " in line for line in head), file
        assert all(line.startswith("--") for line in lines[len(head) :]), file


def test_flag_files_are_found_from_any_folder(tmp_path, monkeypatch):
    (command,) = (step.command for step in plan.steps([LRDNN], (0,), options(DUKEMTMC))[-2:-1])
    assert command[1] == "--flagfile=experiments/paper/full/fusion.flags"
    monkeypatch.chdir(tmp_path)
    (there,) = (step.command for step in plan.steps([LRDNN], (0,), options(DUKEMTMC))[-2:-1])
    file = tmp_path / there[1].removeprefix("--flagfile=")
    assert file.resolve() == EXPERIMENTS / "paper/full/fusion.flags"


def test_the_last_of_two_equal_flags_counts():
    assert effective(["--epochs=100", "--decay=0.9", "--epochs=3"]) == ["--decay=0.9", "--epochs=3"]
    row = variant(LRDNN, "no block", "no_block", "--channel_parse=false")
    assert row.flags == ("--channel_parse=false", "--pose_maps=both")


def test_names_are_unique_and_rows_are_compared_with_rows_that_exist(tables):
    for table in tables:
        names = [row.name for row in table.rows]
        assert len(set(names)) == len(names)
        assert not any("," in name for name in names), "--rows could not name it"
        assert set(table.compared) <= set(names)
        assert {other for others in table.compared.values() for other in others} <= set(names)
        assert shlex.split(table.name) == [table.name]
    assert len({table.name for table in tables}) == len(tables)


def test_without_attributes_every_table_keeps_its_rows_but_those_that_only_add_attributes(tables):
    for table in tables:
        if table.about_attributes:
            with pytest.raises(InputError, match="compares attribute losses, and the dataset has no attributes"):
                without_attributes(table)
            continue
        changed = without_attributes(table)
        names = [row.name for row in changed.rows]
        assert len(set(names)) == len(names)
        assert not [name for name in names if "+A" in name] and not [row for row in changed.rows if "b_a" in row.folder]
        assert {row.phase for row in changed.rows} <= {"identity", "fusion"}
        assert set(changed.compared) <= set(names)
        assert {other for others in changed.compared.values() for other in others} <= set(names)
        assert all(name not in others for name, others in changed.compared.items())
        kept = [row.name.replace("+A", "") for row in table.rows if row.phase != "attributes"]
        assert set(kept) <= set(names)
        for row in changed.rows:
            assert row.start is None or row.start.phase == "identity"
            assert (row.phase == "fusion") == ("--attributes=false" in row.flags)


def test_table_3_without_attributes():
    table = without_attributes(table3.TABLE)
    assert [row.name for row in table.rows] == ["B", "B+H", "B+C", "B+H+C"]
    assert table.compared == {"B+H": ("B",), "B+C": ("B",), "B+H+C": ("B", "B+H", "B+C")}
    names = [step.name for step in plan.steps(table.rows, (0,), options(CUHK03))]
    assert [name for name in names if not name.endswith("report")] == [
        "seed0_b", "pose", "seed0_b_h", "seed0_b_c", "seed0_lrdnn",
    ]  # fmt: skip


def test_rows_are_chosen_by_name_in_the_tables_order(tables):
    table3 = next(table for table in tables if table.name == "table3")
    assert [row.name for row in chosen(table3, "B+A,B")] == ["B", "B+A"]
    assert chosen(table3, None) == list(table3.rows)
    with pytest.raises(InputError, match="--rows is empty: there are B, "):
        chosen(table3, "")
    with pytest.raises(InputError, match=r"no row 'LRDN' in table3: there are B, B\+A, B\+A\+H, B\+A\+C, B\+A\+H\+C"):
        chosen(table3, "B,LRDN")
