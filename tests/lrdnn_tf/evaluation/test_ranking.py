import numpy as np
import pandas as pd
import pytest

from lrdnn_base.errors import InputError
from lrdnn_tf.evaluation import ranking
from lrdnn_tf.evaluation.protocol import Labels, apply_protocol


def make_data(seed=0, queries=40, images=300, identities=25, cameras=4, dimensions=8, noise=0.8):
    """The arguments of rank: descriptors around a centre per identity, with junk (-1) and distractors (0)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(identities + 2, dimensions))
    query_ids, gallery_ids = rng.integers(1, identities + 1, queries), rng.integers(-1, identities + 1, images)
    return {
        "query": (centres[query_ids] + noise * rng.normal(size=(queries, dimensions))).astype(np.float32),
        "gallery": (centres[gallery_ids] + noise * rng.normal(size=(images, dimensions))).astype(np.float32),
        "query_labels": Labels(query_ids, rng.integers(1, cameras + 1, queries)),
        "gallery_labels": Labels(gallery_ids, rng.integers(1, cameras + 1, images)),
    }


def labels_of(data):
    return [data["query_labels"], data["gallery_labels"]]


def sorted_reference(distances, query_labels, gallery_labels):
    """The protocol query by query on a sorted list; of images at the same distance, wrong ones come first."""
    results = []
    for row, identity, camera in zip(distances, query_labels.identities, query_labels.cameras, strict=True):
        right = gallery_labels.identities == identity
        kept = (gallery_labels.identities != -1) & ~(right & (gallery_labels.cameras == camera))
        hits = right[kept][np.lexsort((right[kept], row[kept]))]
        if not hits.any():
            continue
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        previous = np.concatenate([[1.0], precision[:-1]])
        results.append(
            {
                "cmc": [hits[:k].any() for k in range(1, 51)],
                "ap": precision[hits].mean(),
                "trapezoid": ((precision + previous) / 2)[hits].mean(),
                "interpolated": interpolated_reference(precision, np.cumsum(hits) / hits.sum()),
                "inp": hits.sum() / (np.flatnonzero(hits)[-1] + 1),
                "chance": hits.mean(),
            }
        )
    return {name: np.mean([result[name] for result in results], axis=0) for name in results[0]} | {"n": len(results)}


def interpolated_reference(precision, recall):
    """Mean, over the values that recall takes, of the highest precision at that recall or a higher one."""
    return np.mean([precision[recall >= level].max() for level in np.unique(recall[recall > 0])])


def assert_same(result, reference):
    np.testing.assert_allclose(result.cmc, reference["cmc"], atol=1e-12)
    assert result.mean_ap == pytest.approx(reference["ap"], abs=1e-9)
    assert result.mean_ap_trapezoid == pytest.approx(reference["trapezoid"], abs=1e-9)
    assert result.mean_ap_interpolated == pytest.approx(reference["interpolated"], abs=1e-9)
    assert result.mean_inp == pytest.approx(reference["inp"], abs=1e-9)
    assert result.chance_rank1 == pytest.approx(reference["chance"], abs=1e-12)
    assert result.queries == reference["n"]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("noise", [0.1, 0.8, 5.0])
def test_equals_a_sorted_reference(seed, noise):
    data = make_data(seed, noise=noise)
    unit = {name: data[name] / np.linalg.norm(data[name], axis=1, keepdims=True) for name in ("query", "gallery")}
    assert_same(ranking.rank(**data), sorted_reference(-unit["query"] @ unit["gallery"].T, *labels_of(data)))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rows", [1, 7, 40])
def test_equals_the_reference_with_many_ties_and_any_block_size(seed, rows):
    labels = labels_of(make_data(seed))
    distances = np.random.default_rng(seed).integers(0, 6, (40, 300))
    blocks = (distances[start : start + rows] for start in range(0, 40, rows))
    assert_same(ranking.rank_distances(blocks, *labels), sorted_reference(distances, *labels))


def test_does_not_depend_on_the_order_of_the_gallery():
    data = make_data()
    data["gallery"] = np.round(data["gallery"])  # many ties
    shuffle = np.random.default_rng(1).permutation(300)
    shuffled = data | {"gallery": data["gallery"][shuffle], "gallery_labels": data["gallery_labels"].take(shuffle)}
    first, second = ranking.rank(**data), ranking.rank(**shuffled)
    np.testing.assert_array_equal(first.average_precisions, second.average_precisions)


@pytest.mark.parametrize("dimensions", [5, 128, 1000])
def test_images_with_the_same_descriptor_tie(dimensions):
    data = make_data(dimensions=dimensions)
    few = data["gallery"][:20]
    data["gallery"] = few[np.random.default_rng(1).integers(0, 20, 300)]
    unit = {name: data[name] / np.linalg.norm(data[name], axis=1, keepdims=True) for name in ("query", "gallery")}
    cosines = np.einsum("qd,gd->qg", unit["query"].astype(np.float64), unit["gallery"])
    assert_same(ranking.rank(**data), sorted_reference(-cosines.round(7), *labels_of(data)))


@pytest.mark.parametrize("same_sums", [False, True])
def test_first_copies_are_those_of_a_linear_search(monkeypatch, same_sums):
    rows = np.random.default_rng(0).integers(0, 3, (60, 3)).astype(np.float32)
    if same_sums:
        monkeypatch.setattr(np, "einsum", lambda _, bits, __: np.zeros(len(bits), np.int32))
    expected = [next(n for n in range(60) if (rows[n] == row).all()) for row in rows]
    assert ranking._first_copies(rows).tolist() == expected
    assert len(set(expected)) < 60


@pytest.mark.parametrize("dimensions", [3, 128])
def test_a_model_that_distinguishes_nobody_scores_worst(dimensions):
    labels = [Labels([1, 2], [1, 1]), Labels([1, 2, 3], [2, 2, 2])]
    query, gallery = (np.tile(np.random.default_rng(0).normal(size=dimensions), (count, 1)) for count in (2, 3))
    for result in (ranking.rank_distances([np.zeros((2, 3))], *labels), ranking.rank(query, gallery, *labels)):
        assert result.rank1 == 0
        assert result.mean_ap == pytest.approx(1 / 3)


@pytest.mark.parametrize("rows", [1, 7])
def test_the_size_of_blocks_has_no_effect(monkeypatch, rows):
    data = make_data()
    whole, table = ranking.rank_with_camera_pairs(**data)
    monkeypatch.setattr(ranking, "_BLOCK_BYTES", rows * 300 * 4)
    assert len(next(ranking.opposite_cosines(data["query"], data["gallery"]))) == rows
    parts, table_of_parts = ranking.rank_with_camera_pairs(**data)
    np.testing.assert_array_equal(parts.average_precisions, whole.average_precisions)
    np.testing.assert_array_equal(parts.first_matches, whole.first_matches)
    pd.testing.assert_frame_equal(table_of_parts, table)


def test_metrics_by_hand():
    # Ranking of the one query: ignored (its own camera), right, wrong, junk, right.
    labels = [Labels([5], [1]), Labels([5, 5, 7, -1, 5], [1, 2, 1, 2, 3])]
    result = ranking.rank_distances([np.array([[0.0, 0.1, 0.2, 0.3, 0.4]])], *labels)
    assert result.rank1 == 1
    assert result.mean_ap == pytest.approx((1 + 2 / 3) / 2)
    assert result.mean_ap_trapezoid == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    assert result.mean_inp == pytest.approx(2 / 3)
    assert result.chance_rank1 == pytest.approx(2 / 3)
    assert result.first_matches.tolist() == [1]


def test_interpolated_precision_by_hand():
    # Wrong, right, right, wrong, wrong, right: precisions 1/2, 2/3 and 1/2, the highest from each on 2/3, 2/3 and 1/2.
    labels = [Labels([5], [1]), Labels([7, 5, 5, 7, 7, 5], [2] * 6)]
    result = ranking.rank_distances([np.arange(6.0)[None]], *labels)
    assert result.mean_ap == pytest.approx((1 / 2 + 2 / 3 + 1 / 2) / 3)
    assert result.mean_ap_interpolated == pytest.approx((2 / 3 + 2 / 3 + 1 / 2) / 3)


@pytest.mark.parametrize("noise", [0.1, 0.8, 5.0])
def test_interpolated_precision_is_at_least_the_mean_of_the_precisions(noise):
    result = ranking.rank(**make_data(noise=noise))
    assert result.mean_ap <= result.mean_ap_interpolated <= 1
    assert result.mean_ap_interpolated > result.mean_ap or result.mean_ap == 1


def test_every_average_precision_of_a_perfect_ranking_is_1():
    result = ranking.rank(**make_data(noise=0.01, dimensions=64))
    assert (result.mean_ap, result.mean_ap_trapezoid, result.mean_ap_interpolated) == (1, 1, 1)


def test_queries_without_a_match_are_left_out_and_counted():
    labels = [Labels([1, 2, 9, -1], [1, 1, 1, 1]), Labels([1, 2, -1], [2, 1, 2])]
    result = ranking.rank_distances([np.random.default_rng(0).random((4, 3))], *labels)
    assert (result.queries, result.queries_left_out) == (1, 3)
    assert np.isnan(result.average_precisions).tolist() == [False, True, True, True]


def test_ranking_is_repeatable_and_does_not_change_its_arguments():
    data, kept = make_data(), make_data()
    assert ranking.rank(**data).mean_ap == ranking.rank(**data).mean_ap
    for name in ("query", "gallery"):
        np.testing.assert_array_equal(data[name], kept[name])
        for before, after in zip(*(vars(each[f"{name}_labels"]).values() for each in (kept, data)), strict=True):
            np.testing.assert_array_equal(after, before)
    distances = np.random.default_rng(0).random((40, 300))
    before = distances.copy()
    ranking.rank_distances([distances], *labels_of(data))
    np.testing.assert_array_equal(distances, before)


def test_length_of_descriptors_has_no_effect():
    data = make_data()
    scaled = data | {"gallery": data["gallery"] * np.logspace(-30, 30, 300)[:, None].astype(np.float32)}
    assert ranking.rank(**scaled).mean_ap == pytest.approx(ranking.rank(**data).mean_ap, abs=1e-4)


def test_chance_is_the_mean_of_random_orders():
    data = make_data(queries=200)
    chance = ranking.rank(**data).chance_rank1
    rng = np.random.default_rng(0)
    drawn = [ranking.rank_distances([rng.random((200, 300))], *labels_of(data)).rank1 for _ in range(100)]
    assert np.mean(drawn) == pytest.approx(chance, abs=4 * np.std(drawn) / 10)


def test_nearest_agrees_with_the_ranking():
    data = make_data()
    result = ranking.rank(**data)
    query_labels, gallery_labels = labels_of(data)
    for query, images in enumerate(ranking.nearest(**data, count=10)):
        found = gallery_labels.take(images)
        right = found.identities == query_labels.identities[query]
        assert not (right & (found.cameras == query_labels.cameras[query])).any()
        assert -1 not in found.identities
        first = result.first_matches[query]
        assert (np.flatnonzero(right)[0] + 1 if right.any() else 0) == (first if first <= 10 else 0)


def test_camera_pairs_agree_with_ranking_one_pair_at_a_time():
    data = make_data(queries=80)
    whole, table = ranking.rank_with_camera_pairs(**data)
    np.testing.assert_array_equal(whole.average_precisions, ranking.rank(**data).average_precisions)
    assert (table.query_camera != table.gallery_camera).all()
    for row in table.itertuples():
        queries = data["query_labels"].cameras == row.query_camera
        images = data["gallery_labels"].cameras == row.gallery_camera
        labels = data["query_labels"].take(queries), data["gallery_labels"].take(images)
        alone = ranking.rank(data["query"][queries], data["gallery"][images], *labels)
        assert (row.queries, row.rank1, row.mAP) == (alone.queries, alone.rank1, pytest.approx(alone.mean_ap))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("query", np.zeros((40, 8))),
        ("gallery", np.full((300, 8), np.nan)),
        ("gallery", np.full((300, 8), np.inf)),
        ("gallery", np.zeros((0, 8))),
        ("query", np.ones(8)),
        ("gallery", np.ones((300, 9))),
        ("query_labels", Labels(np.ones(39, int), np.ones(39, int))),
        ("gallery_labels", Labels(np.ones(301, int), np.ones(301, int))),
    ],
)
@pytest.mark.parametrize("function", [ranking.rank, ranking.nearest, ranking.rank_with_camera_pairs])
def test_argument_that_cannot_be_used_is_named(function, argument, value):
    with pytest.raises(InputError, match=rf"^{argument}: ") as error:
        function(**make_data() | {argument: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("identities", "cameras", "named"),
    [
        (np.ones(3), np.ones(3, int), "identities: expected integers, not float64"),
        (np.ones(3, int), ["1", "2", "3"], "cameras: expected integers"),
        (np.ones((3, 1), int), np.ones(3, int), r"identities: expected one integer per image, not shape \(3, 1\)"),
        (np.ones(3, int), np.ones((), int), "cameras: expected one integer per image"),
        (np.full(3, 2**63, np.uint64), np.ones(3, int), "identities: expected integers below 2\\*\\*63"),
        ([], [], "identities: expected one integer per image"),
        (np.ones(3, int), np.ones(4, int), "cameras: 4 cameras for 3 identities"),
    ],
)
def test_labels_that_cannot_be_used_are_named(identities, cameras, named):
    with pytest.raises(InputError, match=f"^{named}"):
        Labels(identities, cameras)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_labels_of_any_integer_type_are_compared_exactly(dtype):
    # Compared as float64, which numpy takes for int64 with uint64, numbers above 2**53 would be equal.
    large = 2**60 if dtype is np.uint64 else 100
    query = Labels(np.array([large, large + 1], dtype), np.array([1, 1]))
    gallery = Labels(np.array([large, large + 1, -1]), np.array([2, 2, 2]))
    assert query.identities.dtype == query.cameras.dtype == np.int64
    assert apply_protocol(query, gallery).matches.counts.tolist() == [1, 1]


@pytest.mark.parametrize("share", [0.3, 1])
def test_images_of_unknown_cameras_match_every_other_image_of_their_person(share):
    """As if each such image had a camera of its own."""
    data, rng = make_data(), np.random.default_rng(1)
    unknown, distinct = {}, {}
    for name, first in (("query_labels", 1000), ("gallery_labels", 2000)):
        labels = data[name]
        hidden = rng.random(len(labels)) < share
        unknown[name] = Labels(labels.identities, np.where(hidden, 0, labels.cameras))
        distinct[name] = Labels(labels.identities, np.where(hidden, first + np.arange(len(labels)), labels.cameras))
    assert not unknown["query_labels"].cameras_are_known and distinct["query_labels"].cameras_are_known
    found, expected = ranking.rank(**data | unknown), ranking.rank(**data | distinct)
    assert found.mean_ap == expected.mean_ap and found.mean_ap != ranking.rank(**data).mean_ap
    np.testing.assert_array_equal(found.match_counts, expected.match_counts)
    for shown, reference in zip(ranking.nearest(**data | unknown), ranking.nearest(**data | distinct), strict=True):
        np.testing.assert_array_equal(shown, reference)


@pytest.mark.parametrize("function", [ranking.rank, ranking.rank_with_camera_pairs])
def test_labels_without_a_match_are_named(function):
    data = make_data() | {"query_labels": Labels(np.full(40, 99), np.ones(40, int))}
    with pytest.raises(InputError, match=r"^query_labels: no query has an image of its identity from another camera"):
        function(**data)
    with pytest.raises(InputError, match=r"^query_labels: no query"):
        apply_protocol(*labels_of(data)).require_matches()


@pytest.mark.parametrize(
    "blocks",
    [
        [],
        [np.zeros((39, 300))],
        [np.zeros((40, 300)), np.zeros((1, 300))],
        [np.zeros((40, 299))],
        [np.full((40, 300), np.nan)],
        [np.full((40, 300), np.inf)],
    ],
)
def test_distances_that_do_not_fit_are_named(blocks):
    with pytest.raises(InputError, match=r"^blocks: "):
        ranking.rank_distances(blocks, *labels_of(make_data()))
