"""How narrow the channel parse block may be: python -m experiments.studies.channel_parse_reduction --dataset=..."""

from experiments.tables import command
from experiments.tables.rows import LRDNN, WITHOUT_CPB, Table, variant

REDUCTIONS = (1, 2, 4, 8, 16)
TABLE = Table(
    "channel_parse_reduction",
    "The reduction r of the channel parse block",
    (
        WITHOUT_CPB,
        *(variant(LRDNN, f"r = {r}", f"lrdnn_reduction_{r}", f"--channel_parse_reduction={r}") for r in REDUCTIONS),
    ),
    compared={f"r = {r}": (WITHOUT_CPB.name,) for r in REDUCTIONS},
    text="Of 57 pose maps, 57 / r units are left in the middle of the block. The paper gives no r; SE-net's is 16.",
)

if __name__ == "__main__":
    command.run(TABLE)
