import tracemalloc

import numpy as np
import pytest

from lrdnn_base.errors import InputError
from lrdnn_tf.evaluation import ranking, reranking
from lrdnn_tf.evaluation.protocol import Labels


def textbook(query, gallery, k1, k2, lambda_value):
    """The method image by image on dense float64 matrices (Zhong et al., CVPR 2017, section 3)."""
    images = np.concatenate([query, gallery]).astype(np.float64)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    total, queries = len(images), len(query)
    distances = np.square(images[:, None] - images[None]).sum(axis=2)
    distances /= distances.max(axis=1, keepdims=True)
    order = np.argsort(distances, axis=1, kind="stable")

    def reciprocal(image, k):
        return {other for other in order[image, : k + 1] if image in order[other, : k + 1]}

    vectors = np.zeros((total, total))
    for image in range(total):
        mine = reciprocal(image, k1)
        expanded = set(mine)
        for candidate in mine:
            theirs = reciprocal(candidate, round(k1 / 2))
            if len(theirs & mine) > 2 / 3 * len(theirs):
                expanded |= theirs
        expanded = sorted(expanded)
        weights = np.exp(-distances[image, expanded])
        vectors[image, expanded] = weights / weights.sum()
    vectors = np.stack([vectors[order[image, :k2]].mean(axis=0) for image in range(total)])
    jaccard = np.empty((queries, len(gallery)))
    for q in range(queries):
        minima = np.minimum(vectors[q], vectors[queries:]).sum(axis=1)
        maxima = np.maximum(vectors[q], vectors[queries:]).sum(axis=1)
        jaccard[q] = 1 - minima / maxima
    return (1 - lambda_value) * jaccard + lambda_value * distances[:queries, queries:]


def clusters(seed, images, identities, noise=0.5, dimensions=8):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(identities, dimensions))
    return centres[rng.integers(0, identities, images)] + noise * rng.normal(size=(images, dimensions))


def reranked(*args, **kwargs):
    return np.concatenate(list(reranking.rerank(*args, **kwargs)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("k1", "k2", "lambda_value"), [(20, 6, 0.3), (7, 1, 0.0), (9, 10, 1.0), (1, 2, 0.5), (5, 3, 0)]
)
@pytest.mark.parametrize("identities", [1, 12])
def test_equals_the_textbook(seed, k1, k2, lambda_value, identities):
    images = clusters(seed, 150, identities)
    expected = textbook(images[:30], images[30:], k1, k2, lambda_value)
    np.testing.assert_allclose(reranked(images[:30], images[30:], k1, k2, lambda_value), expected, atol=1e-5)


@pytest.mark.parametrize("tile", [1, 7, 64, 150])
def test_tiles_do_not_change_the_numbers(monkeypatch, tile):
    images = clusters(0, 150, 12)
    monkeypatch.setattr(reranking, "_TILE", tile)
    np.testing.assert_allclose(
        reranked(images[:30], images[30:]), textbook(images[:30], images[30:], 20, 6, 0.3), atol=1e-5
    )


def test_neighbours_are_those_of_a_stable_sort():
    images = ranking.normalize(clusters(1, 1500, 40))
    cosines = -images @ images.T
    cosines = np.minimum(cosines, cosines.T)
    np.fill_diagonal(cosines, -np.inf)
    neighbours, largest = reranking._neighbours(images, 21)
    np.testing.assert_array_equal(neighbours, np.argsort(cosines, axis=1, kind="stable")[:, :21])
    np.testing.assert_allclose(largest, 2 + 2 * cosines.max(axis=1), rtol=1e-6)


def test_blocks_do_not_change_the_numbers(monkeypatch):
    images = clusters(2, 200, 10)
    whole = list(reranking.rerank(images[:50], images[50:]))
    monkeypatch.setattr(ranking, "_BLOCK_BYTES", 7 * 150 * 4)
    parts = list(reranking.rerank(images[:50], images[50:]))
    assert [len(part) for part in parts] == [7] * 7 + [1]
    np.testing.assert_allclose(np.concatenate(parts), np.concatenate(whole), atol=1e-6)


def test_reranked_distances_can_be_ranked_and_help_on_clusters():
    rng = np.random.default_rng(0)
    ids = np.arange(600) % 30
    images = rng.normal(size=(30, 32))[ids] + 1.2 * rng.normal(size=(600, 32))
    labels = Labels(ids[:90], np.zeros(90, int)), Labels(ids[90:], np.ones(510, int))
    plain = ranking.rank(images[:90], images[90:], *labels)
    better = ranking.rank_distances(reranking.rerank(images[:90], images[90:]), *labels)
    assert better.mean_ap > plain.mean_ap + 0.05


def test_lambda_1_is_the_original_ranking():
    images = clusters(3, 120, 10)
    original = reranked(images[:20], images[20:], lambda_value=1)
    unit = images / np.linalg.norm(images, axis=1, keepdims=True)
    np.testing.assert_array_equal(np.argsort(original, axis=1), np.argsort(-unit[:20] @ unit[20:].T, axis=1))


def test_copies_of_one_image_have_finite_distances():
    distances = reranked(np.ones((5, 4)), np.ones((60, 4)))
    assert np.isfinite(distances).all()


def test_no_square_matrix_is_held():
    images = clusters(4, 6000, 300, dimensions=16)
    tracemalloc.start()
    for _ in reranking.rerank(images[:50], images[50:]):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6000 * 6000 * 4  # one float32 matrix of all images by all images


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"k1": 101}, "k1=101"),
        ({"k1": 0}, "k1=0"),
        ({"k2": 22}, "k2=22"),
        ({"k2": 0}, "k2=0"),
        ({"lambda_value": 1.1}, "lambda_value=1.1"),
        ({"query": np.zeros((10, 8))}, "query: "),
        ({"gallery": np.full((100, 8), np.nan)}, "gallery: "),
        ({"gallery": np.ones((100, 7))}, "gallery: "),
    ],
)
def test_argument_that_cannot_be_used_is_named_before_the_first_block(arguments, named):
    images = clusters(5, 110, 5)
    with pytest.raises(InputError, match=f"^{named}"):
        reranking.rerank(**{"query": images[:10], "gallery": images[10:]} | arguments)
