"""Chance, held-out data and intervals: each answers on data whose answer is known."""

import re
import warnings

import numpy as np
import pytest
import torch
from oracles import planted

from svcca_lib import (
    MEASURES,
    SampleSizeWarning,
    Subspace,
    bootstrap_interval,
    cca,
    chance_correlation,
    channels_as_neurons,
    held_out_cca,
    image_of_row,
    pairwise,
    permutation_test,
    svcca,
)
from svcca_lib import subspace as subspace_module
from svcca_lib.subspace import decompose

MATRIX_MEASURES = sorted(set(MEASURES) - {"dft_cca"})


def related(seed=0, n=60, p=6, q=4, signal=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) + 2.0
    return x, signal * x[:, :q] + rng.normal(size=(n, q))


def exactly(message):
    return f"^{re.escape(message)}$"


# --- permutation test --------------------------------------------------------------------------


@pytest.mark.parametrize("measure", MATRIX_MEASURES)
def test_null_is_the_similarity_of_shuffled_layers(measure):
    x, y = related()
    test = permutation_test(x, y, measure, n_permutations=20, seed=3)
    rng = np.random.default_rng(3)
    rows = np.arange(60)[:, None]
    expected = [pairwise([x], [y[rng.permutation(rows)[:, 0]]], measure)[0, 0] for _ in range(20)]
    np.testing.assert_allclose(test.null, expected, atol=1e-9)
    assert test.observed == pytest.approx(pairwise([x], [y], measure)[0, 0], rel=1e-12)
    assert test.chance == pytest.approx(np.mean(expected), abs=1e-9)
    assert test.measure == measure


@pytest.mark.parametrize("options", [{"kernel": "rbf"}, {"debiased": True}])
def test_null_takes_the_options_of_the_measure(options):
    x, y = related()
    test = permutation_test(x, y, "cka", n_permutations=5, seed=3, **options)
    rng = np.random.default_rng(3)
    rows = np.arange(60)[:, None]
    shuffled = [y[rng.permutation(rows)[:, 0]] for _ in range(5)]
    expected = [pairwise([x], [z], "cka", **options)[0, 0] for z in shuffled]
    np.testing.assert_allclose(test.null, expected, atol=1e-9)


def test_p_value_counts_the_observed_order_itself():
    x, y = related(signal=5.0)
    assert permutation_test(x, y, n_permutations=19).p_value == 1 / 20
    # Orders no better than chance: a p-value of one half or so, and by the definition.
    x, y = related(signal=0.0)
    test = permutation_test(x, y, n_permutations=99)
    assert test.p_value == (1 + (test.null >= test.observed).sum()) / 100
    assert 0.02 < test.p_value < 1


def test_p_values_of_independent_layers_are_uniform():
    p = [
        permutation_test(*related(seed, n=25, p=2, q=2, signal=0.0), n_permutations=39).p_value
        for seed in range(100)
    ]
    for level in (0.1, 0.25, 0.5, 0.75):
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=0.13)


def test_chance_agrees_with_the_closed_form():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(200, 20)), rng.normal(size=(200, 20))
    test = permutation_test(x, y, "cca", n_permutations=50)
    assert test.chance == pytest.approx(chance_correlation(20, 20, 200), abs=0.01)


@pytest.mark.filterwarnings("ignore::svcca_lib.SampleSizeWarning")
def test_fewer_datapoints_than_neurons_prove_nothing():
    # Every order gives 1 up to rounding, which must not decide.
    x, y = related(n=10, p=12, q=12)
    test = permutation_test(x, y, "cca", n_permutations=49)
    assert test.observed == pytest.approx(1, abs=1e-9)
    assert test.p_value == 1
    test = permutation_test(x, y, "cca", n_permutations=49, precision="float32")
    assert test.p_value == 1


def test_warns_of_few_datapoints_once():
    x, y = related(n=10, p=12, q=3)
    with pytest.warns(SampleSizeWarning) as caught:
        permutation_test(x, y, n_permutations=5)
    assert len(caught) == 1


def test_layers_are_decomposed_once(monkeypatch):
    fits = []
    monkeypatch.setattr(subspace_module, "decompose", lambda *a: fits.append(1) or decompose(*a))
    permutation_test(*related(), n_permutations=10)
    assert len(fits) == 2


def test_takes_subspaces_and_torch():
    x, y = related()
    expected = permutation_test(x, y, n_permutations=9)
    for pair in (
        (Subspace.fit(x), Subspace.fit(y)),
        (torch.from_numpy(x), torch.from_numpy(y)),
        (Subspace.fit(torch.from_numpy(x)), y),
    ):
        test = permutation_test(*pair, n_permutations=9)
        np.testing.assert_allclose(np.asarray(test.null), expected.null, atol=1e-12)
        numpy = isinstance(pair[0], Subspace) and pair[0].numpy
        assert isinstance(test.null, np.ndarray if numpy else torch.Tensor)


def test_the_same_seed_gives_the_same_answer_and_another_another():
    x, y = related()
    a, b, c = (permutation_test(x, y, n_permutations=9, seed=s).null for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_whole_groups_trade_places_with_others_of_their_size(monkeypatch):
    labels = np.array(["b", "a", "b", "c", "a", "d", "e"])  # pairs a, b; singles c, d, e
    orders = []
    monkeypatch.setattr(
        Subspace, "reordered", lambda self, order: orders.append(order.numpy().copy()) or self
    )
    x, y = related(n=7, p=2, q=2)
    permutation_test(x, y, n_permutations=200, groups=labels)
    seen = set()
    for order in orders:
        assert sorted(order) == list(range(7))
        pairs = tuple(order[[0, 2]]), tuple(order[[1, 4]])
        # Rows keep their order within a group, and pairs only take the place of pairs.
        assert set(pairs) == {(0, 2), (1, 4)}
        assert set(order[[3, 5, 6]]) == {3, 5, 6}
        seen.add(tuple(order))
    assert len(seen) == 2 * 6


def images(seed, n=40, size=6, channels=4):
    """Maps whose neighbouring pixels agree: each image has one random level per channel."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(size=(n, channels, 1, 1))
    return levels + 0.1 * rng.normal(size=(n, channels, size, size))


def test_shuffling_pixels_finds_similarity_where_there_is_none_and_images_do_not():
    a, b = images(1), images(2)
    x, y = channels_as_neurons(a), channels_as_neurons(b)
    by_pixel = permutation_test(x, y, n_permutations=39)
    by_image = permutation_test(x, y, n_permutations=39, groups=image_of_row(a))
    assert by_pixel.p_value == 1 / 40
    assert by_image.p_value > 0.1
    assert by_pixel.chance < 0.06 < by_image.chance
    assert by_pixel.chance == pytest.approx(svcca(x, y).chance, abs=0.01)
    assert by_image.chance == pytest.approx(chance_correlation(4, 4, 40), abs=0.05)


def test_shuffles_the_images_of_convolutional_measures():
    a = images(3)
    rng = np.random.default_rng(4)
    mixed = np.einsum("nchw,cd->ndhw", a, rng.normal(size=(4, 4)))
    test = permutation_test(a, mixed, "dft_cca", n_permutations=9)
    assert test.observed == pytest.approx(1, abs=1e-6)
    assert test.p_value == 0.1


# --- held-out CCA ------------------------------------------------------------------------------


def test_what_cca_finds_in_noise_is_gone_on_held_out_data():
    rng = np.random.default_rng(5)
    runs = []
    for _ in range(10):
        x, y = rng.normal(size=(500, 50)), rng.normal(size=(500, 50))
        assert cca(x, y).similarity == pytest.approx(0.27, abs=0.02)
        runs.append(held_out_cca(x, y))
    assert np.mean([r.fitted for r in runs]) == pytest.approx(0.305, abs=0.02)
    assert abs(np.mean([r.similarity for r in runs])) < 0.01
    assert max(abs(r.similarity) for r in runs) < 0.03


def test_planted_correlations_survive_on_held_out_data():
    rhos = [0.9, 0.6, 0.3]
    x, y = planted(np.random.default_rng(6), 5000, rhos, 3, 3)
    r = held_out_cca(x, y)
    np.testing.assert_allclose(r.correlations, rhos, atol=0.03)
    assert r.similarity == pytest.approx(0.6, abs=0.02)
    assert r.similarity <= r.fitted + 0.01


@pytest.mark.parametrize("keep", [1.0, 0.7])
def test_held_out_correlations_are_those_of_the_definition(keep):
    x, y = related(n=50)
    r = held_out_cca(x, y, keep=keep, folds=4, seed=2)
    parts = np.array_split(np.random.default_rng(2).permutation(50), 4)
    rhos, fitted = [], []
    for test in parts:
        train = np.setdiff1d(np.arange(50), test)
        fit = svcca(x[train], y[train], keep=keep)
        hx, hy = x[test] @ fit.x_weights, y[test] @ fit.y_weights
        rhos.append([np.corrcoef(a, b)[0, 1] for a, b in zip(hx.T, hy.T, strict=True)])
        fitted.append(fit.similarity)
    k = min(len(rho) for rho in rhos)
    np.testing.assert_allclose(r.folds, [np.mean(rho) for rho in rhos], atol=1e-10)
    np.testing.assert_allclose(
        r.correlations, np.mean([rho[:k] for rho in rhos], axis=0), atol=1e-10
    )
    assert r.similarity == pytest.approx(np.mean(r.folds), abs=1e-12)
    assert r.fitted == pytest.approx(np.mean(fitted), abs=1e-12)


def test_groups_are_held_out_whole():
    # Pixels of one image on both sides of the split would let noise generalise.
    a, b = images(7, channels=12), images(8, channels=12)
    x, y = channels_as_neurons(a), channels_as_neurons(b)
    by_pixel, by_image = held_out_cca(x, y), held_out_cca(x, y, groups=image_of_row(a))
    assert by_pixel.similarity > 0.3
    assert abs(by_image.similarity) < 0.1


def test_fewer_datapoints_than_neurons_do_not_generalise_and_do_not_warn():
    rng = np.random.default_rng(9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        r = held_out_cca(rng.normal(size=(40, 50)), rng.normal(size=(40, 50)))
    assert r.fitted == pytest.approx(1, abs=1e-6)
    assert abs(r.similarity) < 0.1


def test_a_layer_silent_on_a_fold_predicts_nothing_there():
    x = np.random.default_rng(10).normal(size=(12, 1))
    silent = np.arange(12) // 4 == 1
    x[silent] = 0.0
    r = held_out_cca(x, x + 0.0, folds=3, groups=np.arange(12) // 4)
    np.testing.assert_allclose(sorted(r.folds), [0, 1, 1], atol=1e-12)


def test_held_out_numpy_in_numpy_out_torch_in_torch_out():
    x, y = related()
    a, b = held_out_cca(x, y), held_out_cca(torch.from_numpy(x), torch.from_numpy(y))
    assert a.similarity == b.similarity
    assert isinstance(a.folds, np.ndarray)
    assert isinstance(a.correlations, np.ndarray)
    assert isinstance(b.folds, torch.Tensor)
    assert isinstance(b.correlations, torch.Tensor)
    assert a.folds.shape == (5,)
    assert not np.array_equal(a.folds, held_out_cca(x, y, seed=1).folds)
    low = held_out_cca(x, y, precision="float32")
    assert low.folds.dtype == np.float32
    assert low.similarity == pytest.approx(a.similarity, abs=1e-3)
    by_value = held_out_cca(x, y, keep=0.9, energy="singular_values")
    assert by_value.similarity != held_out_cca(x, y, keep=0.9).similarity


# --- interval ----------------------------------------------------------------------------------


def test_interval_is_made_of_halves():
    x, y = related()
    i = bootstrap_interval(x, y, "svcca", n_resamples=30, seed=4, keep=0.9, level=0.8)
    rng = np.random.default_rng(4)
    halves = [np.sort(rng.choice(60, 30, replace=False)) for _ in range(30)]
    expected = [svcca(x[h], y[h], keep=0.9).similarity for h in halves]
    np.testing.assert_allclose(i.resampled, expected, atol=1e-12)
    assert i.observed == svcca(x, y, keep=0.9).similarity
    low, high = 2 * i.observed - np.quantile(expected, [0.9, 0.1])
    assert i.low == pytest.approx(low)
    assert i.high == pytest.approx(min(high, 1))
    assert i.corrected == pytest.approx(2 * i.observed - np.mean(expected))
    assert (i.measure, i.level) == ("svcca", 0.8)


def test_an_odd_number_of_datapoints_is_corrected_for_its_smaller_half():
    x, y = related(n=31, p=2, q=2)
    i = bootstrap_interval(x, y, "cca", n_resamples=10)
    expected = i.observed - (i.resampled.mean() - i.observed) * np.sqrt(15 / 16)
    assert i.corrected == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_interval_covers_planted_correlations():
    truth, hits, runs = 0.6, 0, 40
    for seed in range(runs):
        x, y = planted(np.random.default_rng(seed), 200, [0.8, 0.4], 2, 2)
        i = bootstrap_interval(x, y, "cca", n_resamples=40, seed=seed)
        assert i.low < i.observed < i.high
        hits += i.low <= truth <= i.high
    assert 0.8 <= hits / runs < 1


@pytest.mark.slow
def test_the_ordinary_bootstrap_misses_where_halves_correct():
    # Three of six correlations are zero: copies of rows push the percentile interval off.
    truth, corrected, observed, misses = 0.3, [], [], 0
    for seed in range(10):
        x, y = planted(np.random.default_rng(seed), 300, [0.9, 0.6, 0.3], 6, 6)
        i = bootstrap_interval(x, y, "cca", n_resamples=40)
        corrected.append(i.corrected - truth)
        observed.append(i.observed - truth)
        rng = np.random.default_rng(seed)
        copies = [cca(x[rows], y[rows]).similarity for rows in rng.integers(0, 300, size=(40, 300))]
        misses += np.quantile(copies, 0.025) > truth
    assert misses >= 9
    assert np.mean(corrected) < 0.65 * np.mean(observed)


def test_groups_are_resampled_whole_and_widen_the_interval():
    a = images(10, n=30)
    b = a + images(11, n=30)
    x, y = channels_as_neurons(a), channels_as_neurons(b)
    by_pixel = bootstrap_interval(x, y, n_resamples=30)
    by_image = bootstrap_interval(x, y, n_resamples=30, groups=image_of_row(a))
    assert by_image.high - by_image.low > 3 * (by_pixel.high - by_pixel.low)


def test_interval_of_a_layer_with_itself_is_one():
    x, _ = related()
    i = bootstrap_interval(x, x, "cca", n_resamples=10)
    assert i.low == pytest.approx(1, abs=1e-9)
    assert i.high == pytest.approx(1, abs=1e-9)
    assert i.high <= 1


def test_interval_stays_in_the_range_of_the_measure():
    x, y = related(n=12, p=2, q=2, signal=0.0)
    i = bootstrap_interval(x, y, "cka", n_resamples=50)
    assert 0 <= i.low <= i.high <= 1
    # An unbiased estimate may be negative, and its interval with it.
    i = bootstrap_interval(x, y, "cka", n_resamples=50, debiased=True)
    assert i.observed < 0
    assert i.low <= i.observed


def test_interval_takes_torch_and_maps():
    x, y = related()
    a = bootstrap_interval(x, y, n_resamples=5)
    b = bootstrap_interval(torch.from_numpy(x), torch.from_numpy(y), n_resamples=5)
    assert isinstance(b.resampled, torch.Tensor)
    np.testing.assert_array_equal(a.resampled, b.resampled.numpy())
    assert a.low == b.low
    assert bootstrap_interval(images(1), images(2), "dft_cca", n_resamples=3).high < 1


def test_warns_when_half_of_the_datapoints_are_too_few():
    x, y = related(n=20, p=12, q=2)
    with pytest.warns(SampleSizeWarning, match=r"^10 datapoints for a layer of 12 neurons"):
        bootstrap_interval(x, y, n_resamples=3)


# --- bad input ---------------------------------------------------------------------------------

X, Y = related()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: permutation_test(X, Y, n_permutations=0),
            ValueError,
            "n_permutations must be a whole number of at least 1; got 0",
        ),
        (
            lambda: permutation_test(X, Y, n_permutations=9.5),
            ValueError,
            "n_permutations must be a whole number of at least 1; got 9.5",
        ),
        (
            lambda: permutation_test(X, Y, n_permutations=True),
            ValueError,
            "n_permutations must be a whole number of at least 1; got True",
        ),
        (
            lambda: permutation_test(X, Y, groups=[0, 1]),
            ValueError,
            "groups must hold one label for each of 60 rows; got (2,)",
        ),
        (
            lambda: permutation_test(X, Y, groups=torch.zeros(60)),
            ValueError,
            "groups can only trade places with others of their size; no two of 1 have the same",
        ),
        (
            lambda: permutation_test(X, Y, "cca", keep=0.5),
            TypeError,
            "cca takes the options precision; got 'keep'",
        ),
        (
            lambda: permutation_test(X, Y[:9]),
            ValueError,
            "x and y must be responses to the same datapoints, row by row; "
            "got 60 rows in x and 9 in y",
        ),
        (
            lambda: held_out_cca(X, Y[:9]),
            ValueError,
            "x and y must be responses to the same datapoints, row by row; "
            "got 60 rows in x and 9 in y",
        ),
        (
            lambda: held_out_cca(X, Y, folds=1),
            ValueError,
            "folds must be a whole number of at least 2; got 1",
        ),
        (
            lambda: held_out_cca(X, Y, folds=21),
            ValueError,
            "each fold needs at least 3 datapoints; folds=21 leaves 2 of 60 rows in 60 groups",
        ),
        (
            lambda: held_out_cca(X, Y, groups=np.arange(60) // 20),
            ValueError,
            "each fold needs at least 3 datapoints; folds=5 leaves 0 of 60 rows in 3 groups",
        ),
        (
            lambda: held_out_cca(X, Y[0]),
            ValueError,
            "y must be 2-D; got shape (4,); reshape it to (datapoints, neurons)",
        ),
        (
            lambda: bootstrap_interval(X, Y, level=95),
            ValueError,
            "level must be a coverage in (0, 1), such as 0.95; got 95",
        ),
        (
            lambda: bootstrap_interval(X, Y, n_resamples=1),
            ValueError,
            "n_resamples must be a whole number of at least 2; got 1",
        ),
        (
            lambda: bootstrap_interval(X, Subspace.fit(Y)),
            TypeError,
            "y must be an array: each half is decomposed anew; got Subspace",
        ),
        (
            lambda: bootstrap_interval(X, Y, groups=np.arange(60) // 20),
            ValueError,
            "halves need at least 4 datapoints or groups; got 3",
        ),
    ],
)
def test_bad_input_gets_one_clear_sentence(call, error, message):
    with pytest.raises(error, match=exactly(message)):
        call()


def test_results_are_frozen():
    x, y = related()
    for result in (
        permutation_test(x, y, n_permutations=2),
        held_out_cca(x, y),
        bootstrap_interval(x, y, n_resamples=2),
    ):
        with pytest.raises(AttributeError):
            result.similarity = 1


def test_groups_of_any_label_type_are_one():
    x, y = related()
    integers = np.arange(60) // 3
    expected = permutation_test(x, y, n_permutations=3, groups=integers).null
    for labels in (
        integers.tolist(),
        torch.from_numpy(integers),
        [f"image {i:02d}" for i in integers],
    ):
        null = permutation_test(x, y, n_permutations=3, groups=labels).null
        np.testing.assert_array_equal(null, expected)
