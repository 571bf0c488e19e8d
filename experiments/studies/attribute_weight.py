"""Whether the attribute losses are summed or averaged: python -m experiments.studies.attribute_weight --dataset=..."""

from experiments.tables import command
from experiments.tables.rows import B_A, LRDNN, B, Table, variant

SUM = "--attribute_weight=12"
B_A_SUM = variant(B_A, "B+A sum", "b_a_sum", SUM)
LRDNN_SUM = variant(LRDNN, "B+A+H+C sum", "lrdnn_sum", SUM)._replace(start=B_A_SUM)
TABLE = Table(
    "attribute_weight",
    "The mean of the attribute losses, or their sum",
    (B, B_A, B_A_SUM, LRDNN, LRDNN_SUM),
    compared={
        B_A.name: ("B",),
        B_A_SUM.name: ("B", B_A.name),
        LRDNN.name: (B_A.name,),
        LRDNN_SUM.name: (B_A_SUM.name, LRDNN.name),
    },
    text="Equation 8 gives one form for identity and attributes, and no weight. By default the identity loss and the "
    "mean of the attribute losses are added. `--attribute_weight=12` gives each of Market-1501's twelve tasks the "
    "weight of the identity loss.",
    about_attributes=True,
)

if __name__ == "__main__":
    command.run(TABLE)
