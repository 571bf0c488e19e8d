"""Table 3 of the paper, the ablation of attributes and pose.

python -m experiments.table3 --dataset={market1501,dukemtmc,rendered} --data_dir=DATASET --pose_data_dir=POSE_DATASET
"""

from experiments.tables import command
from experiments.tables.rows import B_A, B_A_C, B_A_H, LRDNN, B, Table

TABLE = Table(
    "table3",
    "Table 3: attributes and pose",
    (B, B_A, B_A_H, B_A_C, LRDNN),
    compared={"B+A": ("B",), "B+A+H": ("B+A",), "B+A+C": ("B+A",), "B+A+H+C": ("B", "B+A", "B+A+H", "B+A+C")},
    text="B: identities; A: attributes; H: part confidence maps; C: part affinity maps; all fusions with the channel "
    "parse block.",
    beside_paper=True,
)

if __name__ == "__main__":
    command.run(TABLE)
