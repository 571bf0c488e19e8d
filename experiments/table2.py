"""Table 2 of the paper, LRDNN beside the methods of others.

python -m experiments.table2 --dataset={market1501,dukemtmc,rendered} --data_dir=DATASET --pose_data_dir=POSE_DATASET
"""

from experiments.tables import command
from experiments.tables.rows import DUKEMTMC, LRDNN, MARKET1501, Score, Table


def _other(market: tuple[float | None, float | None] | None, duke: tuple[float, float | None] | None = None):
    return {name: Score(*scores) for name, scores in ((MARKET1501, market), (DUKEMTMC, duke)) if scores}


TABLE = Table(
    "table2",
    "Table 2: LRDNN beside others",
    (LRDNN,),
    compared={},
    others={
        "PIE": _other((79.3, 56.0)),
        "AttIDNet": _other(None, (70.7, 51.9)),
        "ResNet+OIM": _other((82.1, None), (68.1, None)),
        "ACRN": _other((83.6, 62.6), (72.6, 52.0)),
        "SVD Net": _other((82.3, 62.1), (76.7, 56.8)),
        "Part Aligned": _other((81.1, 63.4)),
        "PSE": _other((87.7, 69.0), (79.8, 62.0)),
        "MGCAM": _other((83.8, 74.3)),
        "AACN": _other((85.9, 66.9), (76.8, 59.3)),
    },
    beside_paper=True,
)

if __name__ == "__main__":
    command.run(TABLE)
