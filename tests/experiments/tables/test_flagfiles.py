"""Every row of every table has a flag file for every dataset, and its binary understands it."""

import json
import subprocess
import sys

import pytest

from experiments.tables.flagfiles import flagfile, read_flagfile
from experiments.tables.rows import DATASETS, DUKEMTMC, MARKET1501, RENDERED
from lrdnn_base.errors import InputError

READ_ALL = """
import json, runpy, sys
from absl import app, flags
app.run = lambda *_, **__: None
runpy.run_module(sys.argv[1], run_name="__main__")
values = []
for arguments in json.loads(sys.argv[2]):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["test", *arguments])
    values.append({name: flags.FLAGS[name].value for name in ("epochs", "learning_rate", "decay")})
print(json.dumps(values))
"""


def parsed(module: str, arguments: list[list[str]]) -> list[dict]:
    """What a binary makes of each list of arguments."""
    command = [sys.executable, "-c", READ_ALL, module, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_training_understands_every_flag_file_and_every_variant(tables, flagfiles):
    required = ["--run_dir=run", "--data_dir=data"]
    cases = [(dataset, name, "") for dataset in DATASETS for name in flagfiles]
    cases += [(RENDERED, row.flagfile, row.flags) for table in tables for row in table.rows if row.flags]
    arguments = [[f"--flagfile={flagfile(dataset, name)}", *flags.split(), *required] for dataset, name, flags in cases]
    for (dataset, name, flags), values in zip(cases, parsed("lrdnn_tf.train", arguments), strict=True):
        controls = {"b_on": 160, "b_a_on": 160}
        epochs = {"b": 100, "b_a": 60, **controls}.get(name, 100)
        if dataset != RENDERED:  # section 4.3
            assert values == {"epochs": epochs, "learning_rate": 1e-4, "decay": 0.96}, (dataset, name)
        elif "learning_rate" not in flags:
            assert values["learning_rate"] == (1e-3 if name == "b" else 1e-4)


def test_pose_pretraining_understands_its_flag_files():
    arguments = [[f"--flagfile={flagfile(dataset, 'pose')}", "--run_dir=r", "--data_dir=d"] for dataset in DATASETS]
    assert [values["epochs"] for values in parsed("lrdnn_tf.pretrain_pose", arguments)] == [40, 40, 18]


def test_both_real_datasets_are_trained_alike(flagfiles):
    for name in flagfiles:
        assert read_flagfile(flagfile(MARKET1501, name)) == read_flagfile(flagfile(DUKEMTMC, name))


def test_of_a_flag_given_twice_the_last_counts(tmp_path):
    (tmp_path / "base.flags").write_text("--epochs=100\n--decay=0.9\n")
    (tmp_path / "own.flags").write_text(f"# shorter\n--flagfile={tmp_path}/base.flags\n--epochs=3\n")
    assert sorted(read_flagfile(tmp_path / "own.flags")) == ["--decay=0.9", "--epochs=3"]


def test_a_missing_flag_file_is_named_also_where_another_names_it(tmp_path):
    (tmp_path / "own.flags").write_text(f"--flagfile={tmp_path}/gone.flags")
    for name in ("own", "gone"):
        with pytest.raises(InputError, match=r"gone.flags.*flag files are found from the project's root"):
            read_flagfile(tmp_path / f"{name}.flags")


def test_names_are_unique_and_rows_are_compared_with_rows_that_are_there(tables):
    for table in tables:
        names = [row.name for row in table.rows]
        assert len(set(names)) == len(names)
        assert not any("," in name for name in names), "--rows could not name it"
        assert set(table.compared) <= set(names)
        assert {other for others in table.compared.values() for other in others} <= set(names)
    assert len({table.name for table in tables}) == len(tables)
