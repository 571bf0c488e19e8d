"""Whether later rows gain by training longer: python -m experiments.studies.longer_training --dataset=..."""

from experiments.tables import command
from experiments.tables.rows import B_A, LRDNN, B, Row, Table

B_ON = Row("B trained on", "b_on", "attributes", B, ("--attribute_weight=0",), "trained_on")
B_A_ON = Row("B+A trained on", "b_a_on", "attributes", B, ("--attribute_weight=1",), "trained_on")
TABLE = Table(
    "longer_training",
    "Rows that train as long as LRDNN",
    (B, B_ON, B_A, B_A_ON, LRDNN),
    compared={
        B_ON.name: ("B",),
        "B+A": ("B",),
        B_A_ON.name: ("B+A", B_ON.name),
        "B+A+H+C": ("B+A", B_ON.name, B_A_ON.name),
    },
    text='Rows "trained on" start from B and train for the epochs of the attributes and the fusion phase together: '
    "their learning rate is not reset, as that of LRDNN is at the start of the fusion phase.",
)

if __name__ == "__main__":
    command.run(TABLE)
