import dataclasses
import pathlib

import pytest

from experiments.studies.attribute_weight import TABLE as ATTRIBUTE_WEIGHT
from experiments.studies.bilinear_dim import TABLE as DIMS
from experiments.studies.channel_parse_reduction import TABLE as REDUCTIONS
from experiments.studies.damaged_pose import TABLE as DAMAGED
from experiments.studies.positions import TABLE as POSITIONS
from experiments.studies.real_people import TABLE as REAL_PEOPLE
from experiments.table3 import TABLE as TABLE3
from experiments.tables import plan
from experiments.tables.plan import Options
from experiments.tables.rows import DATASETS, DUKEMTMC, LRDNN, MARKET1501, OTHER, RENDERED, WITHOUT_CPB, B

OPTIONS = Options(dataset=RENDERED, data_dir="data", out_dir="out", pose_data_dir="poses")


def changed(**changes) -> Options:
    return dataclasses.replace(OPTIONS, **changes)


def names(rows, seeds=(0,), options=OPTIONS) -> list[str]:
    return [step.name for step in plan.steps(rows, seeds, options)]


def test_a_row_brings_its_earlier_phases_and_evaluates_only_itself():
    assert names([LRDNN]) == ["seed0_b", "seed0_b_a", "pose", "seed0_lrdnn", "seed0_lrdnn_report"]


def test_rows_and_seeds_share_the_steps_that_they_have_in_common():
    steps = names(TABLE3.rows, (0, 1))
    assert len(set(steps)) == len(steps)
    assert steps.count("pose") == 1
    assert sum(name.endswith("report") for name in steps) == 2 * len(TABLE3.rows)


def test_every_step_comes_after_what_it_needs():
    for table in (TABLE3, DIMS, DAMAGED):
        made = set()
        for step in plan.steps(table.rows, (0, 1), OPTIONS):
            assert made.issuperset(step.needs)
            made.add(step.done)


def test_the_commands_name_their_inputs_and_outputs():
    *_, train, evaluate = (" ".join(step.command) for step in plan.steps([WITHOUT_CPB], (2,), OPTIONS))
    assert train == (
        "lrdnn_tf.train --flagfile=experiments/paper/small/fusion.flags --channel_parse=false --pose_maps=both "
        "--run_dir=out/seed2/lrdnn_without_cpb --data_dir=data --seed=2 --start_from=out/seed2/b_a --pose_dir=out/pose"
    )
    assert evaluate == (
        "lrdnn_tf.evaluate --run_dir=out/seed2/lrdnn_without_cpb --data_dir=data --phases=fusion "
        "--report_dir=out/seed2/lrdnn_without_cpb/report"
    )


@pytest.mark.parametrize(("dataset", "dim"), [(RENDERED, 2048), (MARKET1501, 8192), (DUKEMTMC, 8192)])
def test_a_variant_that_changes_nothing_shares_the_run_of_its_base(dataset, dim):
    options = changed(dataset=dataset)
    for table, flag in ((DIMS, f"--bilinear_dim={dim}"), (REDUCTIONS, "--channel_parse_reduction=4")):
        same = [row for row in table.rows if plan.run_dir(row, 0, options) == plan.run_dir(LRDNN, 0, options)]
        assert [set(row.flags) - set(LRDNN.flags) for row in same] == [{flag}]
        assert len({plan.run_dir(row, 0, options) for row in table.rows}) == len(table.rows)


def test_each_seed_corrupts_the_trained_pose_network_in_another_way():
    steps = {step.name: step for step in plan.steps(DAMAGED.rows, (0, 1), OPTIONS)}
    assert steps["seed1_shuffled"].needs == (steps["pose"].done,)
    assert {"--seed=1", "--damage=shuffled"} <= set(steps["seed1_shuffled"].command)
    assert steps["seed1_shuffled"].done in steps["seed1_frozen_shuffled"].needs
    assert "--pose_dir=out/seed1/shuffled" in steps["seed1_frozen_shuffled"].command
    assert "--pose_dir=out/seed0/shuffled" in steps["seed0_lrdnn_shuffled"].command
    assert "--pose_dir=out/pose" in steps["seed0_frozen_pose"].command


def test_the_row_with_another_pose_network_shares_nothing_but_its_start():
    (drawn,) = (row for row in REAL_PEOPLE.rows if row.pose == OTHER)
    options = changed(other_pose_dir="drawn/pose")
    assert names([drawn], options=options) == ["seed0_b", "seed0_b_a", "seed0_lrdnn_drawn", "seed0_lrdnn_drawn_report"]
    training = plan.steps([drawn], (0,), options)[-2]
    assert "--pose_dir=drawn/pose" in training.command and "pose network drawn/pose" in training.settings


def test_a_file_of_imagenet_weights_is_given_to_the_first_phase_alone():
    given = {step.name: step for step in plan.steps([LRDNN], (0,), changed(imagenet_weights="net.h5"))}
    flag = "--imagenet_weights=net.h5"
    assert [name for name, step in given.items() if flag in step.command] == ["seed0_b"]
    assert [setting for setting in given["seed0_b"].settings if "imagenet" in setting] == [flag]
    assert given["seed0_b"].settings[-1].startswith("training images")


def test_a_row_without_a_pose_branch_needs_no_pose_network():
    (row,) = (row for row in POSITIONS.rows if row.pose is None)
    assert names([row]) == ["seed0_b", "seed0_b_a", "seed0_positions", "seed0_positions_report"]
    assert not any(flag.startswith("--pose_dir") for flag in plan.steps([row], (0,), OPTIONS)[-2].command)


def test_a_row_may_start_from_a_row_with_other_flags():
    assert names([ATTRIBUTE_WEIGHT.rows[-1]])[:2] == ["seed0_b", "seed0_b_a_sum"]


def test_a_given_pose_network_is_not_trained():
    options = changed(pose_dir="elsewhere/pose", pose_data_dir=None)
    assert "pose" not in names([LRDNN], options=options)
    assert "--pose_dir=elsewhere/pose" in plan.steps([LRDNN], (0,), options)[-2].command


@pytest.mark.parametrize("dataset", DATASETS)
def test_steps_that_tables_share_have_the_same_settings_in_each(dataset, tables_of):
    settings = {}
    for table in tables_of(dataset):
        for step in plan.steps(table.rows, (0,), changed(dataset=dataset)):
            assert settings.setdefault(step.done, step.settings) == step.settings, (table.name, step.name)
            assert len({setting.partition("=")[0] for setting in step.settings}) == len(step.settings)


def test_settings_distinguish_datasets_and_pose_networks():
    def settings(**changes):
        return plan.steps([LRDNN], (0,), changed(**changes))[-2].settings

    assert settings() == settings(data_dir="moved")
    assert settings() != settings(images="others")
    assert settings() != settings(pose_dir="elsewhere")


def test_no_two_steps_write_to_one_folder(tables):
    steps = {step.done: step for table in tables for step in plan.steps(table.rows, (0, 1), OPTIONS)}
    assert len({step.done.parent for step in steps.values()}) == len(steps)
    assert len({step.log for step in steps.values()}) == len(steps)


def test_a_row_with_another_start_has_a_run_of_its_own():
    row = LRDNN._replace(name="from B", folder="lrdnn_from_b", start=B)
    assert plan.run_dir(row, 0, OPTIONS) == pathlib.Path("out/seed0/lrdnn_from_b")
