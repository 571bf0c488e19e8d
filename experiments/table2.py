"""Table 2 of the paper, LRDNN beside other methods.

python -m experiments.table2 --dataset={market1501,dukemtmc,rendered} --data_dir=DATASET --pose_data_dir=POSE_DATASET
"""

from experiments.tables import command
from experiments.tables.rows import LRDNN, Table

OTHERS = """
| method | Market-1501 | DukeMTMC-reID |
| --- | --- | --- |
| PIE | 79.3 / 56.0 | - |
| AttIDNet | - | 70.7 / 51.9 |
| ResNet+OIM | 82.1 / - | 68.1 / - |
| ACRN | 83.6 / 62.6 | 72.6 / 52.0 |
| SVD Net | 82.3 / 62.1 | 76.7 / 56.8 |
| Part Aligned | 81.1 / 63.4 | - |
| PSE | 87.7 / 69.0 | 79.8 / 62.0 |
| MGCAM | 83.8 / 74.3 | - |
| AACN | 85.9 / 66.9 | 76.8 / 59.3 |
"""
TABLE = Table("table2", "Table 2: LRDNN beside others", (LRDNN,), compared={}, others=OTHERS.strip(), beside_paper=True)

if __name__ == "__main__":
    command.run(TABLE)
