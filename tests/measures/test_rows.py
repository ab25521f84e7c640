"""Measures of neighbourhoods, of pairs of datapoints and of single neurons, against their sets."""

import itertools
import pickle
import re

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import (
    cknna_by_definition,
    jaccard_by_sets,
    mutual_knn_by_sets,
    rsa_by_definition,
    soft_matching_by_copies,
)

from svcca_lib import (
    MEASURES,
    Moments,
    Reservoir,
    bootstrap_interval,
    cka,
    cknna,
    dft_cca,
    jaccard,
    mutual_knn,
    pairwise,
    permutation_test,
    rsa,
    soft_matching,
)
from svcca_lib.measures import neighbours

BY_SETS = {
    mutual_knn: mutual_knn_by_sets,
    jaccard: jaccard_by_sets,
    cknna: cknna_by_definition,
}
OF_ROWS = [mutual_knn, jaccard, cknna, rsa, soft_matching]


def two_layers(n=50, p=6, q=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) + 0.5
    return x, x @ rng.normal(size=(p, q)) + 2 * rng.normal(size=(n, q)) - 1.0


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 3, 10, 48])
@pytest.mark.parametrize("measure", BY_SETS)
def test_neighbourhoods_equal_those_found_one_by_one(measure, k, metric, monkeypatch):
    x, y = two_layers()
    expected = BY_SETS[measure](x, y, k, metric)
    for block in (10**6, 50 * 7):  # at once, and in blocks of 7 with a rest
        monkeypatch.setattr(neighbours, "_BLOCK", block)
        found = measure(x, y, k=k, metric=metric)
        assert found.similarity == pytest.approx(expected, abs=1e-12)
        assert found.n == 50


def test_all_neighbours_make_cknna_the_linear_cka_without_its_diagonal():
    x, y = two_layers()
    k, m = ((z - z.mean(0)) @ (z - z.mean(0)).T for z in (x, y))
    off = ~np.eye(50, dtype=bool)
    expected = (k * m)[off].sum() / np.sqrt((k**2)[off].sum() * (m**2)[off].sum())
    found = cknna(x, y, k=49, metric="euclidean").similarity
    assert found == pytest.approx(expected, abs=1e-12)
    assert found == pytest.approx(cka(x, y).similarity, abs=0.1)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("measure", [mutual_knn, cknna])
def test_chance_of_neighbourhoods_is_the_mean_over_all_pairings(measure, metric):
    x, y = two_layers(n=5)
    tied = x[[0, 0, 1, 1, 2]]  # two datapoints twice: neighbours are shared
    for a, b in ((x, y), (tied, y), (tied, tied)):
        every = [
            measure(a, b[list(order)], k=2, metric=metric).similarity
            for order in itertools.permutations(range(5))
        ]
        assert measure(a, b, k=2, metric=metric).chance == pytest.approx(np.mean(every), abs=1e-12)


def test_chance_of_neighbourhoods_is_their_closed_form():
    x, y = two_layers()
    assert mutual_knn(x, y, k=7).chance == pytest.approx(7 / 49, abs=1e-14)
    common = np.arange(8)
    law = scipy.stats.hypergeom(49, 7, 7).pmf(common)
    expected = (law * common / (14 - common)).sum()
    assert jaccard(x, y, k=7).chance == pytest.approx(expected, abs=1e-14)
    assert jaccard(x, y, k=49).chance == pytest.approx(1.0, abs=1e-12)
    rng = np.random.default_rng(1)
    scores = [jaccard(x, y[rng.permutation(50)], k=7).similarity for _ in range(100)]
    assert np.mean(scores) == pytest.approx(expected, abs=4 * np.std(scores) / 10)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("measure", [mutual_knn, jaccard, cknna])
def test_equally_near_datapoints_share_their_places(measure, metric):
    # By index, as `argsort` has it, both layers would take the same first ones: 1.0 for nothing.
    rng = np.random.default_rng(2)
    x, y = (np.eye(5)[rng.integers(0, 5, 60)] for _ in range(2))
    for change in (1.0, np.linalg.qr(rng.normal(size=(5, 5)))[0] * 0.1 + 0):
        moved = x * change if np.isscalar(change) else x @ change
        r = measure(moved, y, k=3, metric=metric)
        assert r.similarity < 0.4
        order = rng.permutation(60)
        again = measure(moved[order], y[order], k=3, metric=metric)
        assert again.similarity == pytest.approx(r.similarity, abs=1e-9)
        assert measure(moved, x, k=3, metric=metric).similarity == pytest.approx(1, abs=1e-9)


def test_shares_of_equally_near_datapoints_by_hand():
    # Of the first, the second and third are equally near; of y, only the second.
    x = np.array([[0.0], [1.0], [-1.0], [9.0]])
    y = np.array([[0.0], [1.0], [-3.0], [9.0]])
    # Common of datapoint 0: min(1/2, 1) = 1/2; of 1, 2: 0 is nearest in both; of 3: 1 in both.
    assert mutual_knn(x, y, k=1, metric="euclidean").similarity == pytest.approx(3.5 / 4)


def test_a_silent_datapoint_is_at_right_angles_to_all():
    x, y = two_layers()
    x[3] = 0.0
    assert mutual_knn(x, x, k=5).similarity == pytest.approx(1)
    assert 0 < mutual_knn(x, y, k=5).similarity < 1


@pytest.mark.parametrize("by", ["spearman", "pearson"])
@pytest.mark.parametrize("distance", ["correlation", "euclidean"])
def test_rsa_equals_its_definition(distance, by):
    x, y = two_layers()
    found = rsa(x, y, distance=distance, by=by)
    assert found.similarity == pytest.approx(rsa_by_definition(x, y, distance, by), abs=1e-12)
    assert found.chance == 0


def test_rsa_chance_is_the_mean_over_all_pairings():
    x, y = two_layers(n=5)
    every = [rsa(x, y[list(o)]).similarity for o in itertools.permutations(range(5))]
    assert np.mean(every) == pytest.approx(0, abs=1e-12)


def test_rsa_gives_equal_dissimilarities_one_rank_whatever_their_rounding():
    x = np.eye(4)[np.random.default_rng(3).integers(0, 4, 40)]
    y = two_layers(40)[1]
    turned = x @ np.linalg.qr(np.random.default_rng(4).normal(size=(4, 4)))[0]
    expected = rsa(x, y, distance="euclidean").similarity
    assert rsa(turned, y, distance="euclidean").similarity == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("p", "q"), [(5, 5), (6, 4), (4, 6), (3, 7), (1, 4)])
def test_soft_matching_equals_matching_of_copied_neurons(p, q):
    x, y = two_layers(p=p, q=q)
    assert soft_matching(x, y).similarity == pytest.approx(soft_matching_by_copies(x, y), abs=1e-9)


def test_soft_matching_sees_neurons_and_their_signs():
    x, _ = two_layers()
    shuffled = x[:, [2, 0, 1, 5, 4, 3]] * [1, 2, 3, 4, 5, 6] + 7
    assert soft_matching(x, shuffled).similarity == pytest.approx(1)
    assert soft_matching(x[:, :1], -x[:, :1]).similarity == pytest.approx(-1)
    dead = np.hstack([x, np.full((50, 3), 0.1)])
    assert soft_matching(dead, x).similarity == pytest.approx(1)


@pytest.mark.parametrize("measure", OF_ROWS)
def test_they_work_where_the_others_do(measure):
    x, _ = two_layers()
    y = x[:, :4] + np.random.default_rng(6).normal(size=(50, 4))
    matrix = pairwise([x, y], measure=measure.__name__)
    np.testing.assert_allclose(matrix, [[1, matrix[1, 0]], [measure(x, y).similarity, 1]])
    test = permutation_test(x, y, measure.__name__, n_permutations=49, seed=1)
    assert test.p_value <= 0.1
    # Reordered as prepared is reordered as rows.
    order = torch.from_numpy(np.random.default_rng(5).permutation(50))
    chosen = measure_of(measure)
    a, b = chosen.prepare(x, "x"), chosen.prepare(y, "y")
    moved = chosen.compare(a, b.reordered(order)).similarity
    assert moved == pytest.approx(measure(x, y[order.numpy()]).similarity, abs=1e-12)
    on_torch = measure(torch.from_numpy(x), torch.from_numpy(y))
    assert on_torch.similarity == measure(x, y).similarity


def measure_of(function):
    return MEASURES[function.__name__]()


def test_intervals_of_neighbourhoods_are_refused():
    """None is known to cover."""
    with pytest.raises(ValueError, match=r"^no interval of rsa is known to cover; use one of cca"):
        bootstrap_interval(*two_layers(80), "rsa", n_resamples=20)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x, y: mutual_knn(x[:10], y[:10]),
            "k must be below the number of datapoints; got k=10 and 10 rows in x",
        ),
        (
            lambda x, y: mutual_knn(x, y, k=0),
            "k must be a whole number of neighbours, at least 1; got 0",
        ),
        (
            lambda x, y: cknna(x, y, k=2.0),
            "k must be a whole number of neighbours, at least 1; got 2.0",
        ),
        (
            lambda x, y: jaccard(x, y, metric="l1"),
            "metric must be one of 'cosine', 'euclidean'; got 'l1'",
        ),
        (
            lambda x, y: cknna(x, abs(y[:, :1])),
            "y gives no CKNNA: near datapoints lie in the centre of all, or all of them in one "
            "direction",
        ),
        (
            lambda x, y: rsa(x[:, :1], y),
            "x gives no dissimilarities to correlate: all 1225 pairs of its 50 datapoints are "
            "equally far apart",
        ),
        (
            lambda x, y: rsa(x[:2], y[:2]),
            "x gives no dissimilarities to correlate: all 1 pairs of its 2 datapoints are "
            "equally far apart",
        ),
    ],
)
def test_what_cannot_be_compared_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(*two_layers())


@pytest.mark.parametrize("measure", OF_ROWS)
def test_moments_hold_no_rows(measure):
    m = Moments()
    m.update(*two_layers())
    message = (
        f"{measure.__name__} needs the rows of the first layer of x, which Moments do not hold: "
        "give arrays, or a Reservoir of the stream"
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        measure(m)
    assert measure_of(measure).of_rows
    assert [MEASURES["cka"](kernel=k).of_rows for k in ("linear", "rbf")] == [False, True]


# --- a sample of a stream ----------------------------------------------------------------------


@settings(deadline=None, derandomize=True, database=None, max_examples=20)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(2, 30), st.integers(0, 9))
def test_a_reservoir_does_not_depend_on_batches(sizes, size, seed):
    n = sum(sizes)
    rows = np.arange(2.0 * n).reshape(n, 2)
    whole, parts, other = (Reservoir(size, seed) for _ in range(3))
    whole.update(rows)
    other.update(-rows[:, :1])
    for batch in np.split(rows, np.cumsum(sizes)[:-1]):
        parts.update(batch)
    np.testing.assert_array_equal(whole.x, parts.x)
    np.testing.assert_array_equal(whole.x[:, :1], -other.x)
    assert len(whole.x) == min(size, n)
    assert len(np.unique(whole.x[:, 0])) == len(whole.x)
    assert (whole.n, whole.paired, whole.y) == (n, False, None)


def test_every_row_is_kept_equally_often_of_one_stream_or_of_several():
    rows = np.arange(30.0)[:, None]
    one, merged = np.zeros(30), np.zeros(30)
    for seed in range(1500):
        whole, first, second = (Reservoir(6, s) for s in (seed, seed, 10**6 + seed))
        whole.update(rows)
        first.update(rows[:20])
        second.update(rows[20:])
        first.merge(second)
        one[whole.x[:, 0].astype(int)] += 1
        merged[first.x[:, 0].astype(int)] += 1
    for counts in (one, merged):
        assert scipy.stats.chisquare(counts).pvalue > 1e-4


def test_a_reservoir_is_taken_where_two_layers_are():
    x, y = two_layers(300)
    r = Reservoir(100)
    for rows in np.array_split(np.arange(300), 7):
        r.update(x[rows], y[rows])
    for measure in (*OF_ROWS, cka):
        found = measure(r)
        assert found.n == 100
        assert found.similarity == measure(r.x, r.y).similarity
    maps = np.random.default_rng(0).normal(size=(40, 2, 3, 3))
    spatial = Reservoir(30)
    spatial.update(torch.from_numpy(maps), torch.from_numpy(maps))
    assert dft_cca(spatial).similarity == pytest.approx(1)
    assert isinstance(spatial.x, torch.Tensor)
    again = pickle.loads(pickle.dumps(r))
    for each in (r, again):
        each.update(x, y)
    np.testing.assert_array_equal(r.x, again.x)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_reservoir_keeps_the_precision_of_its_rows(dtype):
    x = two_layers()[0].astype(dtype)
    r = Reservoir(10)
    r.update(x)
    assert r.x.dtype == dtype
    assert set(r.x[:, 0].tolist()) <= set(x[:, 0].tolist())
    r.x[...] = 0
    assert r.x.any()


def test_reservoirs_that_cannot_be_used_say_so():
    x, y = two_layers()
    single, empty, other = Reservoir(9), Reservoir(9), Reservoir(9, seed=1)
    single.update(x)
    other.update(x, y)
    cases = [
        (
            ValueError,
            lambda: Reservoir(1),
            "size must be a whole number of rows, at least 2; got 1",
        ),
        (
            ValueError,
            lambda: mutual_knn(single),
            "x must be a Reservoir of two layers (update(x, y)); it holds a single layer",
        ),
        (
            ValueError,
            lambda: mutual_knn(empty),
            "x must be a Reservoir of two layers (update(x, y)); it holds nothing",
        ),
        (
            ValueError,
            lambda: single.merge(empty),
            "rows of one seed are chosen together: give each worker its own; both have 0",
        ),
        (
            ValueError,
            lambda: single.merge(Reservoir(8, seed=2)),
            "both reservoirs must be of one size; got 9, 8",
        ),
        (TypeError, lambda: single.merge(x), "merge takes another Reservoir; got ndarray"),
        (
            ValueError,
            lambda: single.update(y),
            "expected layers of shapes [(6,)] as in the batches before; got [(4,)]",
        ),
    ]
    for error, call, message in cases:
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            call()
    assert repr(other) == "Reservoir(9 of 50 rows, layers of (6,), (4,))"
    assert repr(empty) == "Reservoir(empty, size=9)"
