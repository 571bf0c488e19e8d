from collections.abc import Callable

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
    real_people,
)
from experiments.tables.rows import CUHK03, Table, without_attributes

MODULES = (
    table2, table3, table4, attribute_weight, bilinear_dim, channel_parse_reduction, channel_parse_squeeze,
    damaged_pose, longer_training, maps_or_pool5, positions, real_people,
)  # fmt: skip


@pytest.fixture(scope="session")
def tables() -> list[Table]:
    """All tables and studies."""
    return [module.TABLE for module in MODULES]


@pytest.fixture(scope="session")
def tables_of(tables) -> Callable[[str], list[Table]]:
    """tables_of(dataset): the tables as their commands make them on a dataset."""

    def make(dataset: str) -> list[Table]:
        if dataset != CUHK03:
            return tables
        return [without_attributes(table) for table in tables if not table.about_attributes]

    return make
