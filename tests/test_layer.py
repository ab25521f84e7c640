"""Rows become moments in blocks: whatever they are kept in, and without a copy of them all."""

import re
import tracemalloc

import numpy as np
import pytest
import torch
from oracles import cca_by_qr, centred, svcca_by_svd

from svcca_lib import FourierMoments, Moments, Subspace, cca, dft_cca, pairwise, pwcca, svcca
from svcca_lib.inputs import rows_of
from svcca_lib.layer import joint_moments_of, moments_of
from svcca_lib.moments import BLOCK

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2 * BLOCK + 77, 6)) + 3.0
Y = X @ RNG.normal(size=(6, 4)) + RNG.normal(size=(len(X), 4))


class Lazy:
    """What an h5py dataset or a zarr array is: a shape, a dtype, and rows to slice."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype, self.largest = array.shape, array.dtype, 0

    def __getitem__(self, rows):
        self.largest = max(self.largest, len(self._array[rows]))
        return self._array[rows]


def stored(kind, array, tmp_path):
    if kind == "memory map":
        np.save(tmp_path / "x.npy", array)
        return np.load(tmp_path / "x.npy", mmap_mode="r")
    if kind == "lazy":
        return Lazy(array)
    if kind == "hdf5":
        file = pytest.importorskip("h5py").File(tmp_path / "x.h5", "w")
        return file.create_dataset("x", data=array)
    if kind == "zarr":
        return pytest.importorskip("zarr").array(array)
    return {"big-endian": lambda a: a.astype(">f8"), "fortran": np.asfortranarray}[kind](array)


KINDS = ["memory map", "lazy", "hdf5", "zarr", "big-endian", "fortran"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_any_source_are_the_same_layer(kind, tmp_path):
    x, expected = stored(kind, X, tmp_path), svcca(X, Y)
    assert svcca(x, Y).similarity == expected.similarity
    assert Subspace.fit(x).kept == expected.x_kept
    np.testing.assert_array_equal(svcca(x, Y).x_weights, expected.x_weights)
    m = Moments()
    m.update(x, Y)
    assert svcca(m).similarity == pytest.approx(expected.similarity, abs=1e-13)


def test_a_lazy_layer_is_read_in_blocks():
    x = Lazy(X)
    cca(x, Y)
    assert x.largest == BLOCK


def test_no_copy_of_all_rows_is_made():
    """41 MB a layer; blocks and matrices of 128 neurons take some 10."""
    x, y = np.random.default_rng(1).normal(size=(2, 20 * BLOCK, 128))
    svcca(x[:300], y[:300])
    tracemalloc.start()
    svcca(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 2


@pytest.mark.parametrize("measure", [svcca, cca, pwcca])
def test_blocks_agree_with_independent_routes(measure):
    oracle = svcca_by_svd(X, Y) if measure is svcca else cca_by_qr(X, Y)
    np.testing.assert_allclose(measure(X, Y).correlations, oracle, atol=1e-12)


@pytest.mark.parametrize("rows", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
def test_any_number_of_rows_gives_the_scatter_of_the_whole(rows):
    first, second, cross = joint_moments_of(rows_of(X[:rows], "x"), rows_of(Y[:rows], "y"))
    x, y = centred(X[:rows]), centred(Y[:rows])
    np.testing.assert_allclose(first.gram, x.T @ x, atol=1e-9)
    np.testing.assert_allclose(second.gram, y.T @ y, atol=1e-9)
    np.testing.assert_allclose(cross, x.T @ y, atol=1e-9)
    np.testing.assert_allclose(first.mean, X[:rows].mean(0), rtol=1e-13)


@pytest.mark.parametrize("drift", [0.0, 1e4])
def test_a_mean_a_million_times_the_spread_costs_no_more_than_the_data_lost(drift):
    """Blocks are centred on their own means: raw sums would lose all, and a pilot mean drifts."""
    exact = np.random.default_rng(2).normal(size=(3 * BLOCK, 5)).round(3)
    exact += np.arange(len(exact))[:, None] // BLOCK * drift
    gram = moments_of(rows_of(exact + 1e6, "x"), "x").gram.numpy()
    oracle = centred(exact).T @ centred(exact)
    assert np.abs(gram - oracle).max() < 1e-11 * np.abs(oracle).max() + 1e-6


def test_a_bad_value_in_a_late_block_is_named_and_leaves_no_trace():
    x = X.copy()
    x[-1, 0] = np.nan
    message = f"x must be finite; got 1 NaN or infinite values in shape {X.shape}"
    m = Moments()
    m.update(X)
    before = m.xx.clone()
    for call in (lambda: cca(x, Y), lambda: Subspace.fit(x), lambda: m.update(x)):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            call()
    assert m.n == len(X)
    assert torch.equal(m.xx, before)


def test_batches_of_images_add_up_in_blocks(monkeypatch):
    x, y = np.random.default_rng(3).normal(size=(2, 50, 3, 4, 4)) + 5
    whole = dft_cca(x, y)
    monkeypatch.setattr("svcca_lib.fourier.moments.BLOCK", 7 * x[0].size)
    m = FourierMoments()
    m.update(x, y)
    assert dft_cca(x, y).similarity == pytest.approx(whole.similarity, abs=1e-12)
    assert dft_cca(m).similarity == pytest.approx(whole.similarity, abs=1e-12)


# --- what is refused ---------------------------------------------------------------------------


def test_what_is_no_array_is_told_what_to_do():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match=r"got DataFrame; give x\.to_numpy\(\)$"):
        cca(pandas.DataFrame(X), Y)
    with pytest.raises(TypeError, match=r"got list; give numpy\.asarray\(y\)$"):
        cca(X, Y.tolist())


def test_masked_values_are_not_data():
    masked = np.ma.masked_greater(X, 4.0)
    with pytest.raises(TypeError, match=r"^x has masked values, which would count as data; drop"):
        cca(masked, Y)
    assert cca(np.ma.masked_array(X), Y).similarity == cca(X, Y).similarity


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_integers_that_float64_would_round_are_refused(kind):
    x = (X * 1000).astype(np.int64)
    assert cca(kind(x), kind(Y)).similarity == cca(x.astype(float), Y).similarity
    x[0, 0] = 2**53 + 1
    with pytest.raises(ValueError, match=r"^x holds integers from 2\*\*53"):
        cca(kind(x), kind(Y))


# --- scales ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-160, 1e160, 1e200, 1e300])
@pytest.mark.parametrize("measure", [svcca, cca, pwcca])
def test_the_unit_of_a_layer_does_not_matter(measure, scale):
    plain, scaled = measure(X, Y), measure(scale * X, Y)
    np.testing.assert_allclose(scaled.correlations, plain.correlations, atol=1e-12)
    assert scaled.similarity == pytest.approx(plain.similarity, abs=1e-12)
    variates = (scale * (X - X.mean(0))) @ scaled.x_weights
    np.testing.assert_allclose(variates.T @ variates, np.eye(variates.shape[1]), atol=1e-9)


def test_a_stream_too_small_to_be_squared_says_so():
    m = Moments()
    m.update(1e-200 * X)
    with pytest.raises(ValueError, match=r"^x is too small to be squared in torch\.float64"):
        moments_of(m, "x")


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_the_unit_of_images_does_not_matter(scale):
    x, y = np.random.default_rng(4).normal(size=(2, 40, 2, 4, 4))
    assert dft_cca(scale * x, y).similarity == pytest.approx(dft_cca(x, y).similarity, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_a_subspace_is_in_the_units_of_its_layer(scale):
    plain, scaled = Subspace.fit(X), Subspace.fit(scale * X)
    np.testing.assert_allclose(scaled.singular_values / scale, plain.singular_values, rtol=1e-12)
    np.testing.assert_allclose(scaled.mean / scale, plain.mean, rtol=1e-12)
    wide = Subspace.fit(scale * X[:5])
    np.testing.assert_allclose(
        wide.singular_values / scale, Subspace.fit(X[:5]).singular_values, rtol=1e-12
    )


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_a_neuron_in_another_unit_is_as_much_a_neuron(unit):
    units = np.where(np.arange(6) == 2, unit, 1.0)
    expected = cca(X, Y)
    m = Moments()
    m.update(X * units, Y)
    for found in (cca(X * units, Y), cca(m), cca(Subspace.fit(X * units, keep=1), Y)):
        assert found.x_kept == 6
        np.testing.assert_allclose(found.correlations, expected.correlations, atol=1e-9)


# --- float32 arithmetic ------------------------------------------------------------------------


def test_float32_arithmetic_is_good_to_one_in_ten_thousand():
    rng = np.random.default_rng(5)
    spectrum = np.arange(1, 65) ** -0.75
    x = (rng.normal(size=(5000, 64)) * spectrum + 1).astype(np.float32)
    y = (x @ rng.normal(size=(64, 48)) / 8 + 0.1 * rng.normal(size=(5000, 48))).astype(np.float32)
    exact, fast = svcca(x, y), svcca(x, y, precision="float32")
    assert (fast.x_kept, fast.y_kept) == (exact.x_kept, exact.y_kept)
    assert fast.correlations.dtype == np.float32
    assert fast.similarity == pytest.approx(exact.similarity, abs=1e-4)


def test_a_share_that_float32_cannot_tell_is_told_in_float64():
    """Four equal directions at three quarters: met exactly, and so not known in float32."""
    x = np.kron(np.eye(4), np.ones((500, 1))).astype(np.float32)
    x = np.hstack([x[:, :1] - x[:, 1:2], x[:, 2:3] - x[:, 3:]])
    fit = Subspace.fit(x, keep=0.5, precision="float32")
    assert (fit.kept, fit.tensors.values.dtype) == (1, torch.float64)


# --- the mean of squares -----------------------------------------------------------------------


@pytest.mark.parametrize("measure", [svcca, cca])
def test_squared_is_the_mean_of_squared_correlations(measure):
    plain, squared = measure(X, Y), measure(X, Y, squared=True)
    assert squared.similarity == pytest.approx((plain.correlations**2).mean(), abs=1e-14)
    np.testing.assert_array_equal(squared.correlations, plain.correlations)
    assert squared.chance == max(squared.x_kept, squared.y_kept) / (squared.n - 1)


def test_squared_of_one_target_is_the_share_it_explains():
    target = Y[:, :1]
    design = centred(X)
    residual = centred(target) - design @ np.linalg.lstsq(design, centred(target), rcond=None)[0]
    share = 1 - (residual**2).sum() / (centred(target) ** 2).sum()
    assert cca(X, target, squared=True).similarity == pytest.approx(share, abs=1e-12)
    assert pairwise([X], [target], "cca", squared=True)[0, 0] == pytest.approx(share, abs=1e-12)


def test_squared_of_independent_layers_is_its_chance():
    rng = np.random.default_rng(6)
    found = [cca(*rng.normal(size=(2, 200, 8)), squared=True) for _ in range(60)]
    mean = np.mean([r.similarity for r in found])
    assert found[0].chance == 8 / 199
    assert mean == pytest.approx(8 / 199, rel=0.05)


@pytest.mark.parametrize("side", ["x", "y"])
def test_squared_pwcca_weighs_squares(side):
    r, s = (pwcca(X, Y, side=side, squared=squared) for squared in (False, True))
    assert r.similarity**2 <= s.similarity <= r.similarity  # Jensen's inequality; rho <= 1


def test_squared_dft_cca_counts_multiplicities():
    x, y = np.random.default_rng(7).normal(size=(2, 90, 3, 4, 4))
    r, s = dft_cca(x, y), dft_cca(x, y, squared=True)
    expected = (r.multiplicities[:, None] * r.correlations**2).sum() / min(r.x_kept, r.y_kept)
    assert s.similarity == pytest.approx(expected, abs=1e-13)
    assert s.chance == pytest.approx(3 / 89)
