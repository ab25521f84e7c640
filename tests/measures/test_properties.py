"""Properties that hold for any layer: shapes, dtypes, units, dead and doubled neurons, few rows.

The examples are derived from the tests' names, not drawn anew: a failure here is a change of the
code. To search further, ``HYPOTHESIS_PROFILE=search pytest tests/measures/test_properties.py``.
"""

import os
import warnings

import numpy as np
import pytest
import torch
from devices import needs_gpu
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from oracles import cca_by_qr, centred

from svcca_lib import (
    MEASURES,
    Moments,
    SampleSizeWarning,
    Subspace,
    cca,
    chance_correlation,
    linear_regression,
    pairwise,
    project,
    pwcca,
    svcca,
)

quiet = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("ci", derandomize=True, max_examples=30, database=None, **quiet)
settings.register_profile("search", max_examples=2000, **quiet)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

pytestmark = pytest.mark.filterwarnings("ignore::svcca_lib.SampleSizeWarning")


@st.composite
def layers(draw, n=None, scales=True):
    """A layer of any shape and unit, some of whose neurons may be dead, constant or doubled."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(2, 40)) if n is None else n
    p = draw(st.integers(1, 12))
    x = rng.normal(size=(n, p))
    if draw(st.booleans()):
        x = np.maximum(x, 0)
    for kind in draw(st.lists(st.sampled_from(["dead", "constant", "doubled"]), max_size=4)):
        column = {
            "dead": np.zeros((n, 1)),
            "constant": np.full((n, 1), 0.1),
            "doubled": -2.0 * x[:, :1],
        }[kind]
        x = np.hstack([x, column])
    if draw(st.booleans()):
        x = x + draw(st.floats(-100, 100)) * x.std()
    scale = draw(st.sampled_from([1e-12, 1e-5, 1.0, 1e5, 1e12])) if scales else 1.0
    x = scale * x[:, rng.permutation(x.shape[1])]
    layout = draw(st.sampled_from(["c", "fortran", "strided", "reversed"]))
    if layout == "fortran":
        x = np.asfortranarray(x)
    elif layout == "strided":
        x = np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3]
    elif layout == "reversed":
        x = np.ascontiguousarray(x[::-1])[::-1]
    assume(np.ptp(x, axis=0).max() > 1e-3 * np.abs(x).max())
    return x


@st.composite
def pairs(draw, **kwargs):
    x = draw(layers(**kwargs))
    y = draw(layers(n=len(x), **kwargs))
    return x, y


def tied(x, y):
    """Whether correlations agree: canonical variates, and PWCCA's weights, are then not unique."""
    rho = cca(x, y).correlations
    return len(rho) > 1 and np.diff(rho).max() > -1e-3


def in_range(r):
    rho = np.asarray(r.correlations)
    assert rho.shape == (min(r.x_kept, r.y_kept),)
    assert (np.diff(rho) <= 0).all()
    assert rho.min() >= 0
    assert rho.max() <= 1
    assert 0 <= r.similarity <= 1
    assert 0 < r.chance <= 1


@given(pairs())
def test_correlations_are_ordered_and_in_range(pair):
    for r in (cca(*pair), svcca(*pair), pwcca(*pair), svcca(*pair, energy="singular_values")):
        in_range(r)


@given(pairs())
def test_cca_equals_the_qr_route(pair):
    r = cca(*pair)
    # ReLU can make neurons so nearly dependent that the two routes may cut at different ranks.
    s = [np.linalg.svd(centred(z), compute_uv=False) for z in pair]
    assume(not any(((v / v[0] > 1e-12) & (v / v[0] < 1e-5)).any() for v in s))
    np.testing.assert_allclose(r.correlations, cca_by_qr(*pair), atol=1e-8)


@given(pairs())
def test_rank_is_that_of_the_centred_layer(pair):
    for x in pair:
        rank = Subspace.fit(x, keep=1).rank
        assert rank == np.linalg.matrix_rank(centred(x), tol=None, rtol=1e-11)
        assert rank <= min(len(x) - 1, x.shape[1])


@given(pairs())
def test_weights_keep_their_contract(pair):
    for r in (cca(*pair), svcca(*pair), pwcca(*pair)):
        hx, hy = (centred(z) @ w for z, w in zip(pair, (r.x_weights, r.y_weights), strict=True))
        k = len(r.correlations)
        np.testing.assert_allclose(hx.T @ hx, np.eye(k), atol=1e-6)
        np.testing.assert_allclose(hy.T @ hy, np.eye(k), atol=1e-6)
        np.testing.assert_allclose(hx.T @ hy, np.diag(r.correlations), atol=1e-6)


@given(layers(), st.floats(0.01, 1.0), st.sampled_from(["variance", "singular_values"]))
def test_the_cut_keeps_its_share_and_no_more(x, keep, energy):
    f = Subspace.fit(x, keep=keep, energy=energy)
    whole = Subspace.fit(x, keep=1)
    s = np.asarray(whole.singular_values) ** (2 if energy == "variance" else 1)
    assert 1 <= f.kept <= whole.rank
    assert s[: f.kept].sum() >= (keep - 1e-9) * s.sum()
    if f.kept > 1:
        assert s[: f.kept - 1].sum() < (keep + 1e-9) * s.sum()


# On a handful of datapoints; with distances that a single neuron has.
OPTIONS = {
    "mutual_knn": {"k": 1},
    "jaccard": {"k": 1},
    "cknna": {"k": 1, "metric": "euclidean"},
    "rsa": {"distance": "euclidean"},
}


def compared(measure, xs, ys=None):
    return pairwise(xs, ys, measure=measure, **OPTIONS.get(measure, {}))


def taken(measure, x, y):
    """Whether the measure can tell anything of so few datapoints."""
    assume(measure not in ("rsa", "cknna") or (len(x) > 4 and not any(map(regular, (x, y)))))
    return measure


def regular(x):
    """Whether all pairs of datapoints are equally far apart, or all neighbours at the centre."""
    return len(np.unique(x.round(9), axis=0)) < 4


@pytest.mark.parametrize("measure", sorted(set(MEASURES) - {"dft_cca"}))
@given(data=st.data())
def test_every_measure_is_one_on_a_layer_itself_and_in_range_on_others(measure, data):
    x, y = data.draw(pairs())
    taken(measure, x, y)
    matrix = compared(measure, [x, y])
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-9)
    assert matrix.min() >= MEASURES[measure].lowest
    assert matrix.max() <= 1
    if MEASURES[measure].symmetric:
        np.testing.assert_array_equal(matrix, matrix.T)


@pytest.mark.parametrize("measure", sorted(set(MEASURES) - {"dft_cca"}))
@given(data=st.data())
def test_no_measure_depends_on_unit_mean_or_sign(measure, data):
    x, y = data.draw(pairs())
    taken(measure, x, y)
    a, b = data.draw(st.sampled_from([(1e-6, 1e3), (-1.0, 1e9), (37.0, -1e-9)]))
    if measure == "soft_matching":  # a neuron and its negative are two
        a, b = abs(a), abs(b)
    assume(measure != "pwcca" or not tied(x, y))
    # Angles, as they are by default, are those of responses as they come.
    mean = 3 * a * x.std() if "translation" in MEASURES[measure].invariant_to else 0.0
    moved = compared(measure, [a * x + mean], [b * y])
    np.testing.assert_allclose(moved, compared(measure, [x], [y]), atol=1e-6)


@pytest.mark.parametrize("measure", sorted(set(MEASURES) - {"dft_cca"}))
@given(data=st.data())
def test_the_order_of_datapoints_and_neurons_does_not_matter(measure, data):
    x, y = data.draw(pairs())
    taken(measure, x, y)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    rows, columns = rng.permutation(len(x)), rng.permutation(x.shape[1])
    assume(measure != "pwcca" or not tied(x, y))
    shuffled = compared(measure, [x[rows][:, columns]], [y[rows]])
    np.testing.assert_allclose(shuffled, compared(measure, [x], [y]), atol=1e-7)


@given(pairs(scales=False), st.sampled_from(["f2", "f4", ">f4", "i4", "bool"]))
def test_any_dtype_is_the_layer_it_holds(pair, dtype):
    x, y = ((100 * z if dtype == "i4" else z).astype(dtype) for z in pair)
    assume(np.ptp(x.astype(float), axis=0).max() > 0 < np.ptp(y.astype(float), axis=0).max())
    expected, found = cca(x.astype(np.float64), y.astype(np.float64)), cca(x, y)
    # What only rounds in a narrow type is no direction of it; of a copy in float64 it would be.
    assume((found.x_kept, found.y_kept) == (expected.x_kept, expected.y_kept))
    assert found.similarity == pytest.approx(expected.similarity, abs=1e-12)
    if dtype != ">f4":
        t = cca(torch.from_numpy(x.copy()), torch.from_numpy(y.copy()))
        assert t.similarity == pytest.approx(expected.similarity, abs=1e-12)


@given(pairs(), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_streaming_equals_the_whole(pair, sizes):
    x, y = pair
    m, total = Moments(), Moments()
    start = 0
    for size in [*sizes, len(x)]:
        rows = slice(start, start + size)
        if len(x[rows]):
            part = Moments()
            part.update(x[rows], y[rows])
            m.update(x[rows], y[rows])
            total.merge(part)
        start += size
    s = [np.linalg.svd(centred(z), compute_uv=False) for z in pair]
    # Moments square the condition: what lies between rounding and its root may be cut.
    assume(not any(((v / v[0] > 1e-11) & (v / v[0] < 1e-5)).any() for v in s))
    for moments in (m, total):
        np.testing.assert_allclose(cca(moments).correlations, cca(x, y).correlations, atol=1e-6)
        np.testing.assert_allclose(
            linear_regression(moments).similarity, linear_regression(x, y).similarity, atol=1e-7
        )


@given(pairs(), st.integers(1, 12))
def test_projection_is_idempotent_and_never_grows(pair, k):
    x, y = pair
    w = cca(x, y).x_weights
    k = min(k, w.shape[1])
    unit = np.abs(x).max()
    once = project(x, w, k) / unit
    np.testing.assert_allclose(project(once, w, k), once, atol=1e-6)
    assert np.linalg.norm(centred(once)) <= np.linalg.norm(centred(x)) / unit * (1 + 1e-9)
    assert np.linalg.matrix_rank(centred(once), rtol=1e-7) <= k


@given(st.integers(2, 60), st.integers(-2, 2), st.integers(0, 99))
def test_datapoints_below_at_and_above_the_neurons(p, more, seed):
    n = p + more
    assume(n >= 2)
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, p)), rng.normal(size=(n, 2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        r = cca(x, y)
    assert [w.category for w in caught] == ([SampleSizeWarning] if n <= max(p, 2) + 1 else [])
    assert r.x_kept == min(p, n - 1)
    if p >= n - 1:
        assert r.similarity == pytest.approx(1, abs=1e-7)
        assert r.chance == 1


@given(st.integers(1, 80), st.integers(1, 80), st.integers(2, 200))
def test_chance_is_symmetric_monotone_and_obeys_its_second_moment(p, q, n):
    chance = chance_correlation(p, q, n)
    assert 0 < chance <= 1
    assert chance == chance_correlation(q, p, n)
    if max(p, q) < n - 1:
        # Jensen: the mean of rho is at most the root of the mean of rho^2, p q / (n - 1) / k.
        assert chance <= np.sqrt(max(p, q) / (n - 1)) + 1e-9
        assert chance > 0.7 * np.sqrt(max(p, q) / (n - 1))
        assert chance_correlation(p, q, n + 50) < chance
        if min(p, q) > 1:
            assert chance_correlation(p + 1, q, n + 1) > 0


@needs_gpu
@given(pairs())
def test_a_gpu_gives_what_a_cpu_gives(pair):
    for measure in sorted(set(MEASURES) - {"dft_cca"}):
        on_gpu = [torch.from_numpy(np.ascontiguousarray(z)).cuda() for z in pair]
        taken(measure, *pair)
        matrix = compared(measure, on_gpu)
        assert matrix.is_cuda
        np.testing.assert_allclose(matrix.cpu(), compared(measure, list(pair)), atol=1e-7)
    assert cca(*on_gpu).correlations.is_cuda
    assert project(on_gpu[0], svcca(*on_gpu).x_weights).is_cuda
