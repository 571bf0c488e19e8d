import numpy as np
import pytest

from data_prep.market1501 import TASKS as MARKET1501
from lrdnn_base.errors import InputError
from lrdnn_tf.searching.attribute_filter import matching, parse_where, probability

NUMBERS = {task.name: number for number, task in enumerate(MARKET1501)}


def test_conditions_use_the_words_of_the_model():
    wanted = parse_where(["gender=female", "backpack=yes", " upper_colour = red "], MARKET1501)
    assert wanted == {NUMBERS["gender"]: 1, NUMBERS["backpack"]: 1, NUMBERS["upper_colour"]: 2}
    assert parse_where([], ()) == {}


@pytest.mark.parametrize(
    "conditions, tasks, message",
    [
        (["colour=red"], MARKET1501, r"'colour=red' is not an ATTRIBUTE=VALUE .*gender=male\|female; hair=short\|long"),
        (["backpack"], MARKET1501, r"'backpack' is not an ATTRIBUTE=VALUE"),
        (["upper_colour=pink"], MARKET1501, "upper_colour cannot be 'pink', only black, white, red"),
        (["hat=yes", "hat=no"], MARKET1501, "hat is given twice"),
        (["hat=yes"], (), "knows no attributes; export the attributes or the fusion phase"),
    ],
)
def test_an_unknown_word_is_an_error_that_lists_the_known_ones(conditions, tasks, message):
    with pytest.raises(InputError, match=message) as error:
        parse_where(conditions, tasks)
    assert "\n" not in str(error.value)


def test_an_image_matches_when_it_has_everything():
    classes = np.array([[0, 1, 2], [0, 0, 2], [1, 1, 2], [0, 1, 1]])
    assert matching({0: 0, 2: 2}, classes).tolist() == [True, True, False, False]
    assert matching({}, classes).all()
    scores = np.array([[0.5, 0.9, 0.25]], np.float32)
    assert probability({0: 0, 2: 2}, scores).tolist() == [0.125]
