"""Whether later rows win by training longer: python -m experiments.studies.longer_training --dataset=...

Each phase adds its epochs to those before it. The controls train on for as long, without what the later row adds.
Their rate falls over one long phase; LRDNN's begins anew with the fusion phase.
"""

from experiments.tables import command
from experiments.tables.rows import B_A, LRDNN, B, Table

B_ON = B_A._replace(name="B trained on", folder="b_on", flagfile="b_on", paper={})
B_A_ON = B_A._replace(name="B+A trained on", folder="b_a_on", flagfile="b_a_on", paper={})
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
    text='Rows "trained on" start from B and train for the epochs of the attributes and the fusion phase in one: their '
    "rate does not begin anew, as that of LRDNN does with the fusion phase.",
)

if __name__ == "__main__":
    command.run(TABLE)
