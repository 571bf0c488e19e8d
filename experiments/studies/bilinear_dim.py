"""How long the compact bilinear descriptor must be: python -m experiments.studies.bilinear_dim --dataset=..."""

from experiments.tables import command
from experiments.tables.rows import LRDNN, Table, variant

DIMS = (512, 1024, 2048, 4096, 8192, 16384)
TABLE = Table(
    "bilinear_dim",
    "The dimension D of compact bilinear pooling",
    tuple(variant(LRDNN, f"D = {dim}", f"lrdnn_dim_{dim}", f"--bilinear_dim={dim}") for dim in DIMS),
    compared={f"D = {dim}": ("D = 512",) for dim in DIMS[1:]},
    text="The paper does not give D; 8192 is the value of Gao et al. (2016).",
)

if __name__ == "__main__":
    command.run(TABLE)
