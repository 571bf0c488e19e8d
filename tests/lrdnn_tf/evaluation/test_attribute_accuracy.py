import numpy as np
import pandas as pd
import pytest

from lrdnn_base.errors import InputError
from lrdnn_tf.attributes import AttributeTask
from lrdnn_tf.evaluation.attributes import attribute_table, mean_score

HAT = AttributeTask("hat", ("no", "yes"))
AGE = AttributeTask("age", ("young", "teenager", "adult", "old"))


def test_scores_equal_those_by_hand():
    # The last two images do not count for the hat: one is unknown, one a distractor.
    labels = pd.DataFrame({"identity": [1, 1, 2, 3, 4, 0], "hat": [0, 0, 0, 1, -1, 1], "age": [0, 0, 1, 1, 3, 2]})
    predictions = {"hat": np.array([0, 0, 1, 1, 0, 0]), "age": np.array([0, 0, 1, 0, 3, 0])}
    table = attribute_table([HAT, AGE], labels, predictions).set_index("task")
    assert table.images.tolist() == [4, 5]
    assert table.classes.tolist() == [2, 4]
    assert table.accuracy.tolist() == pytest.approx([3 / 4, 4 / 5])
    assert table.most_common.tolist() == pytest.approx([3 / 4, 2 / 5])
    assert table.balanced_accuracy.tolist() == pytest.approx([(2 / 3 + 1) / 2, (1 + 1 / 2 + 1) / 3])
    assert mean_score(table, "accuracy") == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_market_rule_counts_images_of_identities_above_0():
    identities = np.repeat([-1, 0, 7], [3, 2, 5])
    labels = pd.DataFrame({"identity": identities, "hat": np.zeros(10, int)})
    table = attribute_table([HAT], labels, {"hat": np.zeros(10, int)})
    assert table.images.tolist() == [5]


def test_a_task_without_known_labels_does_not_count_in_the_mean():
    labels = pd.DataFrame({"identity": [1, 2], "hat": [0, 1], "age": [-1, -1]})
    table = attribute_table([HAT, AGE], labels, {"hat": np.array([0, 0]), "age": np.array([0, 0])})
    assert np.isnan(table.accuracy[1])
    assert mean_score(table, "accuracy") == 0.5


def test_a_constant_answer_scores_one_over_classes_in_balanced_accuracy():
    rng = np.random.default_rng(0)
    labels = pd.DataFrame({"identity": np.ones(200, int), "age": rng.integers(0, 4, 200)})
    table = attribute_table([AGE], labels, {"age": np.full(200, 2)})
    assert table.balanced_accuracy[0] == pytest.approx(1 / 4)


@pytest.mark.parametrize(
    ("columns", "predictions", "named"),
    [
        (["identity"], {"hat": np.zeros(2)}, "labels: "),
        (["identity", "hat"], {}, "predictions: "),
        (["identity", "hat"], {"hat": np.zeros(3)}, "predictions: "),
    ],
)
def test_missing_columns_are_named(columns, predictions, named):
    labels = pd.DataFrame({"identity": [1, 2], "hat": [0, 1]})[columns]
    with pytest.raises(InputError, match=f"^{named}"):
        attribute_table([HAT], labels, predictions)
