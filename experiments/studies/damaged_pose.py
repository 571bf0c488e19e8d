"""Whether channel parsing mitigates a bad pose branch: python -m experiments.studies.damaged_pose --dataset=..."""

from experiments.tables import command
from experiments.tables.rows import B_A, LRDNN, PRETRAINED, WITHOUT_CPB, Table, variant

STATES = {"pretrained": PRETRAINED, "last stage reinitialized": "last_stage", "weights shuffled": "shuffled"}
FROZEN = []
for state, pose in STATES.items():
    for base, end in ((LRDNN, ""), (WITHOUT_CPB, " without CPB")):
        folder = f"frozen_{pose}{end.lower().replace(' ', '_')}"
        FROZEN.append(variant(base, f"{state}{end}", folder, "--freeze_pose", pose=pose))
FINE_TUNED = (
    LRDNN._replace(name="pretrained and fine-tuned", paper={}),
    variant(LRDNN, "weights shuffled and fine-tuned", "lrdnn_shuffled", pose="shuffled"),
)
TABLE = Table(
    "damaged_pose",
    "A corrupted pose branch, with and without the channel parse block",
    (B_A, *FROZEN, *FINE_TUNED),
    compared={
        "pretrained": (B_A.name, "pretrained without CPB"),
        "last stage reinitialized": (B_A.name, "pretrained", "last stage reinitialized without CPB"),
        "weights shuffled": (B_A.name, "pretrained", "weights shuffled without CPB"),
        "weights shuffled and fine-tuned": (B_A.name, "pretrained and fine-tuned"),
    },
    text="`experiments/damage_pose.py` corrupts the weights, for each seed in another way. The pose "
    "branch is frozen (`--freeze_pose`), since the fusion phase would otherwise repair it; in the last two rows it is "
    "fine-tuned with the rest, as in LRDNN.",
)

if __name__ == "__main__":
    command.run(TABLE)
