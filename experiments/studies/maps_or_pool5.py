"""Whether maps or pooled vectors should be fused: python -m experiments.studies.maps_or_pool5 --dataset=..."""

from experiments.tables import command
from experiments.tables.rows import B_A, LRDNN, Table, variant

MAPS = variant(LRDNN, "maps", "lrdnn_maps", "--fuse=maps")
POOL5 = variant(LRDNN, "pool5", "lrdnn_pool5", "--fuse=pool5")
TABLE = Table(
    "maps_or_pool5",
    "Fusing maps or pooled vectors",
    (B_A, POOL5, MAPS),
    compared={POOL5.name: (B_A.name,), MAPS.name: (B_A.name, POOL5.name)},
    text='"maps" fuses F and the pose maps position by position, "pool5" fuses their averages over all positions. The '
    'paper speaks of "the feature maps of the main branch" (section 3.3), and of a BatchNorm "after the pool5 layer" '
    "(section 4.3).",
)

if __name__ == "__main__":
    command.run(TABLE)
