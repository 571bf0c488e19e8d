"""What the channel parse block should look at: python -m experiments.studies.channel_parse_squeeze --dataset=..."""

from experiments.tables import command
from experiments.tables.rows import LRDNN, WITHOUT_CPB, Row, Table, variant

_SQUEEZES = ("mean", "max", "rms")


def _form(name: str, squeeze: str, normalize: bool = True, order: str = "after") -> Row:
    flags = (f"--channel_parse_squeeze={squeeze}", f"--channel_parse_normalize={str(normalize).lower()}")
    folder = f"lrdnn_squeeze_{name.replace(' ', '_')}"
    return variant(LRDNN, name, folder, *flags, f"--channel_parse_order={order}")


VARIANTS = (
    _form("mean raw after", "mean", normalize=False),
    *(_form(f"{squeeze} {order}", squeeze, order=order) for order in ("after", "before") for squeeze in _SQUEEZES),
)
TABLE = Table(
    "channel_parse_squeeze",
    "What the channel parse block squeezes",
    (WITHOUT_CPB, *VARIANTS),
    compared={row.name: (WITHOUT_CPB.name,) for row in VARIANTS},
    text="The block computes the weights of the pose maps from one number for each map: its mean, its maximum or its "
    "root mean square, brought to one scale by a BatchNorm, unless the row says raw. It comes after the BatchNorm that "
    "aligns the maps, or before it. The paper gives none of this.",
)

if __name__ == "__main__":
    command.run(TABLE)
