import pytest

from experiments import table2, table3, table4
from experiments.studies import (
    attribute_weight,
    bilinear_dim,
    channel_parse_reduction,
    channel_parse_squeeze,
    damaged_pose,
    longer_training,
    maps_or_pool5,
    positions,
)
from experiments.tables.rows import Table

MODULES = (
    table2, table3, table4, attribute_weight, bilinear_dim, channel_parse_reduction, channel_parse_squeeze,
    damaged_pose, longer_training, maps_or_pool5, positions,
)  # fmt: skip


@pytest.fixture(scope="session")
def tables() -> list[Table]:
    """All tables and studies."""
    return [module.TABLE for module in MODULES]
