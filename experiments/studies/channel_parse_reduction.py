"""How narrow the channel parse block may be: python -m experiments.studies.channel_parse_reduction --dataset=..."""

from experiments.tables import command
from experiments.tables.rows import LRDNN, WITHOUT_CPB, Table, variant

REDUCTIONS = (1, 2, 4, 8, 16)
VARIANTS = [variant(LRDNN, f"r = {r}", f"lrdnn_reduction_{r}", f"--channel_parse_reduction={r}") for r in REDUCTIONS]
TABLE = Table(
    "channel_parse_reduction",
    "The reduction r of the channel parse block",
    (WITHOUT_CPB, *VARIANTS),
    compared={row.name: (WITHOUT_CPB.name,) for row in VARIANTS},
    text="The bottleneck of the block has 57 / r units for 57 pose maps. The paper does not give r; SE-net uses 16.",
)

if __name__ == "__main__":
    command.run(TABLE)
