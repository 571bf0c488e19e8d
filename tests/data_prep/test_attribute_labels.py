"""The published label files with all their irregularities, and files that are not label files."""

import numpy as np
import pytest
import scipy.io

from data_prep import dukemtmc, market1501
from lrdnn_base.errors import InputError

SOURCES = {"market1501": market1501.MARKET1501, "dukemtmc": dukemtmc.DUKEMTMC}
FIELDS = {"market1501": market1501.LABEL_FIELDS, "dukemtmc": dukemtmc.LABEL_FIELDS}


@pytest.fixture(scope="module")
def published(shared_data):
    """published(dataset, split): the labels as a table, int [identities, tasks], and the raw struct."""

    def read(dataset, split):
        path = shared_data / "attributes" / SOURCES[dataset].label_file
        labels = SOURCES[dataset].read_labels(path)[split]
        raw = scipy.io.loadmat(path, simplify_cells=True)[path.stem][split]
        return labels, raw

    return read


@pytest.mark.parametrize("dataset", SOURCES)
def test_every_task_has_its_fields(dataset):
    tasks, fields = SOURCES[dataset].tasks, FIELDS[dataset]
    assert [task.name for task in tasks] == list(fields)
    for task in tasks:
        if not isinstance(fields[task.name], str):
            assert [field.removeprefix("up").removeprefix("down") for field in fields[task.name]] == list(task.classes)


@pytest.mark.parametrize(
    "dataset, split, identities, unknown",
    [
        ("market1501", "train", 751, {"upper_colour": 78, "lower_colour": 30}),
        ("market1501", "test", 750, {"upper_colour": 69, "lower_colour": 44}),
        ("dukemtmc", "train", 702, {"upper_length": 2, "upper_colour": 1}),
        # 11 without a lower colour, 22 with two, 1 with three
        ("dukemtmc", "test", 1110, {"upper_colour": 14, "lower_colour": 34}),
    ],
)
def test_published_counts(published, dataset, split, identities, unknown):
    labels, _ = published(dataset, split)
    assert len(labels) == identities
    table = np.array(list(labels.values()))
    found = {
        task.name: int(count) for task, count in zip(SOURCES[dataset].tasks, (table == -1).sum(axis=0), strict=True)
    }
    assert {name: count for name, count in found.items() if count} == unknown
    for task, column in zip(SOURCES[dataset].tasks, table.T, strict=True):
        assert column.max() < len(task.classes)


@pytest.mark.parametrize(
    "split, yeses", [("train", {"up": {0: 1}, "down": {}}), ("test", {"up": {0: 14}, "down": {0: 11, 2: 22, 3: 1}})]
)
def test_duke_colours_are_not_one_hot(published, split, yeses):
    """The counts behind the unknown colours, from the raw fields."""
    _, raw = published("dukemtmc", split)
    for prefix, task in (("up", "upper_colour"), ("down", "lower_colour")):
        counts = np.sum([raw[field] == 2 for field in FIELDS["dukemtmc"][task]], axis=0)
        values, times = np.unique(counts[counts != 1], return_counts=True)
        assert dict(zip(values.tolist(), times.tolist(), strict=True)) == yeses[prefix]


@pytest.mark.parametrize("dataset", SOURCES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_classes_are_the_values_minus_one(published, dataset, split):
    """Reference: each field read separately, identity by identity."""
    labels, raw = published(dataset, split)
    for row, name in enumerate(raw["image_index"]):
        for label, field in zip(labels[int(name)], FIELDS[dataset].values(), strict=True):
            if isinstance(field, str):
                assert label == int(raw[field][row]) - 1
            else:
                yes = [index for index, colour in enumerate(field) if raw[colour][row] == 2]
                assert label == (yes[0] if len(yes) == 1 else -1)


def test_order_of_fields_differs_between_splits(published):
    """This is why fields are read by name."""
    assert list(published("market1501", "train")[1]) != list(published("market1501", "test")[1])


def test_reads_what_was_written(tmp_path, write_market_mat):
    path = tmp_path / "market_attribute.mat"
    rows = {
        2: {"age": 3, "gender": 2, "upred": 2, "downblue": 2},
        7: {"upred": 2, "upblue": 2, "downbrown": 2},
    }
    write_market_mat(path, {"train": rows, "test": {1: {"hat": 2}}})
    labels = market1501.MARKET1501.read_labels(path)
    by_name = {
        identity: dict(zip([task.name for task in market1501.TASKS], row, strict=True))
        for identity, row in (labels["train"] | labels["test"]).items()
    }
    assert by_name[2] == dict.fromkeys(by_name[2], 0) | {"age": 2, "gender": 1, "upper_colour": 2, "lower_colour": 6}
    assert by_name[7]["upper_colour"] == -1 and by_name[7]["lower_colour"] == 8
    assert by_name[1]["hat"] == 1 and by_name[1]["upper_colour"] == -1


def _not_a_mat(path, write):
    path.write_bytes(b"not a MATLAB file, but long enough to be parsed" * 10)


def _truncated(path, write):
    write(path, {"train": {1: {}}, "test": {2: {}}})
    path.write_bytes(path.read_bytes()[:300])


def _other_struct(path, write):
    scipy.io.savemat(path, {"duke_attribute": {"train": {}, "test": {}}})


def _no_test(path, write):
    write(path, {"train": {1: {}}})


def _no_field(path, write):
    write(path, {"train": {1: {}}, "test": {2: {}}}, without="downpink")


def _value_out_of_range(path, write):
    write(path, {"train": {1: {"age": 5}}, "test": {2: {}}})


@pytest.mark.parametrize(
    "make, words",
    [
        (_not_a_mat, ["not a MATLAB"]),
        (_truncated, ["cannot be read"]),
        (_other_struct, ["market_attribute", "duke_attribute"]),
        (_no_test, ["'test'"]),
        (_no_field, ["'downpink'"]),
        (_value_out_of_range, ["train.age"]),
        (lambda path, write: None, ["no such file"]),
    ],
)
def test_message_names_the_bad_file(tmp_path, write_market_mat, make, words):
    path = tmp_path / "labels.mat"
    make(path, write_market_mat)
    with pytest.raises(InputError) as error:
        market1501.MARKET1501.read_labels(path)
    for word in [str(path), *words]:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
