"""Moments: any batching, any merging and any mean give what the whole data give."""

import re

import numpy as np
import pytest
import torch
from oracles import cca_by_qr, centred

from svcca_lib import Moments, cca, cka, linear_regression, procrustes, pwcca, svcca

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 6)) * np.geomspace(1, 0.1, 6)
Y = X @ RNG.normal(size=(6, 4)) + RNG.normal(size=(240, 4))


def gathered(x, y=None, sizes=(240,)):
    m = Moments()
    for rows in np.split(np.arange(len(x)), np.cumsum(sizes)[:-1]):
        if y is None:
            m.update(x[rows])
        else:
            m.update(x[rows], y[rows])
    return m


BATCHES = {"one": (240,), "equal": (60,) * 4, "ragged": (1, 7, 200, 32), "rows": (1,) * 240}


@pytest.mark.parametrize("sizes", BATCHES.values(), ids=BATCHES)
def test_any_batching_gives_the_scatter_of_the_whole(sizes):
    m = gathered(X + 3, Y - 2, sizes)
    xc, yc = centred(X), centred(Y)
    np.testing.assert_allclose(m.mean_x, (X + 3).mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(m.mean_y, (Y - 2).mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(m.xx, xc.T @ xc, atol=1e-11)
    np.testing.assert_allclose(m.yy, yc.T @ yc, atol=1e-11)
    np.testing.assert_allclose(m.xy, xc.T @ yc, atol=1e-11)
    assert (m.n, m.paired) == (240, True)


def test_a_single_layer_has_no_cross_scatter():
    m = gathered(X, sizes=BATCHES["ragged"])
    np.testing.assert_allclose(m.xx, centred(X).T @ centred(X), atol=1e-11)
    assert (m.yy, m.xy, m.mean_y, m.paired) == (None, None, None, False)


@pytest.mark.parametrize("sizes", [(3000,), (1500, 1500), (1023, 1024, 953)])
def test_long_batches_add_up_as_short_ones_do(sizes):
    """From some length on another product computes half of a scatter and mirrors it."""
    x = np.random.default_rng(2).normal(size=(3000, 6)) + 5
    m = gathered(x, x[:, :2], sizes)
    np.testing.assert_allclose(m.xx, centred(x).T @ centred(x), atol=1e-9)
    np.testing.assert_allclose(m.xy, centred(x).T @ centred(x)[:, :2], atol=1e-9)


def test_streaming_is_exact_to_1e_9_on_a_large_mean():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5000, 8)) + 1e6
    y = x @ rng.normal(size=(8, 5)) + rng.normal(size=(5000, 5)) - 1e6
    m = gathered(x, y, (500,) * 10)
    # The oracle sees data whose means were taken out before they could cost digits.
    expected = cca_by_qr(x - 1e6, y - y.mean(axis=0))
    np.testing.assert_allclose(cca(m).correlations, expected, atol=1e-9)
    # Raw sums of products, E[xy] - E[x] E[y], lose everything here.
    raw = x.T @ x - len(x) * np.outer(x.mean(axis=0), x.mean(axis=0))
    assert np.abs(raw - m.xx.numpy()).max() > 1e-3 * m.xx.numpy().max()


def test_float32_batches_have_no_negative_eigenvalues():
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(4000, 20)) * np.geomspace(1, 1e-3, 20) + 10).astype(np.float32)
    m = gathered(x, sizes=(400,) * 10)
    assert torch.linalg.eigvalsh(m.xx).min() > 0
    raw = x.T @ x - len(x) * np.outer(x.mean(axis=0), x.mean(axis=0))
    assert np.linalg.eigvalsh(raw).min() < 0


def test_merge_is_what_one_worker_would_have_seen():
    whole = gathered(X, Y)
    parts = [gathered(X[a:b], Y[a:b], (b - a,)) for a, b in ((0, 3), (3, 100), (100, 240))]
    total = Moments()
    for part in parts:
        total.merge(part)
    for name in ("mean_x", "mean_y", "xx", "yy", "xy"):
        np.testing.assert_allclose(getattr(total, name), getattr(whole, name), atol=1e-11)
    assert total.n == 240
    # In another order, and in a tree.
    tree = gathered(X[100:], Y[100:], (140,))
    tree.merge(parts[0])
    tree.merge(parts[1])
    np.testing.assert_allclose(tree.xy, whole.xy, atol=1e-11)


def test_merge_leaves_the_other_alone_and_ignores_an_empty_one():
    a, b = gathered(X[:100], Y[:100], (100,)), gathered(X[100:], Y[100:], (140,))
    before = b.xx.clone(), b.mean_x.clone()
    a.merge(b)
    a.merge(Moments())
    assert a.n == 240
    assert torch.equal(b.xx, before[0])
    assert torch.equal(b.mean_x, before[1])
    assert b.n == 140
    empty = Moments()
    empty.merge(b)
    empty.update(X[:100], Y[:100])
    assert torch.equal(b.xx, before[0])
    np.testing.assert_allclose(empty.xx, a.xx, atol=1e-11)


def test_update_does_not_write_into_its_batches():
    x, y = X.copy(), torch.from_numpy(Y.copy())
    m = Moments()
    m.update(torch.from_numpy(x), y)
    m.update(torch.from_numpy(x), y)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_averaging_cca_over_minibatches_is_another_number():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(6000, 20)), rng.normal(size=(6000, 20))
    sizes = (60,) * 100
    m = gathered(x, y, sizes)
    batches = np.split(np.arange(6000), 100)
    averaged = np.mean([cca(x[rows], y[rows]).similarity for rows in batches])
    assert averaged > 5 * cca(m).similarity
    assert cca(m).similarity == pytest.approx(cca_by_qr(x, y).mean(), abs=1e-10)


def test_constant_neurons_leave_no_direction_of_rounding():
    # The mean of seven times 0.1 is not 0.1: without care its rounding is a direction.
    x = np.hstack([1e-16 * X, np.full((240, 2), 0.1), np.full((240, 1), 1e5)])
    m = gathered(x, Y, (7,) * 34 + (2,))
    r = cca(m)
    assert r.x_kept == 6
    np.testing.assert_allclose(r.correlations, cca_by_qr(X, Y), atol=1e-7)


def test_rank_is_found_in_dependent_neurons():
    x = np.hstack([X, X @ RNG.normal(size=(6, 3)), np.zeros((240, 2))])
    for sizes in BATCHES.values():
        r = cca(gathered(x, Y, sizes))
        assert (r.x_kept, r.y_kept) == (6, 4)
        np.testing.assert_allclose(r.correlations, cca_by_qr(X, Y), atol=1e-9)


@pytest.mark.filterwarnings("ignore::svcca_lib.SampleSizeWarning")
def test_rank_is_at_most_datapoints_minus_one():
    m = gathered(X[:5], Y[:5], (2, 3))
    assert cca(m).x_kept == 4
    two = gathered(X[:2], Y[:2], (1, 1))
    assert cca(two).x_kept == 1
    assert cca(two).similarity == pytest.approx(1)


@pytest.mark.parametrize("measure", [svcca, cca, pwcca, linear_regression, cka, procrustes])
def test_the_library_of_the_batches_is_that_of_the_result(measure):
    m = gathered(torch.from_numpy(X), torch.from_numpy(Y), BATCHES["ragged"])
    n = gathered(X, Y, BATCHES["ragged"])
    assert m.numpy is False
    assert n.numpy is True
    assert measure(m).similarity == measure(n).similarity
    if measure in (svcca, cca, pwcca):
        assert isinstance(measure(m).correlations, torch.Tensor)
        assert isinstance(measure(n).correlations, np.ndarray)


def test_merged_moments_take_the_library_of_what_they_took_in():
    total = Moments()
    total.merge(gathered(X, Y))
    assert total.numpy is True


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_accumulates_in_float64_whatever_the_batches_are(dtype):
    m = Moments()
    x = torch.from_numpy(X > 0).to(dtype)
    m.update(x)
    assert m.xx.dtype == m.mean_x.dtype == torch.float64
    np.testing.assert_allclose(m.xx, centred(X > 0).T @ centred(X > 0), atol=1e-10)


def test_carries_no_gradient():
    m = Moments()
    m.update(torch.from_numpy(X).requires_grad_())
    assert not m.xx.requires_grad


def test_says_what_it_holds():
    m = Moments()
    assert repr(m) == "Moments(empty)"
    assert (m.n, m.paired, m.mean_x, m.mean_y, m.xx) == (0, None, None, None, None)
    m.update(X, Y)
    assert "240" in repr(m)
    assert "6" in repr(m)
    assert "4" in repr(m)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (X[:, :5], Y, ValueError, r"expected .*6, 4.* got .*5, 4"),
        (X, Y[:, :3], ValueError, r"expected .*6, 4.* got .*6, 3"),
        (X, None, ValueError, r"expected .*6, 4.* got .*6, 0"),
        (
            X,
            Y[:9],
            ValueError,
            re.escape(
                "x and y must be responses to the same datapoints, row by row; "
                "got 240 rows in x and 9 in y"
            ),
        ),
        (X[0], Y, ValueError, r"x must be 2-D; got shape \(6,\)"),
        (X, Y[0], ValueError, r"y must be 2-D; got shape \(4,\)"),
        (X[:0], Y[:0], ValueError, r"x needs at least 1 row \(datapoint\); got shape \(0, 6\)"),
        (X, Y * np.nan, ValueError, r"y must be finite; got 960 NaN or infinite values"),
        (X, Y.tolist(), TypeError, r"y must be a NumPy array or a torch tensor"),
        (X * 1j, Y, TypeError, r"x must hold real numbers; got dtype complex128"),
    ],
)
def test_bad_batches_are_refused_and_leave_no_trace(x, y, error, message):
    m = gathered(X, Y)
    before = m.xx.clone()
    with pytest.raises(error, match=f"^{message}"):
        m.update(x, y)
    assert m.n == 240
    assert torch.equal(m.xx, before)


def test_merging_what_does_not_fit_is_refused():
    m = gathered(X, Y)
    with pytest.raises(TypeError, match=r"^merge takes another Moments; got ndarray$"):
        m.merge(X)
    with pytest.raises(ValueError, match=r"^expected .*6, 4.* got .*4, 6"):
        m.merge(gathered(Y, X))
    with pytest.raises(ValueError, match=r"^expected .*6, 4.* got .*6, 0"):
        m.merge(gathered(X))
    assert m.n == 240


def test_joining_processes_needs_processes():
    message = (
        "all_reduce needs an initialised process group; "
        "call torch.distributed.init_process_group first"
    )
    with pytest.raises(RuntimeError, match=f"^{re.escape(message)}$"):
        gathered(X, Y).all_reduce()
