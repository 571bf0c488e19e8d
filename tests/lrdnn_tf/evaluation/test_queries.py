import numpy as np
import pytest

from lrdnn_base.errors import InputError
from lrdnn_tf.evaluation import queries, ranking
from lrdnn_tf.evaluation.protocol import Labels


def make_data(seed=0, queries=40, images=300, identities=12, cameras=3, dimensions=16, noise=1.5):
    """The arguments of rank: several queries and gallery images of each person in each camera, junk, distractors."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(identities + 2, dimensions))
    query_ids, gallery_ids = rng.integers(0, identities + 1, queries), rng.integers(-1, identities + 1, images)
    return {
        "query": centres[query_ids] + noise * rng.normal(size=(queries, dimensions)),
        "gallery": centres[gallery_ids] + noise * rng.normal(size=(images, dimensions)),
        "query_labels": Labels(query_ids, rng.integers(1, cameras + 1, queries)),
        "gallery_labels": Labels(gallery_ids, rng.integers(1, cameras + 1, images)),
    }


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_pooling_without_cameras_is_refused_since_it_would_use_true_matches():
    data = make_data()
    data["gallery_labels"].cameras[3] = 0
    with pytest.raises(InputError, match="cameras are unknown"):
        queries.pool_queries(**data)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("pooling", "pool"), [("average", np.mean), ("max", np.max)])
def test_pooling_equals_the_definition(seed, pooling, pool):
    data = make_data(seed)
    images = unit(np.concatenate([data["query"], data["gallery"]]))
    people = [*data["query_labels"].identities, *data["gallery_labels"].identities]
    cameras = [*data["query_labels"].cameras, *data["gallery_labels"].cameras]
    expected = images[:40].copy()
    for query in range(40):
        if people[query] > 0:
            same = [n for n in range(340) if people[n] == people[query] and cameras[n] == cameras[query]]
            expected[query] = pool(images[same], axis=0)
    np.testing.assert_allclose(queries.pool_queries(**data, pooling=pooling), expected, atol=1e-6)


@pytest.mark.parametrize("pooling", queries.POOLINGS)
def test_the_only_image_of_a_person_in_a_camera_is_not_changed(pooling):
    data = make_data() | {"query_labels": Labels(np.arange(1, 41), np.full(40, 9))}
    np.testing.assert_allclose(queries.pool_queries(**data, pooling=pooling), unit(data["query"]), atol=1e-6)


def test_pooling_does_not_use_the_true_matches():
    data = make_data()
    other = (data["gallery_labels"].cameras != 1).nonzero()[0]
    changed = data["gallery"].copy()
    changed[other] = np.random.default_rng(1).normal(size=changed[other].shape)
    of_camera_1 = data["query_labels"].cameras == 1
    before, after = queries.pool_queries(**data), queries.pool_queries(**data | {"gallery": changed})
    np.testing.assert_array_equal(before[of_camera_1], after[of_camera_1])
    assert not np.allclose(before[~of_camera_1], after[~of_camera_1])


@pytest.mark.parametrize("pooling", queries.POOLINGS)
def test_several_images_of_a_person_retrieve_better_than_one(pooling):
    data = make_data(dimensions=64, noise=2.5)
    data |= {name: np.maximum(data[name], 0) for name in ("query", "gallery")}  # as after a ReLU
    pooled = queries.pool_queries(**data, pooling=pooling)
    assert ranking.rank(**data | {"query": pooled}).mean_ap > ranking.rank(**data).mean_ap + 0.03


@pytest.mark.parametrize("count", [1, 5, 300])
def test_expansion_equals_the_definition(count):
    data = make_data()
    query, gallery = unit(data["query"]), unit(data["gallery"])
    order = np.argsort(-query @ gallery.T, axis=1)[:, :count]
    expected = np.stack([np.concatenate([query[n : n + 1], gallery[order[n]]]).mean(axis=0) for n in range(40)])
    np.testing.assert_allclose(queries.expand_queries(data["query"], data["gallery"], count), expected, atol=1e-6)


def test_expansion_takes_the_first_of_equals_and_the_given_count():
    gallery = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    expanded = queries.expand_queries(np.array([[2.0, 0.0]]), gallery, 2)
    np.testing.assert_allclose(expanded, [[1.0, 0.0]])


def test_expansion_helps_where_the_nearest_are_true_matches():
    data = make_data(noise=0.9)
    expanded = queries.expand_queries(data["query"], data["gallery"], 3)
    assert ranking.rank(**data | {"query": expanded}).mean_ap > ranking.rank(**data).mean_ap + 0.02


def test_size_of_blocks_has_no_effect_and_arguments_are_not_changed(monkeypatch):
    data, kept = make_data(), make_data()
    whole = queries.expand_queries(data["query"], data["gallery"], 4)
    queries.pool_queries(**data)
    monkeypatch.setattr(ranking, "_BLOCK_BYTES", 7 * 300 * 4)
    np.testing.assert_allclose(queries.expand_queries(data["query"], data["gallery"], 4), whole, atol=1e-6)
    for name in ("query", "gallery"):
        np.testing.assert_array_equal(data[name], kept[name])
        for before, after in zip(*(vars(each[f"{name}_labels"]).values() for each in (kept, data)), strict=True):
            np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"pooling": "median"}, "pooling='median': expected average or max"),
        ({"query": np.zeros((40, 16))}, "query: row 0 is all zeros"),
        ({"gallery": np.full((300, 16), np.nan)}, "gallery: row 0 holds NaN"),
        ({"query_labels": Labels([1, 1, 1], [1, 1, 1])}, "query_labels: 3 images, but 40 descriptors in query"),
        ({"gallery_labels": Labels([1, 1, 1], [1, 1, 1])}, "gallery_labels: 3 images, but 300 descriptors in gallery"),
    ],
)
def test_argument_that_cannot_be_pooled_is_named(changed, named):
    with pytest.raises(InputError, match=f"^{named}"):
        queries.pool_queries(**make_data() | changed)


@pytest.mark.parametrize("count", [0, -1, 301])
def test_argument_that_cannot_be_expanded_is_named(count):
    data = make_data()
    with pytest.raises(InputError, match=f"^query_expansion={count}: expected 1 to the 300"):
        queries.expand_queries(data["query"], data["gallery"], count)
    with pytest.raises(InputError, match=r"^gallery: row 0 is all zeros"):
        queries.expand_queries(data["query"], np.zeros((300, 16)), 5)
