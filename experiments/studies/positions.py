"""How much of the fusion's gain needs no pose at all: python -m experiments.studies.positions --dataset=..."""

from experiments.studies.damaged_pose import FROZEN
from experiments.tables import command
from experiments.tables.rows import B_A, WITHOUT_CPB, Table, variant

POSITIONS = variant(WITHOUT_CPB, "fixed maps", "positions", "--pose_maps=positions", pose=None)
SHUFFLED = next(row for row in FROZEN if row.name == "weights shuffled without CPB")
TABLE = Table(
    "positions",
    "Fixed maps in place of pose maps",
    (B_A, POSITIONS, SHUFFLED, WITHOUT_CPB),
    compared={
        POSITIONS.name: (B_A.name,),
        SHUFFLED.name: (POSITIONS.name,),
        WITHOUT_CPB.name: (POSITIONS.name, SHUFFLED.name),
    },
    text="The fixed maps are one for each position of F: 1 there and 0 elsewhere, the same in every image, so that the "
    "fused descriptor holds F position by position, and nothing about pose. The next row fuses the maps of a frozen "
    "pose branch whose weights are shuffled, the last one those of a pretrained pose branch that is fine-tuned with "
    "the rest. No row has the channel parse block.",
)

if __name__ == "__main__":
    command.run(TABLE)
