"""The measures against independent routes, closed forms, planted answers and their own claims."""

import itertools
import re
import warnings

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from oracles import (
    cca_by_qr,
    centred,
    hsic_biased,
    hsic_unbiased,
    layer,
    orthonormal,
    planted,
    pwcca_by_definition,
    svcca_by_svd,
)

import svcca_lib
from svcca_lib import (
    MEASURES,
    Moments,
    SampleSizeWarning,
    Subspace,
    cca,
    chance_correlation,
    cka,
    linear_regression,
    pairwise,
    procrustes,
    pwcca,
    svcca,
)
from svcca_lib import subspace as subspace_module
from svcca_lib.chance import corner_of_rotation
from svcca_lib.subspace import decompose

FUNCTIONS = {
    "svcca": svcca,
    "cca": cca,
    "pwcca": pwcca,
    "linear_regression": linear_regression,
    "cka": cka,
    "procrustes": procrustes,
}
# These have no options of precision, no moments or other bounds, and tests of their own.
OF_ROWS = {"mutual_knn", "jaccard", "cknna", "rsa", "soft_matching"}
ALL = FUNCTIONS | {name: getattr(svcca_lib, name) for name in OF_ROWS}
SUBSPACE_MEASURES = ("svcca", "cca", "pwcca", "linear_regression")


def two_layers(seed=0, n=300, p=12, q=8):
    """Two related layers with clearly unequal variances and large means."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * np.linspace(3, 0.5, p) + 7.0
    y = x @ rng.normal(size=(p, q)) + 4.0 * rng.normal(size=(n, q)) - 2.0
    return x, y


def exactly(message):
    return f"^{re.escape(message)}$"


# --- independent routes and closed forms -------------------------------------------------------


@pytest.mark.parametrize(("n", "p", "q"), [(200, 6, 6), (200, 9, 3), (50, 20, 30), (40, 1, 5)])
def test_cca_equals_the_qr_route(n, p, q):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, p)) + 100.0
    y = np.tanh(x[:, :1] - 100.0) + rng.normal(size=(n, q))
    for a, b in ((x, y), (y, x)):
        np.testing.assert_allclose(cca(a, b).correlations, cca_by_qr(a, b), atol=1e-10)


@pytest.mark.parametrize("condition", [1e2, 9e2, 1.1e3, 1e6])
def test_cca_equals_the_qr_route_on_ill_conditioned_layers(condition):
    rng = np.random.default_rng(2)
    x = layer(rng, 500, np.geomspace(1, 1 / condition, 30))
    y = layer(rng, 500, np.geomspace(1, 1 / condition, 30)) + 0.1 * x
    atol = 1e-10 if condition <= 2e3 else 1e-8
    np.testing.assert_allclose(cca(x, y).correlations, cca_by_qr(x, y, 1e-12), atol=atol)


@pytest.mark.parametrize(("energy", "power"), [("variance", 2), ("singular_values", 1)])
@pytest.mark.parametrize("keep", [0.7, 0.99])
@pytest.mark.parametrize(("n", "p", "q"), [(300, 30, 20), (60, 30, 50)])
def test_svcca_equals_the_svd_route(energy, power, keep, n, p, q):
    rng = np.random.default_rng(3)
    x = layer(rng, n, 1.0 / np.arange(1, p + 1))
    y = layer(rng, n, 0.9 ** np.arange(q)) + x @ rng.normal(size=(p, q)) / p
    r = svcca(x, y, keep=keep, energy=energy)
    expected = svcca_by_svd(x, y, keep, power)
    np.testing.assert_allclose(r.correlations, expected, atol=1e-10)
    assert r.similarity == pytest.approx(expected.mean(), abs=1e-10)


def test_svcca_of_everything_is_cca():
    x, y = two_layers()
    np.testing.assert_allclose(svcca(x, y, keep=1).correlations, cca(x, y).correlations, atol=1e-12)


def test_one_neuron_against_one_is_the_absolute_pearson_correlation():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(100, 1))
    y = -0.5 * x + rng.normal(size=(100, 1))
    pearson = abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1])
    for measure in (cca, svcca, pwcca, procrustes):
        assert measure(x, y).similarity == pytest.approx(pearson, abs=1e-12)
    for measure in (linear_regression, cka):
        assert measure(x, y).similarity == pytest.approx(pearson**2, abs=1e-12)


def test_a_layer_against_one_target_is_the_root_of_r_squared():
    x, y = two_layers()
    target = y[:, :1]
    design = np.hstack([x, np.ones((len(x), 1))])
    residual = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
    r2 = 1 - (residual**2).sum() / (centred(target) ** 2).sum()
    assert cca(x, target).similarity == pytest.approx(np.sqrt(r2), abs=1e-10)
    assert cca(target, x).similarity == pytest.approx(np.sqrt(r2), abs=1e-10)
    assert linear_regression(x, target).similarity == pytest.approx(r2, abs=1e-10)


def test_linear_regression_equals_least_squares():
    x, y = two_layers()
    residual = centred(y) - centred(x) @ np.linalg.lstsq(centred(x), centred(y), rcond=None)[0]
    r2 = 1 - (residual**2).sum() / (centred(y) ** 2).sum()
    assert linear_regression(x, y).similarity == pytest.approx(r2, abs=1e-10)
    # Kornblith et al. 2019: with W = Q_x^T Y it is the share of the target, not of the predictor.
    assert linear_regression(y, x).similarity != pytest.approx(r2, abs=1e-2)


def test_pwcca_equals_its_definition():
    x, y = two_layers()
    assert pwcca(x, y).similarity == pytest.approx(pwcca_by_definition(x, y), abs=1e-10)
    assert pwcca(y, x).similarity == pytest.approx(pwcca_by_definition(y, x), abs=1e-10)
    assert pwcca(y, x, side="y").similarity == pytest.approx(pwcca(x, y).similarity, abs=1e-12)
    assert pwcca(x, y).similarity != pytest.approx(pwcca(x, y, side="y").similarity, abs=1e-3)


def test_pwcca_takes_a_cut():
    x, y = two_layers()
    cut = pwcca(Subspace.fit(x, keep=0.8), Subspace.fit(y, keep=0.8))
    given = pwcca(x, y, keep=0.8)
    assert given.similarity == pytest.approx(cut.similarity, abs=1e-12)
    assert given.x_kept < pwcca(x, y).x_kept == 12
    values = pwcca(x, y, keep=0.8, energy="singular_values")
    assert values.x_kept > given.x_kept


@pytest.mark.parametrize(("p", "q"), [(3, 4), (40, 50)], ids=["few neurons", "many neurons"])
def test_linear_cka_equals_hsic_by_definition(p, q):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(20, p)) + 3.0
    y = rng.normal(size=(20, q)) + x[:, :1]
    k, m = x @ x.T, y @ y.T
    for debiased, hsic in ((False, hsic_biased), (True, hsic_unbiased)):
        expected = hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))
        assert cka(x, y, debiased=debiased).similarity == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("bandwidth", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("n", [20, 21])
def test_rbf_cka_equals_hsic_by_definition(bandwidth, n):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(n, 3)) + 3.0
    y = rng.normal(size=(n, 4)) + x[:, :1]
    kernels = []
    for z in (x, y):
        d = np.linalg.norm(z[:, None] - z[None], axis=-1)
        # The lower of the two middle distances where their number is even.
        pairs = np.sort(d[np.triu_indices(n, 1)])
        sigma = bandwidth * pairs[(len(pairs) - 1) // 2]
        kernels.append(np.exp(-(d**2) / (2 * sigma**2)))
    k, m = kernels
    for debiased, hsic in ((False, hsic_biased), (True, hsic_unbiased)):
        expected = hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))
        r = cka(x, y, kernel="rbf", bandwidth=bandwidth, debiased=debiased)
        assert r.similarity == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("n", "p", "q"), [(100, 6, 4), (10, 30, 4), (10, 4, 30), (10, 30, 40)])
def test_procrustes_equals_the_distance_left_after_the_best_rotation(n, p, q):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(n, p)) + 1.0
    y = rng.normal(size=(n, q)) + x[:, :1]
    xs, ys = (np.pad(centred(z), ((0, 0), (0, max(p, q) - z.shape[1]))) for z in (x, y))
    xs, ys = xs / np.linalg.norm(xs), ys / np.linalg.norm(ys)
    u, _, vh = np.linalg.svd(xs.T @ ys)
    distance = np.linalg.norm(xs @ (u @ vh) - ys)
    assert procrustes(x, y).similarity == pytest.approx(1 - distance**2 / 2, abs=1e-10)


def test_planted_correlations_are_found():
    rhos = [0.95, 0.7, 0.4]
    x, y = planted(np.random.default_rng(8), 200_000, rhos, 5, 4)
    r = cca(x, y)
    np.testing.assert_allclose(r.correlations, [*rhos, 0.0], atol=0.01)
    assert r.similarity == pytest.approx(np.mean([*rhos, 0.0]), abs=0.005)


def test_exact_angles_between_subspaces_are_found():
    q = orthonormal(np.random.default_rng(9), 40, 6)
    rho = np.array([0.9, 0.5, 0.1])
    x, y = q[:, :3], rho * q[:, :3] + np.sqrt(1 - rho**2) * q[:, 3:]
    np.testing.assert_allclose(cca(x + 5, y - 5).correlations, rho, atol=1e-12)


# --- the three readings of the mean ------------------------------------------------------------


def test_three_readings_of_the_mean():
    rng = np.random.default_rng(10)
    q = orthonormal(rng, 200, 4)
    rho = np.array([0.9, 0.3])
    # Two directions of unequal variance in three neurons against two directions in five.
    x = (q[:, :2] * [3.0, 1.0]) @ np.linalg.qr(rng.normal(size=(3, 3)))[0][:2]
    y = (rho * q[:, :2] + np.sqrt(1 - rho**2) * q[:, 2:]) * [2.0, 1.0]
    y = y @ np.linalg.qr(rng.normal(size=(5, 5)))[0][:2]
    kept, smaller, weighted = (
        svcca(x, y, keep=1, mean_over=how) for how in ("kept", "smaller_layer", "weighted")
    )
    assert (kept.x_kept, kept.y_kept) == (2, 2)
    assert kept.similarity == pytest.approx(rho.sum() / 2, abs=1e-12)
    assert smaller.similarity == pytest.approx(rho.sum() / 3, abs=1e-12)
    # Shares of variance: 9 : 1 in x and 4 : 1 in y.
    weights = np.array([0.9 + 0.8, 0.1 + 0.2])
    assert weighted.similarity == pytest.approx((weights * rho).sum() / 2, abs=1e-12)
    assert smaller.chance == pytest.approx(kept.chance * 2 / 3)
    assert weighted.chance == kept.chance


def test_only_the_mean_over_the_kept_is_one_on_the_diagonal():
    x = layer(np.random.default_rng(11), 100, np.geomspace(1, 0.01, 10))
    assert svcca(x, x).similarity == pytest.approx(1, abs=1e-12)
    assert svcca(x, x, mean_over="weighted").similarity == pytest.approx(1, abs=1e-12)
    kept = Subspace.fit(x).kept
    assert kept < 10
    assert svcca(x, x, mean_over="smaller_layer").similarity == pytest.approx(kept / 10)


# --- canonical weights -------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::svcca_lib.SampleSizeWarning")
@pytest.mark.parametrize("measure", [cca, svcca, pwcca])
@pytest.mark.parametrize(("n", "p", "q"), [(300, 12, 8), (300, 5, 9), (15, 20, 7), (15, 20, 30)])
def test_weights_give_orthonormal_variates_with_the_correlations(measure, n, p, q):
    x, y = two_layers(12, n, p, q)
    r = measure(x, y)
    k = min(r.x_kept, r.y_kept)
    assert r.correlations.shape == (k,)
    assert r.x_weights.shape == (p, k)
    assert r.y_weights.shape == (q, k)
    hx, hy = centred(x) @ r.x_weights, centred(y) @ r.y_weights
    np.testing.assert_allclose(hx.T @ hx, np.eye(k), atol=1e-8)
    np.testing.assert_allclose(hy.T @ hy, np.eye(k), atol=1e-8)
    np.testing.assert_allclose(hx.T @ hy, np.diag(r.correlations), atol=1e-8)
    assert (np.diff(r.correlations) <= 0).all()


def test_weights_of_the_weighted_mean_and_of_moments_keep_the_contract():
    x, y = two_layers()
    m = Moments()
    m.update(x, y)
    for r in (svcca(x, y, mean_over="weighted"), svcca(m), cca(m)):
        hx, hy = centred(x) @ r.x_weights, centred(y) @ r.y_weights
        np.testing.assert_allclose(hx.T @ hy, np.diag(r.correlations), atol=1e-10)
        np.testing.assert_allclose(hx.T @ hx, np.eye(len(r.correlations)), atol=1e-10)


def test_measures_without_canonical_directions_say_none():
    x, y = two_layers()
    for measure in (cka, procrustes):
        r = measure(x, y)
        assert r.correlations is None
        assert r.x_weights is None
        assert r.y_weights is None
        assert r.x_kept is None
    r = linear_regression(x, y)
    assert (r.correlations, r.x_weights, r.x_kept, r.y_kept) == (None, None, 12, 8)


def test_results_name_their_measure_and_their_datapoints():
    x, y = two_layers()
    for name, options in VARIANTS:
        r = ALL[name](x, y, **options)
        assert (r.measure, r.n) == (name, 300)
        assert type(r.similarity) is float
        assert type(r.chance) is (float if name != "soft_matching" else type(None))
        with pytest.raises(AttributeError):
            r.n = 3
        assert "_weights" not in repr(r)


# --- what each measure ignores, and what it does not -------------------------------------------

TRANSFORMATIONS = {
    "orthogonal": lambda x, rng: x @ np.linalg.qr(rng.normal(size=(x.shape[1],) * 2))[0],
    "isotropic": lambda x, rng: 37.0 * x,
    "invertible": lambda x, rng: (
        x @ (np.diag(np.geomspace(1, 30, x.shape[1])) @ rng.normal(size=(x.shape[1],) * 2))
    ),
    "translation": lambda x, rng: x + 10.0 * rng.normal(size=x.shape[1]),
    "permutation": lambda x, rng: x[:, rng.permutation(x.shape[1])],
    "reflection": lambda x, rng: x * rng.choice([-1.0, 1.0], size=x.shape[1]),
}
VARIANTS = [
    ("svcca", {}),
    ("svcca", {"energy": "singular_values", "mean_over": "smaller_layer"}),
    ("svcca", {"mean_over": "weighted"}),
    ("cca", {}),
    ("pwcca", {"side": "x"}),
    ("pwcca", {"side": "y"}),
    ("linear_regression", {}),
    ("cka", {}),
    ("cka", {"debiased": True}),
    ("cka", {"kernel": "rbf"}),
    ("cka", {"kernel": "rbf", "debiased": True}),
    ("procrustes", {}),
    ("mutual_knn", {}),
    ("jaccard", {}),
    ("cknna", {}),
    ("rsa", {}),
    ("soft_matching", {}),
]


def label(value):
    return "-".join([str(v) for v in value.values()]) if isinstance(value, dict) else None


def moved(measure, transformation, side, options):
    """How far the similarity goes when one layer is transformed."""
    x, y = two_layers()
    rng = np.random.default_rng(13)
    before = ALL[measure](x, y, **options).similarity
    change = TRANSFORMATIONS[transformation]
    pair = (change(x, rng), y) if side == "x" else (x, change(y, rng))
    return abs(ALL[measure](*pair, **options).similarity - before)


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
@pytest.mark.parametrize(("measure", "options"), VARIANTS, ids=label)
def test_is_invariant_to_what_it_declares_and_to_nothing_more(measure, options, transformation):
    declared = MEASURES[measure].invariant_to
    if "orthogonal" in declared:
        declared = declared | {"permutation", "reflection"}
    changes = [moved(measure, transformation, side, options) for side in "xy"]
    if transformation in declared:
        assert max(changes) < 1e-9
    else:
        assert max(changes) > 1e-3


def test_declares_only_known_maps():
    for name, measure in MEASURES.items():
        known = {"isotropic", "translation", *TRANSFORMATIONS}
        assert measure.invariant_to <= known, name


@pytest.mark.parametrize(
    ("measure", "side", "options"),
    [
        ("pwcca", "y", {"side": "x"}),
        ("pwcca", "x", {"side": "y"}),
        ("linear_regression", "x", {}),
    ],
)
def test_one_sided_measures_ignore_any_invertible_map_of_the_other_side(measure, side, options):
    assert moved(measure, "invertible", side, options) < 1e-9
    other = "y" if side == "x" else "x"
    assert moved(measure, "invertible", other, options) > 1e-3


@pytest.mark.parametrize(("measure", "options"), VARIANTS, ids=label)
def test_is_symmetric_where_declared_and_only_there(measure, options):
    x, y = two_layers()
    forth, back = (ALL[measure](a, b, **options).similarity for a, b in ((x, y), (y, x)))
    if MEASURES[measure].symmetric:
        assert forth == pytest.approx(back, abs=1e-10)
    else:
        assert abs(forth - back) > 1e-3


@pytest.mark.parametrize(("measure", "options"), VARIANTS, ids=label)
def test_a_layer_is_fully_similar_to_itself_and_less_to_another(measure, options):
    x, y = two_layers()
    full = ALL[measure](x, x, **options).similarity
    if options.get("mean_over") == "smaller_layer":
        full *= 12 / Subspace.fit(x, energy=options["energy"]).kept
    assert full == pytest.approx(1, abs=1e-9)
    assert ALL[measure](x, y, **options).similarity < 0.99


def test_shuffled_datapoints_are_another_layer():
    x, _ = two_layers()
    order = np.random.default_rng(14).permutation(len(x))
    for measure in FUNCTIONS.values():
        assert measure(x, x[order]).similarity < 0.5
        assert measure(x[order], x[order]).similarity == pytest.approx(1, abs=1e-9)


def test_moving_a_few_datapoints_drives_linear_cka_down_but_not_cca():
    # Davari et al. 2022: a subset is translated, what the layer can express stays the same.
    rng = np.random.default_rng(15)
    x = rng.normal(size=(1000, 20))
    subset = x.copy()
    subset[:30] += 100 * rng.normal(size=20)
    assert cka(x, subset).similarity < 0.3
    assert cca(x, subset).similarity > 0.9


def test_naive_cca_is_fooled_by_noise_and_svcca_is_not():
    # Appendix Figure 1: B adds faint noise to the shared directions, C adds strong useful ones.
    rng = np.random.default_rng(16)
    shared, other = rng.normal(size=(2000, 10)), rng.normal(size=(2000, 30))
    a = np.hstack([shared, 0.01 * rng.normal(size=(2000, 30))])
    b = np.hstack([shared, 0.01 * rng.normal(size=(2000, 30))])
    c = np.hstack([shared, other])
    assert abs(cca(a, b).similarity - cca(a, c).similarity) < 0.02
    assert svcca(a, b).similarity > 0.99
    assert svcca(c, np.hstack([shared, rng.normal(size=(2000, 30))])).similarity < 0.5


# --- chance ------------------------------------------------------------------------------------

SIZES = [(1, 1, 30), (1, 7, 20), (2, 5, 30), (5, 8, 12), (20, 20, 100), (10, 40, 200)]


def independent(seed, n, p, q):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, p)), rng.normal(size=(n, q))


@pytest.mark.parametrize(("p", "q", "n"), SIZES)
def test_chance_is_what_independent_layers_score(p, q, n):
    draws = [cca(*independent(i, n, p, q)) for i in range(150)]
    squares = [(r.correlations**2).sum() for r in draws]
    error = np.std(squares) / np.sqrt(len(squares))
    assert np.mean(squares) == pytest.approx(p * q / (n - 1), abs=4 * error)
    scores = [r.similarity for r in draws]
    error = np.std(scores) / np.sqrt(len(scores))
    assert draws[0].chance == chance_correlation(p, q, n)
    # Wachter's law is a limit: at a handful of directions it is good to about 0.01.
    assert np.mean(scores) == pytest.approx(draws[0].chance, abs=4 * error + 0.01)


@pytest.mark.parametrize(("p", "q", "n"), [(6, 4, 60), (12, 30, 80)])
@pytest.mark.parametrize(
    ("measure", "options"),
    [
        ("svcca", {"keep": 0.9}),
        ("svcca", {"mean_over": "smaller_layer", "keep": 0.9}),
        ("svcca", {"mean_over": "weighted"}),
        ("pwcca", {}),
        ("linear_regression", {}),
        ("cka", {}),
        ("cka", {"debiased": True}),
        ("cka", {"kernel": "rbf"}),
        ("procrustes", {}),
        ("mutual_knn", {}),
        ("jaccard", {"k": 5}),
        ("cknna", {}),
        ("rsa", {}),
    ],
    ids=label,
)
def test_every_measure_knows_its_own_chance_level(measure, options, p, q, n):
    draws = [ALL[measure](*independent(i, n, p, q), **options) for i in range(60)]
    scores = [r.similarity for r in draws]
    error = np.std(scores) / np.sqrt(len(scores))
    expected = np.mean([r.chance for r in draws])
    assert np.mean(scores) == pytest.approx(expected, abs=4 * error + 0.015)


def test_chance_of_cka_is_the_mean_over_all_pairings():
    # Exactly, not in a limit: E tr(K P L P^T) over the 5! orders of 5 datapoints.
    x, y = independent(0, 5, 3, 2)
    for options in ({}, {"kernel": "rbf"}):
        every = [cka(x, y[list(o)], **options).similarity for o in itertools.permutations(range(5))]
        assert cka(x, y, **options).chance == pytest.approx(np.mean(every), abs=1e-12)


def test_chance_of_regression_is_the_mean_over_all_pairings():
    x, y = independent(1, 5, 2, 2)
    every = [linear_regression(x, y[list(o)]).similarity for o in itertools.permutations(range(5))]
    assert linear_regression(x, y).chance == pytest.approx(np.mean(every), abs=1e-12)


@pytest.mark.parametrize(("many", "n"), [(1, 5), (1, 40), (4, 30), (25, 30)])
def test_chance_of_one_direction_is_the_mean_of_a_beta_variable(many, n):
    law = scipy.stats.beta(many / 2, (n - 1 - many) / 2)
    expected = law.expect(np.sqrt)
    assert chance_correlation(1, many, n) == pytest.approx(expected, abs=1e-6)
    assert chance_correlation(many, 1, n) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("p", "q", "n"), [(60, 60, 400), (80, 120, 400), (100, 150, 240)])
def test_chance_of_many_directions_is_what_a_few_draws_show(p, q, n):
    # Many eigenvalues average themselves: few draws are within a few thousandths of the law.
    score = np.mean([cca(*independent(i, n, p, q)).similarity for i in range(4)])
    assert score == pytest.approx(chance_correlation(p, q, n), abs=0.006)


@pytest.mark.parametrize(("p", "q", "n"), [(2, 3, 30), (5, 5, 400), (30, 100, 400), (9, 9, 14)])
def test_chance_of_many_directions_is_the_mean_over_wachters_law(p, q, n):
    a, b = p / (n - 1), q / (n - 1)
    centre, half = a + b - 2 * a * b, 2 * np.sqrt(a * b * (1 - a) * (1 - b))

    def weighted(angle):
        value = centre + half * np.cos(angle)
        density = half**2 * np.sin(angle) ** 2 / (2 * np.pi * a * value * (1 - value))
        return np.sqrt(value) * density

    meeting = max(0, p + q - (n - 1)) / p
    expected = scipy.integrate.quad(weighted, 0, np.pi, limit=500)[0] + meeting
    assert chance_correlation(p, q, n) == pytest.approx(expected, abs=1e-4)


def test_chance_is_one_where_a_layer_fills_the_space():
    assert chance_correlation(9, 1, 10) == 1
    assert chance_correlation(1, 9, 10) == 1
    assert chance_correlation(8, 2, 10) < 1
    assert chance_correlation(1, 1, 2) == 1


def test_chance_is_symmetric_grows_with_directions_and_falls_with_datapoints():
    assert chance_correlation(5, 9, 40) == chance_correlation(9, 5, 40)
    assert chance_correlation(5, 5, 40) < chance_correlation(10, 10, 40)
    assert chance_correlation(5, 5, 400) < chance_correlation(5, 5, 40)


def test_chance_at_sizes_that_must_meet():
    # 6 + 7 directions in 9 dimensions share at least 4: their correlations are 1.
    draws = [cca(*independent(i, 10, 6, 7)) for i in range(40)]
    assert all((r.correlations[:4] > 1 - 1e-9).all() for r in draws)
    scores = [r.similarity for r in draws]
    assert chance_correlation(6, 7, 10) == pytest.approx(np.mean(scores), abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5, 10), "x_kept must be at least 1; got 0"),
        ((5, 0, 10), "y_kept must be at least 1; got 0"),
        ((5, 5, 1), "n must be at least 2; got 1"),
    ],
)
def test_chance_of_nothing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=exactly(message)):
        chance_correlation(*arguments)


# --- few datapoints ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SUBSPACE_MEASURES)
def test_too_few_datapoints_warn_with_the_chance_level(name):
    x, y = independent(2, 21, 20, 3)
    with pytest.warns(SampleSizeWarning) as caught:
        r = FUNCTIONS[name](x, y)
    assert str(caught[0].message) == (
        f"21 datapoints for a layer of 20 neurons: independent layers of these sizes would score "
        f"{r.chance:.3f} by {name}; use more datapoints than neurons, or a held-out or debiased "
        f"measure"
    )
    assert caught[0].filename == __file__
    with pytest.warns(SampleSizeWarning) as caught:
        FUNCTIONS[name](y, x)
    assert len(caught) == 1


def test_all_pairs_warn_once_and_at_the_line_that_asked():
    x, y = independent(2, 21, 20, 3)
    with pytest.warns(SampleSizeWarning, match="^21 datapoints ") as caught:
        pairwise([y, x], {"c1": y, "c2": x})
    assert [w.filename for w in caught] == [__file__]
    assert str(caught[0].message).endswith(
        "measure (xs[0] with ys['c2']; 2 of the other 3 pairs have too few as well)"
    )
    with pytest.warns(SampleSizeWarning, match=r"measure \(xs\[0\] with ys\['c1'\]\)$"):
        pairwise([x], {"c1": x})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_two_datapoints_more_than_neurons_do_not_warn(name):
    x, y = independent(3, 22, 20, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FUNCTIONS[name](x, y)


@pytest.mark.filterwarnings("ignore::svcca_lib.SampleSizeWarning")
def test_cca_of_noise_is_one_when_datapoints_do_not_exceed_neurons():
    x, y = independent(4, 15, 14, 14)
    r = cca(x, y)
    assert r.similarity == pytest.approx(1, abs=1e-9)
    assert r.chance == 1
    assert 0.8 < svcca(x, y).similarity < 1


def test_pairwise_warns_where_it_was_called():
    x, y = independent(5, 10, 12, 3)
    with pytest.warns(SampleSizeWarning) as caught:
        pairwise([x], [y])
    assert caught[0].filename == __file__


# --- input of every kind -----------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_and_torch_agree_and_give_back_their_own(name):
    x, y = two_layers()
    a = FUNCTIONS[name](x, y)
    b = FUNCTIONS[name](torch.from_numpy(x), torch.from_numpy(y))
    assert a.similarity == b.similarity
    if a.correlations is not None:
        assert isinstance(a.correlations, np.ndarray)
        assert isinstance(b.correlations, torch.Tensor)
        assert isinstance(a.x_weights, np.ndarray)
        assert isinstance(b.y_weights, torch.Tensor)
        np.testing.assert_array_equal(a.correlations, b.correlations.numpy())


@pytest.mark.parametrize("name", SUBSPACE_MEASURES)
def test_subspaces_are_taken_where_arrays_are(name):
    x, y = two_layers()
    keep = 0.99 if name == "svcca" else 1.0
    sx, sy = Subspace.fit(x, keep=keep), Subspace.fit(y, keep=keep)
    expected = FUNCTIONS[name](x, y).similarity
    for pair in ((sx, sy), (sx, y), (x, sy), (sx, sy)):
        assert FUNCTIONS[name](*pair).similarity == pytest.approx(expected, abs=1e-12)


@pytest.mark.filterwarnings("ignore::svcca_lib.SampleSizeWarning")
def test_any_route_to_the_alignment_gives_one_answer():
    # Through the neurons, through the bases, with bases made before, and with left vectors.
    for n, p, q in ((500, 6, 4), (60, 50, 55), (30, 40, 50), (30, 40, 5)):
        x, y = two_layers(6, n, p, q)
        sx, sy = Subspace.fit(x), Subspace.fit(y)
        fresh = svcca(sx, sy).correlations
        sx.basis, sy.basis  # noqa: B018
        np.testing.assert_allclose(svcca(sx, sy).correlations, fresh, atol=1e-11)
        np.testing.assert_allclose(fresh, svcca_by_svd(x, y), atol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_moments_give_what_the_arrays_give(name):
    x, y = two_layers()
    m = Moments()
    for rows in np.array_split(np.arange(len(x)), 7):
        m.update(x[rows], y[rows])
    a, b = FUNCTIONS[name](m), FUNCTIONS[name](x, y)
    assert a.similarity == pytest.approx(b.similarity, abs=1e-9)
    assert a.chance == pytest.approx(b.chance, abs=1e-9)
    assert (a.n, a.measure) == (b.n, b.measure)


def test_gradients_reach_no_scalar_unannounced():
    x, y = (torch.from_numpy(z) for z in two_layers())
    for measure, options in VARIANTS:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            r = ALL[measure](x.clone().requires_grad_(), y, **options)
        assert r.similarity == pytest.approx(ALL[measure](x, y, **options).similarity, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_units_do_not_matter(name, scale, precision):
    x, y = two_layers(n=100)
    x, y = x - 7.0, y + 2.0
    expected = FUNCTIONS[name](x, y, precision=precision).similarity
    tolerance = 1e-10 if precision == "float64" else 1e-4
    r = FUNCTIONS[name](scale * x, y / scale, precision=precision)
    assert r.similarity == pytest.approx(expected, abs=tolerance)
    assert FUNCTIONS[name](x, y).similarity == pytest.approx(expected, abs=1e-3)


# --- bad input ---------------------------------------------------------------------------------

GOOD = np.random.default_rng(17).normal(size=(20, 3))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("argument", ["x", "y"])
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (
            GOOD[:, 0],
            ValueError,
            "{} must be 2-D; got shape (20,); reshape it to (datapoints, neurons)",
        ),
        (
            GOOD[:, :, None],
            ValueError,
            "{} must be 2-D; got shape (20, 3, 1); reshape it to (datapoints, neurons)",
        ),
        (GOOD[:1], ValueError, "{} needs at least 2 rows (datapoints); got shape (1, 3)"),
        (GOOD[:, :0], ValueError, "{} has no neurons; got shape (20, 0)"),
        (
            np.where(GOOD > 1.5, np.nan, GOOD),
            ValueError,
            f"{{}} must be finite; got {(GOOD > 1.5).sum()} NaN or infinite values "
            "in shape (20, 3)",
        ),
        (
            np.where(GOOD < -1.5, -np.inf, GOOD),
            ValueError,
            f"{{}} must be finite; got {(GOOD < -1.5).sum()} NaN or infinite values "
            "in shape (20, 3)",
        ),
        (GOOD * 1j, TypeError, "{} must hold real numbers; got dtype complex128"),
        (
            torch.from_numpy(GOOD * 1j),
            TypeError,
            "{} must hold real numbers; got dtype torch.complex128",
        ),
        (GOOD.astype(object), TypeError, "{} must hold real numbers; got dtype object"),
        (GOOD.astype(str), TypeError, "{} must hold real numbers; got dtype <U32"),
        (
            GOOD.tolist(),
            TypeError,
            "{} must be a NumPy array or a torch tensor of activations (datapoints first); "
            "got list; give numpy.asarray({})",
        ),
        (
            np.full((20, 3), 0.1),
            ValueError,
            "{} has no variance left after centring: every neuron is constant over the 20 "
            "datapoints (shape (20, 3))",
        ),
    ],
)
def test_bad_layers_get_one_clear_sentence(name, argument, bad, error, message):
    pair = (bad, GOOD) if argument == "x" else (GOOD, bad)
    with pytest.raises(error, match=exactly(message.format(*[argument] * 2))):
        FUNCTIONS[name](*pair)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_different_datapoints_are_refused(name):
    message = (
        "x and y must be responses to the same datapoints, row by row; got 20 rows in x and 19 in y"
    )
    with pytest.raises(ValueError, match=exactly(message)):
        FUNCTIONS[name](GOOD, GOOD[:19])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_missing_layer_is_named(name):
    message = "y is missing: give two layers, or Moments of both as the only argument"
    with pytest.raises(TypeError, match=exactly(message)):
        FUNCTIONS[name](GOOD)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_moments_that_cannot_be_compared_are_refused(name):
    single, empty, one, constant, still = (Moments() for _ in range(5))
    single.update(GOOD)
    one.update(GOOD[:1], GOOD[:1])
    for _ in range(9):
        constant.update(np.full((7, 2), 0.1), GOOD[:7])
        still.update(GOOD[:7], np.full((7, 2), 0.1))
    cases = [
        (single, "x must be Moments of two layers (update(x, y)); it holds a single layer"),
        (empty, "x must be Moments of two layers (update(x, y)); it holds nothing"),
        (one, "x must hold at least 2 datapoints; got 1"),
        (
            constant,
            "the first layer of x has no variance left after centring: every neuron is constant "
            "over the 63 datapoints (shape (63, 2))",
        ),
        (
            still,
            "the second layer of x has no variance left after centring: every neuron is constant "
            "over the 63 datapoints (shape (63, 2))",
        ),
    ]
    for moments, message in cases:
        with pytest.raises(ValueError, match=exactly(message)):
            FUNCTIONS[name](moments)
    message = "Moments hold both layers already: give them as the only argument"
    with pytest.raises(TypeError, match=exactly(message)):
        FUNCTIONS[name](single, GOOD)


@pytest.mark.parametrize("options", [{}, {"debiased": True}])
def test_moments_are_too_little_for_other_kernels(options):
    m = Moments()
    m.update(GOOD, GOOD)
    message = (
        "moments hold what the linear CKA needs and nothing more; give the arrays, or a Reservoir "
        "of the stream, for kernel='rbf'"
    )
    with pytest.raises(ValueError, match=exactly(message)):
        cka(m, kernel="rbf", **options)


def moments_of_one():
    m = Moments()
    m.update(GOOD)
    return m


LACKING = (
    "must be an array, or a layer that is prepared already; got Moments, which lack the products "
    "with any other layer: feed Moments with both, update(x, y), or NetworkMoments with many layers"
)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: svcca(GOOD, GOOD, mean_over="all"),
            "mean_over must be one of 'kept', 'smaller_layer', 'weighted'; got 'all'",
        ),
        (lambda: pwcca(GOOD, GOOD, side="z"), "side must be one of 'x', 'y'; got 'z'"),
        (
            lambda: cka(GOOD, GOOD, kernel="poly"),
            "kernel must be one of 'linear', 'rbf'; got 'poly'",
        ),
        (
            lambda: cka(GOOD, GOOD, kernel="rbf", bandwidth=0),
            "bandwidth must be a positive multiple of the median; got 0",
        ),
        (
            lambda: cka(GOOD[:3], GOOD[:3], debiased=True),
            "debiased CKA needs at least 4 datapoints; x has 3",
        ),
        (
            lambda: cka(np.eye(20)[:, :2], GOOD, kernel="rbf"),
            "x gives no RBF bandwidth: the median distance between datapoints is 0",
        ),
        (
            lambda: cka(GOOD, np.eye(20)[:, :1], debiased=True),
            "y leaves nothing to the debiased CKA: all datapoints but one, at most, agree",
        ),
        (
            lambda: pairwise([GOOD], measure="cosine"),
            f"measure must be one of {str(list(MEASURES))[1:-1]}; got 'cosine'",
        ),
        (
            lambda: pairwise([GOOD], mean_over="all"),
            "mean_over must be one of 'kept', 'smaller_layer', 'weighted'; got 'all'",
        ),
        (
            lambda: pairwise([GOOD], measure="pwcca", side="z"),
            "side must be one of 'x', 'y'; got 'z'",
        ),
        (lambda: pairwise([]), "xs holds no layer"),
        (lambda: pairwise([GOOD], {}), "ys holds no layer"),
        (
            lambda: pairwise({"c1": GOOD, "fc": GOOD[0]}),
            "xs['fc'] must be 2-D; got shape (3,); reshape it to (datapoints, neurons)",
        ),
        (
            lambda: pairwise([GOOD], [GOOD, GOOD[:5]]),
            "xs[0] and ys[1] must be responses to the same datapoints, row by row; "
            "got 20 rows in xs[0] and 5 in ys[1]",
        ),
        (
            lambda: pairwise({"c1": GOOD, "c2": torch.from_numpy(GOOD[:4])}),
            "xs['c1'] and xs['c2'] must be responses to the same datapoints, row by row; "
            "got 20 rows in xs['c1'] and 4 in xs['c2']",
        ),
        (
            lambda: pairwise([Subspace.fit(GOOD, precision="float32"), GOOD]),
            "xs[0] and xs[1] must have one precision and one device; "
            "got torch.float32 on cpu and torch.float64 on cpu",
        ),
        (
            lambda: pairwise([GOOD], measure="CKA"),
            f"measure must be one of {str(list(MEASURES))[1:-1]}; got 'CKA'; did you mean 'cka'?",
        ),
        (
            lambda: pairwise([GOOD], measure="debiased CKA"),
            f"measure must be one of {str(list(MEASURES))[1:-1]}; got 'debiased CKA'; "
            "did you mean 'cka' with debiased=True?",
        ),
        (
            lambda: svcca(Subspace.fit(GOOD, precision="float32"), GOOD),
            "x and y must have one precision and one device; "
            "got torch.float32 on cpu and torch.float64 on cpu",
        ),
        (
            lambda: procrustes(1e20 * GOOD, GOOD, precision="float32"),
            "x is too large to be squared in torch.float32; divide it by its scale",
        ),
    ],
)
def test_bad_options_get_one_clear_sentence(call, message):
    with pytest.raises(ValueError, match=exactly(message)):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: pairwise([GOOD], kep=1),
            "svcca takes the options keep, energy, mean_over, squared, precision; got 'kep'",
        ),
        (
            lambda: pairwise([GOOD], measure=cka),
            "measure must be the name of a measure, such as 'cka'; got function",
        ),
        (
            lambda: pairwise([GOOD], measure=MEASURES["cka"]),
            "measure must be the name of a measure, such as 'cka'; got ABCMeta",
        ),
        (
            lambda: pairwise([GOOD], measure=None),
            "measure must be the name of a measure; got NoneType",
        ),
        (
            lambda: pairwise({"c1": moments_of_one()}),
            f"xs['c1'] {LACKING}",
        ),
        (lambda: cka(GOOD, moments_of_one()), f"y {LACKING}"),
        (lambda: pairwise(GOOD), "xs must be a sequence or dict of layers; got ndarray"),
        (lambda: pairwise([GOOD], GOOD), "ys must be a sequence or dict of layers; got ndarray"),
        (
            lambda: pairwise([GOOD], [None]),
            "ys[0] must be a NumPy array or a torch tensor of activations (datapoints first); "
            "got NoneType",
        ),
        (
            lambda: cka(Subspace.fit(GOOD), GOOD),
            "x must be a NumPy array or a torch tensor of activations (datapoints first); "
            "got Subspace",
        ),
    ],
)
def test_wrong_types_get_one_clear_sentence(call, message):
    with pytest.raises(TypeError, match=exactly(message)):
        call()


# --- all pairs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("measure", "options"), VARIANTS, ids=label)
def test_pairwise_is_the_loop_over_pairs(measure, options):
    x, y = two_layers()
    xs, ys = [x, x[:, :3], y], {"a": y, "b": x[:, 3:] ** 2}
    expected = [[ALL[measure](a, b, **options).similarity for b in ys.values()] for a in xs]
    np.testing.assert_allclose(pairwise(xs, ys, measure, **options), expected, atol=1e-12)
    expected = [[ALL[measure](a, b, **options).similarity for b in xs] for a in xs]
    np.testing.assert_allclose(pairwise(xs, measure=measure, **options), expected, atol=1e-10)


@pytest.mark.parametrize("measure", FUNCTIONS)
def test_pairwise_has_the_defaults_of_the_measure(measure):
    # Dead neurons tell the mean over the kept directions from that over the neurons.
    x, y = (np.hstack([z, np.zeros((300, 3))]) for z in two_layers())
    expected = [[FUNCTIONS[measure](a, b).similarity for b in (x, y)] for a in (x, y)]
    np.testing.assert_allclose(pairwise([x, y], measure=measure), expected, atol=1e-12)


def test_pairwise_decomposes_each_layer_once(monkeypatch):
    fits = []
    monkeypatch.setattr(subspace_module, "decompose", lambda *a: fits.append(1) or decompose(*a))
    x, y = two_layers()
    pairwise([x, x, y], [y, x, y, x])
    assert len(fits) == 7
    pairwise([x, x, y])
    assert len(fits) == 10


def test_pairwise_gives_the_library_of_its_first_layer():
    x, y = two_layers()
    t = torch.from_numpy(x)
    for first in (x, Subspace.fit(x)):
        assert isinstance(pairwise([first]), np.ndarray)
    for first in (t, Subspace.fit(t)):
        matrix = pairwise({"x": first, "y": y})
        assert isinstance(matrix, torch.Tensor)
        assert matrix.dtype == torch.float64
        assert matrix.device == t.device


def test_every_measure_is_under_these_tests():
    # DFT-CCA compares maps, not matrices, and has tests of its own.
    assert {name for name, _ in VARIANTS} == set(MEASURES) - {"dft_cca"}
    assert set(FUNCTIONS) == set(MEASURES) - {"dft_cca"} - OF_ROWS


@pytest.mark.parametrize(("n", "p", "q"), [(30, 4, 3), (30, 3, 4), (9, 6, 7), (9, 9, 4)])
def test_corner_of_a_random_rotation_has_the_right_moments(n, p, q):
    rng = np.random.default_rng(18)
    draws = np.array([corner_of_rotation(rng, n, p, q) for _ in range(2000)])
    np.testing.assert_allclose((draws**2).mean(axis=0), 1 / n, rtol=0.2)
    assert np.linalg.norm(draws, ord=2, axis=(1, 2)).max() < 1 + 1e-12
    full = np.array([np.linalg.qr(rng.normal(size=(n, q)))[0][:p] for _ in range(2000)])
    nuclear, expected = (np.linalg.norm(d, ord="nuc", axis=(1, 2)) for d in (draws, full))
    error = np.hypot(nuclear.std(), expected.std()) / np.sqrt(2000)
    assert nuclear.mean() == pytest.approx(expected.mean(), abs=4 * error + 1e-12)
