import numpy as np
import pytest

from lrdnn_tf.searching import nearest as module
from lrdnn_tf.searching.nearest import nearest


def unit(generator, rows, dimensions=8):
    """Random unit vectors of few distinct values, so that many similarities are equal."""
    values = generator.integers(-2, 3, (rows, dimensions)).astype(np.float32)
    values[:, 0] += 0.5
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize("block_rows", [1, 7, 64, 1 << 16])
@pytest.mark.parametrize("share", [1, 0.5, 0.05, 0])
def test_blocks_give_the_same_result_as_sorting(block_rows, share, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_ROWS", block_rows)
    monkeypatch.setattr(module, "_QUERIES", 3)
    generator = np.random.default_rng(0)
    gallery, queries = unit(generator, 300), unit(generator, 10)
    usable = generator.random(300) < share
    allowed = np.flatnonzero(usable)
    for count in (1, 10, 400):
        rows, similarities = nearest(queries, gallery, count, usable)
        exact = queries @ gallery.T
        expected = allowed[np.argsort(-exact[:, allowed].round(5), axis=1, kind="stable")[:, :count]]
        assert rows.shape == (10, min(count, len(allowed)))
        np.testing.assert_allclose(np.take_along_axis(exact, rows, axis=1), similarities, atol=1e-6)
        np.testing.assert_allclose(
            np.take_along_axis(exact, expected.reshape(rows.shape), axis=1), similarities, atol=1e-5
        )


def test_equal_similarities_are_in_the_order_of_their_rows(monkeypatch):
    gallery = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8], [1, 0]], np.float32)
    for block_rows in (1, 2, 5):
        monkeypatch.setattr(module, "_BLOCK_ROWS", block_rows)
        rows, similarities = nearest(gallery[:1], gallery, count=4)
        assert rows.tolist() == [[0, 2, 4, 3]]
        np.testing.assert_allclose(similarities, [[1, 1, 1, 0.6]], atol=1e-6)


def test_a_memory_map_is_searched_as_an_array_is(tmp_path):
    gallery = unit(np.random.default_rng(1), 1000)
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    for found, expected in zip(nearest(gallery[:3], mapped, 5), nearest(gallery[:3], gallery, 5), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_without_queries_nothing_is_found():
    rows, similarities = nearest(np.zeros([0, 4], np.float32), np.eye(4, dtype=np.float32), 3)
    assert rows.shape == similarities.shape == (0, 3)
