"""Whether channel parsing softens a bad pose network: python -m experiments.studies.damaged_pose --dataset=...

The pose branch stays as it is damaged (--freeze_pose): otherwise the fusion phase would mend it. How far it would is in
the last rows, where it is trained with the rest.
"""

from experiments.tables import command
from experiments.tables.rows import B_A, LRDNN, Table, variant

STATES = {"sound": "pose", "last stage unlearned": "last_stage", "weights shuffled": "shuffled"}


def _name(state: str, parsed: bool) -> str:
    return state if parsed else f"{state} without CPB"


FROZEN = tuple(
    variant(
        LRDNN,
        _name(state, parsed),
        f"frozen_{pose}{'' if parsed else '_without_cpb'}",
        f"--freeze_pose --channel_parse={str(parsed).lower()}",
        pose,
    )
    for state, pose in STATES.items()
    for parsed in (True, False)
)
TRAINED = (
    LRDNN._replace(name="sound and trained", paper={}),
    variant(LRDNN, "weights shuffled and trained", "lrdnn_shuffled", "", "shuffled"),
)
TABLE = Table(
    "damaged_pose",
    "A damaged pose branch, with and without the channel parse block",
    (B_A, *FROZEN, *TRAINED),
    compared={
        "sound": (B_A.name, "sound without CPB"),
        "last stage unlearned": (B_A.name, "sound", "last stage unlearned without CPB"),
        "weights shuffled": (B_A.name, "sound", "weights shuffled without CPB"),
        "weights shuffled and trained": (B_A.name, "sound and trained"),
    },
    text="What the damages are: `experiments/damage_pose.py`. Fusions keep the pose branch as it is (`--freeze_pose`), "
    "or else they would mend it; but in the last two rows it is trained with the rest, as in LRDNN.",
)

if __name__ == "__main__":
    command.run(TABLE)
