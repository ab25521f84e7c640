"""Intervals: what they are made of, that they hold the truth, and when they are refused."""

import re
import warnings

import numpy as np
import pytest
import scipy.stats
import torch
from layers import images, related
from oracles import planted

from svcca_lib import (
    MEASURES,
    FourierSubspace,
    Moments,
    Subspace,
    bootstrap_interval,
    cca,
    channels_as_neurons,
    cka,
    image_of_row,
    linear_regression,
    svcca,
)
from svcca_lib.inference.extrapolation import Extrapolated
from svcca_lib.paper.experiments.interval_coverage import Layers, coverage, design

T95 = scipy.stats.t.ppf(0.975, 59)


def halves_of(n, pairs, seed):
    rng = np.random.default_rng(seed)
    for _ in range(pairs):
        order = rng.permutation(n)
        yield np.sort(order[: n // 2]), np.sort(order[n // 2 : n // 2 * 2])


def by_definition(x, y, measure, pairs=15, seed=4):
    n = len(x)
    found = np.array([[measure(x[h], y[h]) for h in pair] for pair in halves_of(n, pairs, seed)])
    bias = found.mean() - measure(x, y)
    spread = np.sqrt(np.mean((found[:, 0] - found[:, 1]) ** 2)) / 2
    wander = found.mean(1).std(ddof=1) * np.sqrt(1 + 1 / pairs)
    return found, bias, spread, wander


# --- what an interval is made of ---------------------------------------------------------------


def test_interval_reaches_from_one_law_to_the_other():
    x, y = related(signal=0.5)
    i = bootstrap_interval(x, y, "cca", n_resamples=30, seed=4)
    found, bias, spread, wander = by_definition(x, y, lambda a, b: cca(a, b).similarity)
    np.testing.assert_allclose(i.resampled, found.ravel(), atol=1e-12)
    step = 1 + np.sqrt(2)
    assert i.observed == pytest.approx(cca(x, y).similarity, rel=1e-12)
    assert i.high == pytest.approx(i.observed - bias + T95 * (spread + wander))
    low = i.observed - step * bias - T95 * (spread + step * wander)
    assert i.low == pytest.approx(max(low, 0))
    assert i.corrected == pytest.approx(i.observed - (1 + step) / 2 * bias)
    assert (i.measure, i.level) == ("cca", 0.95)


@pytest.mark.parametrize(
    ("name", "estimate"),
    [
        ("linear_regression", lambda a, b: linear_regression(a, b).similarity),
        ("cka", lambda a, b: cka(a, b, debiased=True).similarity),
    ],
)
def test_smooth_measures_have_one_law(name, estimate):
    x, y = related(p=3, q=3)
    i = bootstrap_interval(x, y, name, n_resamples=29, seed=4)  # in pairs: 30
    found, bias, spread, wander = by_definition(x, y, estimate)
    np.testing.assert_allclose(i.resampled, found.ravel(), atol=1e-12)
    middle = estimate(x, y) - bias
    assert i.corrected == pytest.approx(middle)
    assert i.low == pytest.approx(middle - T95 * (spread + wander))
    assert i.high == pytest.approx(middle + T95 * (spread + wander))
    assert i.observed == pytest.approx(MEASURES[name]().between(x, y).similarity, rel=1e-12)


def test_laws_end_where_they_should():
    # Of a number that is exactly 0.3 + a / n one law is right, of 0.3 + b / sqrt(n) the other.
    n = 101
    for power, law in ((1.0, 0), (0.5, 1)):
        whole, half = (0.3 + 0.8 / m**power for m in (n, n // 2))
        e = Extrapolated(whole, np.full((4, 2), half), ratio=n / (n // 2))
        assert e.values[law] == pytest.approx(0.3)
        assert e.bounds(2.0)[0] <= 0.3 + 1e-12
        assert e.bounds(2.0)[1] >= 0.3 - 1e-12


def test_an_odd_number_of_datapoints_leaves_one_out_of_each_pair():
    x, y = related(n=41, p=2, q=2)
    i = bootstrap_interval(x, y, "cca", n_resamples=10)
    halves = list(halves_of(41, 5, 0))
    expected = [cca(x[h], y[h]).similarity for pair in halves for h in pair]
    np.testing.assert_allclose(i.resampled, expected, atol=1e-12)
    bias = i.resampled.mean() - i.observed
    steps = 1 / (41 / 20 - 1), 1 / (np.sqrt(41 / 20) - 1)
    assert i.corrected == pytest.approx(i.observed - np.mean(steps) * bias, abs=1e-12)


def test_halves_are_cut_to_the_directions_of_all_datapoints():
    x, y = related(n=80)
    i = bootstrap_interval(x, y, n_resamples=6, keep=0.7, seed=4)
    whole = svcca(x, y, keep=0.7)
    assert 1 < whole.x_kept < 6
    (first, _), *_ = halves_of(80, 3, 4)
    bases = [np.linalg.svd(z[first] - z[first].mean(0), full_matrices=False)[0] for z in (x, y)]
    a, b = bases[0][:, : whole.x_kept], bases[1][:, : whole.y_kept]
    expected = np.linalg.svd(a.T @ b, compute_uv=False).mean()
    assert i.resampled[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("energy", ["variance", "singular_values"])
def test_every_cut_that_endless_data_may_make_is_covered(energy):
    # Four signals of which nine tenths are shared, in flat noise through which the cut goes.
    scales = np.r_[[3.0] * 4, [0.25] * 8]
    keep = 0.99 if energy == "variance" else 0.95
    x = np.vstack([np.diag(scales), np.zeros((12, 12))])
    rho = np.r_[[0.9] * 4, np.zeros(8)]
    y = np.vstack([np.diag(rho * scales), np.diag(np.sqrt(1 - rho**2) * scales)])
    power = 2 if energy == "variance" else 1
    held = np.cumsum(scales**power) / (scales**power).sum()
    k = int((held < keep).sum()) + 1
    truth = 4 * 0.9 / k
    rng = np.random.default_rng(3)
    fewer = hits = 0
    for seed in range(8):
        a, b = Layers(x, y).draw(120, rng)
        i = bootstrap_interval(a, b, n_resamples=20, keep=keep, energy=energy, seed=seed)
        fewer += svcca(a, b, keep=keep, energy=energy).x_kept < k
        hits += i.low <= truth <= i.high
    assert fewer >= 6  # a sample's leading directions hold too much
    assert hits == 8


# --- that it holds the truth -------------------------------------------------------------------


def buried(seed, n=1000, p=64):
    """32 signals mixed at random into 64 neurons with noise of their own, and what is true."""
    layers = design("buried", p)
    return layers.draw(n, np.random.default_rng((1, seed))), layers.similarity("svcca")


def test_the_truth_is_held_where_halves_about_the_observed_missed_it():
    hits = missed = 0
    for seed in range(2):
        (x, y), truth = buried(seed)
        i = bootstrap_interval(x, y, n_resamples=10, seed=seed)
        hits += i.low <= truth <= i.high
        # As it was: one law, the spread of halves, each with the cut of its own.
        rng = np.random.default_rng(seed)
        halves = [rng.choice(1000, 500, replace=False) for _ in range(10)]
        excess = np.array([svcca(x[h], y[h]).similarity for h in halves]) - i.observed
        missed += i.observed - np.quantile(excess, 0.975) > truth
        assert i.high - i.low < 0.2
    assert (hits, missed) == (2, 2)


def at_least_nine_of_ten(cells):
    """Each cell's hits are compatible with a coverage of 90 %, at one error in a thousand cells."""
    for cell in cells:
        fewest = scipy.stats.binom.ppf(0.001, cell.draws, 0.9)
        assert cell.refused == 0
        assert cell.covered * cell.draws >= fewest, cell


def test_cca_covers_in_a_cell_whose_correlations_are_half_zero():
    cells = coverage(["cca"], ["half"], [8], draws=25, n_resamples=10, neurons=8)
    at_least_nine_of_ten(cells)
    assert cells[0].observed > cells[0].truth + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["svcca", "cca", "cka", "procrustes", "linear_regression"])
@pytest.mark.parametrize("name", ["half", "many weak", "equal", "buried"])
def test_intervals_cover(measure, name):
    cells = coverage([measure], [name], [8, 20], draws=60, n_resamples=20, neurons=12, seed=1)
    at_least_nine_of_ten(cells)
    if name == "equal":  # the easy case: all correlations are clear
        assert cells[-1].width < 4 * cells[-1].ideal


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"mean_over": "weighted"}, {"mean_over": "smaller_layer"}])
def test_other_means_cover(options):
    layers, rng, hits = design("graded", 10), np.random.default_rng(0), 0
    rho, scales = np.linspace(0.95, 0, 10), 1 / np.arange(1, 11)
    kept = int((np.cumsum(scales) < 0.99 * scales.sum()).sum()) + 1
    weights = scales[:kept] if options["mean_over"] == "weighted" else np.r_[[0.1] * kept]
    truth = (weights * rho[:kept]).sum()
    if options["mean_over"] == "weighted":
        truth /= weights.sum()
    for seed in range(40):
        i = bootstrap_interval(*layers.draw(120, rng), n_resamples=20, seed=seed, **options)
        hits += i.low <= truth <= i.high
    assert hits >= scipy.stats.binom.ppf(0.001, 40, 0.9)


@pytest.mark.slow
def test_heavy_tails_are_covered():
    layers, rng, hits = design("half", 8), np.random.default_rng(0), 0
    truth = layers.similarity("cca")
    for seed in range(40):
        pair = layers.draw(120, rng)
        scale = np.sqrt(6 / rng.chisquare(6, size=(120, 1)))
        i = bootstrap_interval(*(z * scale for z in pair), "cca", n_resamples=20, seed=seed)
        hits += i.low <= truth <= i.high
    assert hits >= scipy.stats.binom.ppf(0.001, 40, 0.9)


@pytest.mark.slow
def test_rows_that_belong_together_are_covered_as_groups():
    # Four rows an image, which share all but a tenth of their variance.
    rng, rho, hits, single, runs = np.random.default_rng(0), np.r_[[0.8] * 3, [0.0] * 3], 0, 0, 40
    for seed in range(runs):
        x = rng.normal(size=(80, 6))
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=(80, 6))
        x, y = (np.repeat(z, 4, 0) + np.sqrt(1 / 9) * rng.normal(size=(320, 6)) for z in (x, y))
        groups = np.repeat(np.arange(80), 4)
        i = bootstrap_interval(x, y, "cca", n_resamples=20, groups=groups, seed=seed)
        hits += i.low <= 0.9 * rho.mean() <= i.high
        i = bootstrap_interval(x, y, "linear_regression", n_resamples=20, seed=seed)
        single += i.low <= (0.9 * rho**2).mean() * 0.9 <= i.high
    assert hits >= scipy.stats.binom.ppf(0.001, runs, 0.9)
    assert single < scipy.stats.binom.ppf(0.001, runs, 0.9)  # counted one by one they mislead


@pytest.mark.slow
def test_the_ordinary_bootstrap_misses_where_halves_do_not():
    # Three of six correlations are zero: copies of rows push the percentile interval off.
    truth, hits, misses = 0.3, 0, 0
    for seed in range(10):
        x, y = planted(np.random.default_rng(seed), 300, [0.9, 0.6, 0.3], 6, 6)
        i = bootstrap_interval(x, y, "cca", n_resamples=40)
        hits += i.low <= truth <= i.high
        rng = np.random.default_rng(seed)
        copies = [cca(x[rows], y[rows]).similarity for rows in rng.integers(0, 300, size=(40, 300))]
        misses += np.quantile(copies, 0.025) > truth
    assert misses >= 9
    assert hits >= 9


def test_a_higher_level_is_wider():
    x, y = related(n=100)
    narrow, wide = (bootstrap_interval(x, y, n_resamples=20, level=level) for level in (0.8, 0.99))
    assert wide.low <= narrow.low < narrow.high <= wide.high
    assert wide.high - wide.low > narrow.high - narrow.low
    np.testing.assert_array_equal(wide.resampled, narrow.resampled)


def test_groups_are_resampled_whole_and_widen_the_interval():
    a = images(10)
    b = a + images(11)
    x, y = channels_as_neurons(a), channels_as_neurons(b)
    by_pixel = bootstrap_interval(x, y, "cka", n_resamples=20)
    by_image = bootstrap_interval(x, y, "cka", n_resamples=20, groups=image_of_row(a))
    assert by_image.high - by_image.low > 3 * (by_pixel.high - by_pixel.low)


def test_interval_of_a_layer_with_itself_is_one():
    x, _ = related()
    for measure in ("cca", "svcca", "procrustes", "cka", "linear_regression"):
        i = bootstrap_interval(x, x, measure, n_resamples=10)
        assert i.low == pytest.approx(1, abs=1e-9)
        assert i.high == pytest.approx(1, abs=1e-9)
        assert i.high <= 1


def test_interval_stays_in_the_range_of_the_measure():
    x, y = related(n=12, p=2, q=2, signal=0.0)
    i = bootstrap_interval(x, y, "cka", n_resamples=50)
    assert 0 <= i.low <= i.corrected <= i.high <= 1
    # An unbiased estimate may be negative, and its interval with it.
    i = bootstrap_interval(x, y, "cka", n_resamples=50, debiased=True)
    assert i.observed < 0
    assert i.low <= i.observed <= 0 <= i.high


def test_interval_takes_torch_and_maps_and_warns_of_nothing():
    x, y = related()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a = bootstrap_interval(x, y, n_resamples=6)
        b = bootstrap_interval(torch.from_numpy(x), torch.from_numpy(y), n_resamples=6)
        c = bootstrap_interval(torch.from_numpy(x).requires_grad_(), y, n_resamples=6)
        maps = bootstrap_interval(images(1), images(2), "dft_cca", n_resamples=3)
    assert isinstance(b.resampled, torch.Tensor)
    np.testing.assert_array_equal(a.resampled, b.resampled.numpy())
    assert a.low == b.low == c.low
    assert maps.high < 1
    assert bootstrap_interval(x, y, "cka", kernel="rbf", n_resamples=4).high <= 1


# --- when it is refused ------------------------------------------------------------------------

X, Y = related()


def streamed():
    moments = Moments()
    moments.update(X, Y)
    return moments


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
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
            lambda: bootstrap_interval(FourierSubspace.fit(images(1)), images(2), "dft_cca"),
            TypeError,
            "x must be an array: each half is decomposed anew; got FourierSubspace",
        ),
        (
            lambda: bootstrap_interval(streamed(), Y),
            TypeError,
            "x must be an array: each half is decomposed anew; got Moments, which hold no rows",
        ),
        (
            lambda: bootstrap_interval(X, Y[:50]),
            ValueError,
            "x and y must be responses to the same datapoints, row by row; "
            "got 60 rows in x and 50 in y",
        ),
        (
            lambda: bootstrap_interval(X, Y, groups=np.arange(60) // 20),
            ValueError,
            "an interval needs at least 8 datapoints or groups; got 3",
        ),
        (
            lambda: bootstrap_interval(X[:39], Y[:39], "cca"),
            ValueError,
            "39 datapoints or groups are too few for an interval of cca that covers: its 10 "
            "directions of both layers take 4 each, 40; give more, keep fewer directions (svcca "
            "with a lower keep), or use cka, which needs no such number",
        ),
        (
            lambda: bootstrap_interval(X, Y, "cca", groups=np.arange(60) // 2),
            ValueError,
            "30 datapoints or groups are too few for an interval of cca that covers: its 10 "
            "directions of both layers take 4 each, 40; give more, keep fewer directions (svcca "
            "with a lower keep), or use cka, which needs no such number",
        ),
        (
            lambda: bootstrap_interval(X, Y, "pwcca"),
            ValueError,
            "no interval of pwcca is known to cover (it weighs by single directions, which no "
            "usual sample tells apart); use one of cca, svcca, linear_regression, cka, "
            "procrustes, dft_cca",
        ),
        (
            lambda: bootstrap_interval(images(1), images(2), "dft_cca", keep=0.9),
            ValueError,
            "no interval of dft_cca with a cut is known to cover: use keep=1 (got 0.9), or svcca "
            "of channels_as_neurons or pixels_as_neurons",
        ),
        (
            lambda: bootstrap_interval(X, Y, "cca", keep=0.5),
            TypeError,
            "cca takes the options squared, precision; got 'keep'",
        ),
    ],
)
def test_bad_input_gets_one_clear_sentence(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize("measure", ["svcca", "procrustes", "linear_regression", "dft_cca"])
def test_too_few_datapoints_are_refused_by_every_measure_that_needs_them(measure):
    shape = (30, 8, 2, 2) if measure == "dft_cca" else (30, 8)
    x, y = np.random.default_rng(0).normal(size=(2, *shape))
    with pytest.raises(ValueError, match=f"too few for an interval of {measure} that covers"):
        bootstrap_interval(x, y, measure)
    # CKA's estimate is unbiased at any width.
    assert bootstrap_interval(x.reshape(30, -1), y.reshape(30, -1), "cka", n_resamples=4).low == 0


def test_result_is_frozen():
    with pytest.raises(AttributeError):
        bootstrap_interval(X, Y, n_resamples=2).low = 1
