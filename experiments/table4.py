"""Table 4 of the paper, LRDNN with and without the channel parse block (CPB).

python -m experiments.table4 --dataset={market1501,dukemtmc,rendered} --data_dir=DATASET --pose_data_dir=POSE_DATASET
"""

from experiments.tables import command
from experiments.tables.rows import LRDNN, WITHOUT_CPB, Table

TABLE = Table(
    "table4",
    "Table 4: the channel parse block",
    (LRDNN, WITHOUT_CPB),
    compared={"B+A+H+C": ("B+A+H+C without CPB",)},
    beside_paper=True,
)

if __name__ == "__main__":
    command.run(TABLE)
