"""Is y nearer to x than z is: calibrated where it is not, seen where it is."""

import re

import numpy as np
import pytest
import scipy.stats
import torch
from layers import related

from svcca_lib import (
    Moments,
    Subspace,
    cca,
    cka,
    difference_test,
    paired_difference,
)


def three(rng, n, to_y, to_z):
    """A layer and two others whose correlations with it are `to_y` and `to_z`, neuron by neuron."""
    to_y, to_z = np.asarray(to_y), np.asarray(to_z)
    x = rng.normal(size=(n, len(to_y)))
    return (x, *(r * x + np.sqrt(1 - r**2) * rng.normal(size=x.shape) for r in (to_y, to_z)))


def rejected(trials, level=0.05):
    return int(sum(t.p_value <= level for t in trials))


# --- over datapoints ---------------------------------------------------------------------------


def test_exchanging_the_layers_changes_the_sign():
    x, y, z = three(np.random.default_rng(0), 80, [0.9] * 4, [0.5] * 4)
    a, b = (difference_test(x, *pair, "cca", n_resamples=20) for pair in ((y, z), (z, y)))
    assert a.similarities == pytest.approx(b.similarities[::-1], abs=1e-12)
    alone = cca(x, y).similarity, cca(x, z).similarity
    assert a.similarities == pytest.approx(alone, abs=1e-12)
    assert a.difference == pytest.approx(-b.difference, abs=1e-12)
    assert (a.low, a.high) == pytest.approx((-b.high, -b.low), abs=1e-12)
    assert a.p_value == pytest.approx(b.p_value, rel=1e-9)
    assert a.low < a.difference < a.high
    assert (a.measure, a.level, a.n) == ("cca", 0.95, 80)


@pytest.mark.parametrize("measure", ["svcca", "cka", "procrustes", "linear_regression"])
def test_a_difference_is_seen_and_no_difference_is_none(measure):
    x, y, z = three(np.random.default_rng(1), 150, [0.9] * 5, [0.6] * 5)
    seen = difference_test(x, y, z, measure, n_resamples=20)
    assert seen.p_value < 0.001
    assert 0 < seen.low < seen.high
    none = difference_test(x, y, y, measure, n_resamples=20)
    assert (none.difference, none.low, none.high, none.p_value) == (0, 0, 0, 1)


def test_p_value_and_interval_tell_the_same():
    rng = np.random.default_rng(2)
    for _ in range(12):
        t = difference_test(*three(rng, 80, [0.7] * 3, [0.55] * 3), "cca", n_resamples=12)
        assert (t.p_value < 0.05) == (t.low > 0 or t.high < 0)


def test_cka_of_equally_near_layers_is_calibrated():
    rng = np.random.default_rng(3)
    trials = [
        difference_test(*three(rng, 60, [0.6] * 3, [0.6] * 3), "cka", n_resamples=8)
        for _ in range(60)
    ]
    assert rejected(trials) <= scipy.stats.binom.ppf(0.999, 60, 0.05)
    assert rejected(trials, 0.5) >= scipy.stats.binom.ppf(0.001, 60, 0.3)  # and not for idleness


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["svcca", "cca", "cka"])
@pytest.mark.parametrize("rho", [[0.6] * 6, [0.8] * 3 + [0.0] * 3, [0.0] * 6])
def test_equally_near_layers_are_calibrated(measure, rho):
    rng, runs = np.random.default_rng(4), 100
    trials = [
        difference_test(*three(rng, 120, rho, rho), measure, n_resamples=20) for _ in range(runs)
    ]
    assert rejected(trials) <= scipy.stats.binom.ppf(0.999, runs, 0.05)
    assert rejected(trials, 0.5) >= scipy.stats.binom.ppf(0.001, runs, 0.25)


@pytest.mark.slow
def test_a_difference_is_covered_and_found():
    rng, runs = np.random.default_rng(5), 60
    for to_y, to_z, power in (
        ([0.7] * 6, [0.5] * 6, 0.9),
        # Of one mean but not of one bias: nothing to be found.
        ([0.8] * 3 + [0.0] * 3, [0.4] * 6, 0.0),
    ):
        truth = np.mean(to_y) - np.mean(to_z)
        trials = [
            difference_test(*three(rng, 150, to_y, to_z), "cca", n_resamples=20)
            for _ in range(runs)
        ]
        held = sum(t.low <= truth <= t.high for t in trials)
        assert held >= scipy.stats.binom.ppf(0.001, runs, 0.9)
        if power:
            assert rejected(trials) >= power * runs
        else:
            assert rejected(trials) <= scipy.stats.binom.ppf(0.999, runs, 0.05)


def test_groups_are_drawn_whole():
    x, y, z = three(np.random.default_rng(6), 40, [0.9] * 2, [0.7] * 2)
    twice = [np.repeat(layer, 6, axis=0) for layer in (x, y, z)]
    groups = np.repeat(np.arange(40), 6)
    once = difference_test(x, y, z, "cca", n_resamples=10)
    grouped = difference_test(*twice, "cca", n_resamples=10, groups=groups)
    single = difference_test(*twice, "cca", n_resamples=10)
    # Copies of a row say nothing new, and as groups they do not count as such.
    assert grouped.difference == pytest.approx(once.difference, abs=1e-9)
    assert grouped.p_value == pytest.approx(once.p_value, rel=1e-6)
    assert grouped.n == 40
    assert single.p_value < once.p_value


# --- over seeds --------------------------------------------------------------------------------


def test_seeds_are_tested_by_students_t():
    rng = np.random.default_rng(7)
    seeds = [three(rng, 100, [0.7] * 3, [0.6] * 3) for _ in range(5)]
    xs, ys, zs = (list(layers) for layers in zip(*seeds, strict=True))
    t = difference_test(xs, ys, zs, "cka", debiased=True)
    a, b = (
        [cka(x, o, debiased=True).similarity for x, o in zip(xs, others, strict=True)]
        for others in (ys, zs)
    )
    expected = scipy.stats.ttest_rel(a, b)
    assert t.p_value == pytest.approx(expected.pvalue)
    assert (t.low, t.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert t.similarities == pytest.approx((np.mean(a), np.mean(b)))
    assert (t.measure, t.n) == ("cka", 5)
    assert paired_difference(a, b).p_value == t.p_value


def test_pairs_of_one_number_are_no_difference_and_of_one_step_a_certain_one():
    assert paired_difference([0.5, 0.6], [0.5, 0.6]).p_value == 1
    t = paired_difference(np.array([1.0, 2.0]), np.array([0.5, 1.5]))
    assert (t.difference, t.low, t.high, t.p_value) == (0.5, 0.5, 0.5, 0)


def test_null_pairs_are_uniform():
    rng = np.random.default_rng(8)
    p = [paired_difference(*rng.normal(size=(2, 4))).p_value for _ in range(400)]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.001


# --- bad input ---------------------------------------------------------------------------------

X, Y = related()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: difference_test(X, [Y], Y),
            TypeError,
            "x, y and z must be three arrays, or three lists with one layer a seed; got ndarray, "
            "list, ndarray",
        ),
        (
            lambda: difference_test([X], [Y, Y], [Y]),
            ValueError,
            "x, y and z must hold one layer a seed each; got 1, 2 and 1",
        ),
        (
            lambda: difference_test([X], [Y], [Y]),
            ValueError,
            "expected two equally long lists of at least 2 numbers, one a seed; got shapes (1,) "
            "and (1,)",
        ),
        (
            lambda: difference_test([X, X], [Y, Y], [Y, Y], groups=np.arange(60)),
            ValueError,
            "groups are of datapoints: a test over seeds draws none of them",
        ),
        (
            lambda: difference_test(X, Y, Y, level=2),
            ValueError,
            "level must be a coverage in (0, 1), such as 0.95; got 2",
        ),
        (
            lambda: difference_test(X, Y, Moments()),
            TypeError,
            "z must be an array: each half is decomposed anew; got Moments, which hold no rows",
        ),
        (
            lambda: difference_test(X, Subspace.fit(Y), Y),
            TypeError,
            "y must be an array: each half is decomposed anew; got Subspace",
        ),
        (
            lambda: paired_difference([1.0, 2.0], [1.0]),
            ValueError,
            "expected two equally long lists of at least 2 numbers, one a seed; got shapes (2,) "
            "and (1,)",
        ),
        (
            lambda: paired_difference([1.0, np.nan], [1.0, 2.0]),
            ValueError,
            "expected finite numbers, one a seed; got a NaN or an infinity",
        ),
    ],
)
def test_bad_input_gets_one_clear_sentence(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


def test_takes_torch_and_refuses_pwcca():
    x, y = map(torch.from_numpy, related())
    expected = difference_test(X, Y, Y[:, ::-1] + X[:, :4], "cka", n_resamples=4)
    found = difference_test(x, y, y.flip(1) + x[:, :4], "cka", n_resamples=4)
    assert found.p_value == pytest.approx(expected.p_value)
    with pytest.raises(ValueError, match="no interval of pwcca is known to cover"):
        difference_test(X, Y, Y, "pwcca")
