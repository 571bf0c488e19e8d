import cv2
import numpy as np
import pytest

from lrdnn_base.errors import InputError
from lrdnn_base.images import write_image
from lrdnn_tf.data.decode import read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)


def test_what_is_written_is_read(tmp_path):
    write_image(tmp_path / "a.png", PIXELS)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 6, 4), PIXELS[:, :, ::-1])
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_failed_write_is_an_error_and_leaves_the_previous_file(tmp_path, monkeypatch):
    def fill_the_disk(path, pixels):
        with open(path, "wb") as file:
            file.write(b"half an im")
        return False

    write_image(tmp_path / "a.png", PIXELS)
    monkeypatch.setattr(cv2, "imwrite", fill_the_disk)
    with pytest.raises(InputError, match=r"cannot write .*a\.png: is the disk full"):
        write_image(tmp_path / "a.png", PIXELS[::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 6, 4), PIXELS[:, :, ::-1])
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_paths_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        write_image(tmp_path / "nowhere" / "a.png", PIXELS)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=r"text\.png is not an image"):
        read_image(tmp_path / "text.png", 6, 4)
