"""What is fused, maps or their averages: python -m experiments.studies.maps_or_pool5 --dataset=..."""

from experiments.tables import command
from experiments.tables.rows import B_A, LRDNN, Table, variant

MAPS, POOL5 = "maps", "pool5"
TABLE = Table(
    "maps_or_pool5",
    "Fusing maps or pooled vectors",
    (
        B_A,
        variant(LRDNN, POOL5, "lrdnn_pool5", "--fuse=pool5"),
        variant(LRDNN, MAPS, "lrdnn_maps", "--fuse=maps"),
    ),
    compared={POOL5: (B_A.name,), MAPS: (B_A.name, POOL5)},
    text='"maps" fuses F and the pose maps position by position, "pool5" their averages over all positions. The paper '
    'speaks of "the feature maps of the main branch" (section 3.3), and of a BatchNorm "after the pool5 layer" '
    "(section 4.3).",
)

if __name__ == "__main__":
    command.run(TABLE)
