"""What pose adds on real people, beside its controls: python -m experiments.studies.real_people --dataset=..."""

from experiments.studies.damaged_pose import FINE_TUNED
from experiments.studies.longer_training import B_ON
from experiments.studies.positions import POSITIONS
from experiments.tables import command
from experiments.tables.rows import B_A, B_A_C, B_A_H, LRDNN, OTHER, WITHOUT_CPB, B, Table, variant

SHUFFLED = FINE_TUNED[1]
DRAWN = variant(LRDNN, "pose network of drawn people", "lrdnn_drawn", pose=OTHER)
CONTROLS = (POSITIONS, SHUFFLED, DRAWN)
TABLE = Table(
    "real_people",
    "Pose and its controls",
    (B, B_ON, B_A, B_A_H, B_A_C, LRDNN, WITHOUT_CPB, *CONTROLS),
    compared={
        B_ON.name: (B.name,),
        B_A.name: (B.name,),
        **{row.name: (B_A.name, B_ON.name, POSITIONS.name) for row in (B_A_H, B_A_C)},
        LRDNN.name: (B_A.name, B_ON.name, WITHOUT_CPB.name, *(row.name for row in CONTROLS)),
        WITHOUT_CPB.name: (POSITIONS.name,),
        POSITIONS.name: (B_ON.name,),
    },
    text="H and C are the maps of a pose network that was pretrained on the keypoints of `--pose_data_dir` and is "
    "trained with the rest. The controls: one fixed map for each position of F, which hold nothing about pose; a pose "
    "branch whose weights are shuffled before the fusion; and the pose network of `--other_pose_dir`, which was "
    "pretrained on drawn people.",
)

if __name__ == "__main__":
    command.run(TABLE)
