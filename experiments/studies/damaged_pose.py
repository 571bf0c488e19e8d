"""Whether channel parsing softens a bad pose network: python -m experiments.studies.damaged_pose --dataset=...

The pose branch stays as it is damaged (--freeze_pose): otherwise the fusion phase would mend it.
"""

from experiments.tables import binary
from experiments.tables.rows import B_A, LRDNN, Table, variant

STATES = {"sound": "pose", "last stage unlearned": "last_stage", "weights shuffled": "shuffled"}


def _name(state: str, parsed: bool) -> str:
    return state if parsed else f"{state} without CPB"


TABLE = Table(
    "damaged_pose",
    "A damaged pose branch, with and without the channel parse block",
    (
        B_A,
        *(
            variant(
                LRDNN,
                _name(state, parsed),
                f"frozen_{pose}{'' if parsed else '_without_cpb'}",
                f"--freeze_pose --channel_parse={str(parsed).lower()}",
                pose,
            )
            for state, pose in STATES.items()
            for parsed in (True, False)
        ),
    ),
    compared={_name(state, True): (_name(state, False),) for state in STATES}
    | {_name(state, False): (B_A.name,) for state in STATES},
    text="All fusions keep the pose branch as it is (`--freeze_pose`): otherwise they would mend it. What the damages "
    "are: `experiments/damage_pose.py`.",
)

if __name__ == "__main__":
    binary.run(TABLE)
