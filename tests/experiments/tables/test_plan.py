import pathlib

import pytest

from experiments.studies.bilinear_dim import TABLE as DIMS
from experiments.studies.damaged_pose import TABLE as DAMAGED
from experiments.table3 import TABLE as TABLE3
from experiments.tables import plan
from experiments.tables.plan import Place
from experiments.tables.rows import DATASETS, DUKEMTMC, LRDNN, MARKET1501, RENDERED, WITHOUT_CPB, B, chosen
from lrdnn_base.errors import InputError

PLACE = Place(RENDERED, "data", pathlib.Path("out"), None, "poses")


def names(rows, seeds=(0,), place=PLACE) -> list[str]:
    return [step.name for step in plan.steps(rows, seeds, place)]


def test_a_row_brings_what_it_starts_from_and_measures_only_itself():
    assert names([LRDNN]) == ["seed0_b", "seed0_b_a", "pose", "seed0_lrdnn", "seed0_lrdnn_report"]


def test_rows_and_seeds_share_what_they_have_in_common():
    steps = names(TABLE3.rows, (0, 1))
    assert len(set(steps)) == len(steps)
    assert steps.count("pose") == 1
    assert sum(name.endswith("report") for name in steps) == 2 * len(TABLE3.rows)


def test_every_step_comes_after_what_it_needs():
    for table in (TABLE3, DIMS, DAMAGED):
        made = set()
        for step in plan.steps(table.rows, (0, 1), PLACE):
            assert made.issuperset(step.needs)
            made.add(step.done)


def test_the_commands_say_where_from_and_where_to():
    *_, train, evaluate = (" ".join(step.command) for step in plan.steps([WITHOUT_CPB], (2,), PLACE))
    assert train == (
        "lrdnn_tf.train --flagfile=experiments/paper/rendered/lrdnn_without_cpb.flags "
        "--run_dir=out/seed2/lrdnn_without_cpb --data_dir=data --seed=2 --start_from=out/seed2/b_a --pose_dir=out/pose"
    )
    assert evaluate == (
        "lrdnn_tf.evaluate --run_dir=out/seed2/lrdnn_without_cpb --data_dir=data --phases=fusion "
        "--report_dir=out/seed2/lrdnn_without_cpb/report"
    )


@pytest.mark.parametrize(("dataset", "dim"), [(RENDERED, 2048), (MARKET1501, 8192), (DUKEMTMC, 8192)])
def test_a_variant_that_changes_nothing_is_the_row_itself(dataset, dim):
    place = PLACE._replace(dataset=dataset)
    same = [row for row in DIMS.rows if plan.run_dir(row, 0, place) == plan.run_dir(LRDNN, 0, place)]
    assert [row.flags for row in same] == [f"--bilinear_dim={dim}"]
    assert len({plan.run_dir(row, 0, place) for row in DIMS.rows}) == len(DIMS.rows)


def test_a_damaged_pose_network_is_made_from_the_trained_one():
    steps = {step.name: step for step in plan.steps(DAMAGED.rows, (0,), PLACE)}
    assert steps["shuffled"].needs == (steps["pose"].done,)
    assert steps["shuffled"].done in steps["seed0_frozen_shuffled"].needs
    assert "--pose_dir=out/shuffled" in steps["seed0_frozen_shuffled"].command
    assert "--pose_dir=out/pose" in steps["seed0_frozen_pose"].command


def test_a_given_pose_network_is_not_trained():
    place = PLACE._replace(pose_dir=pathlib.Path("elsewhere/pose"), pose_data_dir=None)
    assert "pose" not in names([LRDNN], place=place)
    assert "--pose_dir=elsewhere/pose" in plan.steps([LRDNN], (0,), place)[-2].command


@pytest.mark.parametrize("dataset", DATASETS)
def test_steps_that_tables_share_have_the_same_settings_in_each(dataset, tables):
    settings = {}
    for table in tables:
        for step in plan.steps(table.rows, (0,), PLACE._replace(dataset=dataset)):
            assert settings.setdefault(step.done, step.settings) == step.settings, (table.name, step.name)
            assert len({setting.partition("=")[0] for setting in step.settings}) == len(step.settings)


def test_settings_tell_datasets_and_pose_networks_apart():
    def settings(**changes):
        return plan.steps([LRDNN], (0,), PLACE._replace(**changes))[-2].settings

    assert settings() == settings(data_dir="moved")
    assert settings() != settings(images="others")
    assert settings() != settings(pose_dir=pathlib.Path("elsewhere"))


def test_a_row_with_another_start_has_a_place_of_its_own():
    row = LRDNN._replace(name="from B", folder="lrdnn_from_b", start=B)
    assert plan.run_dir(row, 0, PLACE) == pathlib.Path("out/seed0/lrdnn_from_b")


def test_no_rows_at_all_are_refused():
    with pytest.raises(InputError, match="--rows is empty: there are B, "):
        chosen(TABLE3, [""])


def test_a_wrong_name_of_a_row_lists_the_right_ones():
    with pytest.raises(InputError, match=r"no row 'LRDN' in table3: there are B, B\+A, B\+A\+H, B\+A\+C, B\+A\+H\+C"):
        chosen(TABLE3, ["B", "LRDN"])
    assert [row.name for row in chosen(TABLE3, ["B+A", "B"])] == ["B", "B+A"]
    assert chosen(TABLE3, None) == list(TABLE3.rows)
