import sys

import pytest

from lrdnn_base.addons import addons
from lrdnn_base.errors import InputError


def test_without_addons_the_message_names_the_flag_to_leave_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    with pytest.raises(InputError, match=r"--random_erasing needs TensorFlow Addons.* leave out --random_erasing"):
        addons("--random_erasing")
