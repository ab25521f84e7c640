"""A layer as a subspace: what is kept, what rounding may not add, and where the SVD must hold."""

import re

import numpy as np
import pytest
import scipy.linalg
import torch
from oracles import cca_by_qr, centred, layer, orthonormal

from svcca_lib import Moments, Subspace, cca, pairwise, pwcca, svcca
from svcca_lib import subspace as subspace_module
from svcca_lib._linalg import descending_eigh, singular_values, thin_svd
from svcca_lib.layer import moments_of
from svcca_lib.rank import directions_needed, rank_cut
from svcca_lib.subspace import decompose

SHAPES = {"tall": (200, 7), "square": (30, 30), "wide": (12, 40)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("keep", [0.5, 0.9, 0.99, 1.0])
def test_agrees_with_the_svd_of_the_centred_layer(shape, keep):
    x = np.random.default_rng(0).normal(size=shape) + 5.0
    u, s, vh = np.linalg.svd(centred(x), full_matrices=False)
    f = Subspace.fit(x, keep=keep)
    np.testing.assert_allclose(f.singular_values, s[: f.kept], rtol=1e-10)
    np.testing.assert_allclose(f.basis @ f.basis.T, u[:, : f.kept] @ u[:, : f.kept].T, atol=1e-10)
    expected = vh[: f.kept].T @ vh[: f.kept]
    np.testing.assert_allclose(f.directions @ f.directions.T, expected, atol=1e-10)
    np.testing.assert_allclose(f.mean, x.mean(axis=0), rtol=1e-12)
    assert (f.n, f.n_features) == shape
    assert f.rank == min(shape[0] - 1, shape[1])
    assert f.explained == pytest.approx((s[: f.kept] ** 2).sum() / (s**2).sum(), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_weights_map_centred_data_to_an_orthonormal_basis(shape):
    x = np.random.default_rng(1).normal(size=shape) - 4.0
    f = Subspace.fit(x)
    np.testing.assert_allclose((x - f.mean) @ f.weights, f.basis, atol=1e-10)
    np.testing.assert_allclose(f.basis.T @ f.basis, np.eye(f.kept), atol=1e-10)
    np.testing.assert_allclose(f.directions.T @ f.directions, np.eye(f.kept), atol=1e-10)


# Cumulative variance of [9, 3, 3, 1]**2 is 81, 90, 99, 100 %; of the singular values 9/16, 12/16,
# 15/16, 1. The kept directions are the fewest that reach the share, an exact share included.
@pytest.mark.parametrize(
    ("keep", "energy", "kept"),
    [
        (0.80, "variance", 1),
        (0.81, "variance", 1),
        (0.811, "variance", 2),
        (0.90, "variance", 2),
        (0.901, "variance", 3),
        (0.99, "variance", 3),
        (0.991, "variance", 4),
        (1.0, "variance", 4),
        (1e-9, "variance", 1),
        (0.5625, "singular_values", 1),
        (0.57, "singular_values", 2),
        (0.75, "singular_values", 2),
        (0.9375, "singular_values", 3),
        (0.94, "singular_values", 4),
        (0.99, "singular_values", 4),
    ],
)
@pytest.mark.parametrize("p", [4, 60], ids=["tall", "wide"])
def test_keeps_the_fewest_directions_that_hold_the_share(keep, energy, kept, p):
    x = layer(np.random.default_rng(2), 50, [9, 3, 3, 1], p)
    f = Subspace.fit(x, keep=keep, energy=energy)
    assert f.kept == kept
    assert f.rank == 4


def test_four_equal_directions_at_three_quarters_are_three():
    x = layer(np.random.default_rng(3), 100, [2.0, 2.0, 2.0, 2.0])
    assert Subspace.fit(x, keep=0.75).kept == 3
    assert Subspace.fit(x, keep=0.75, energy="singular_values").kept == 3


def test_the_two_readings_of_99_percent_differ_more_than_twofold():
    x = layer(np.random.default_rng(4), 500, 1.0 / np.arange(1, 201))
    by_variance = Subspace.fit(x).kept
    by_values = Subspace.fit(x, energy="singular_values").kept
    s = 1.0 / np.arange(1, 201)
    assert by_variance == int((np.cumsum(s**2) < 0.99 * (s**2).sum()).sum()) + 1
    assert by_values == int((np.cumsum(s) < 0.99 * s.sum()).sum()) + 1
    assert by_values > 2 * by_variance


def test_explained_reaches_keep_and_one_direction_fewer_does_not():
    rng = np.random.default_rng(5)
    for keep in np.linspace(0.05, 0.999, 25):
        x = layer(rng, 80, np.sort(rng.exponential(size=20))[::-1])
        f = Subspace.fit(x, keep=keep)
        assert f.explained >= keep
        shares = f.singular_values**2 / (centred(x) ** 2).sum()
        assert shares[:-1].sum() < keep


# --- rank: nothing that rounding made ----------------------------------------------------------


def degenerate(rng):
    x = rng.normal(size=(60, 5)) + 10.0
    return {
        "duplicated": np.hstack([x, x, -3.0 * x[:, :1]]),
        "dead": np.hstack([x, np.zeros((60, 4))]),
        "constant": np.hstack([x, np.full((60, 3), 0.1)]),
        "softmax": np.hstack([x, 1.0 - x.sum(axis=1, keepdims=True)]),
    }


@pytest.mark.parametrize("keep", [0.99999, 1.0])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("kind", ["duplicated", "dead", "constant", "softmax"])
def test_dead_constant_and_dependent_neurons_add_no_direction(kind, scale, keep):
    x = scale * degenerate(np.random.default_rng(6))[kind]
    f = Subspace.fit(x, keep=keep)
    assert f.rank == 5
    assert f.kept == 5


def test_rank_is_at_most_datapoints_minus_one():
    x = np.random.default_rng(7).normal(size=(10, 25))
    assert Subspace.fit(x, keep=1).rank == 9
    assert Subspace.fit(x).rank == 9


@pytest.mark.parametrize("smallest", [1e-2, 1e-5, 1e-9])
def test_full_rank_is_found_in_ill_conditioned_layers(smallest):
    x = layer(np.random.default_rng(8), 300, np.geomspace(1, smallest, 20))
    f = Subspace.fit(x, keep=1)
    assert (f.rank, f.kept) == (20, 20)
    np.testing.assert_allclose(f.basis.T @ f.basis, np.eye(20), atol=1e-5 * 1e-9 / smallest + 1e-9)


def test_float32_input_is_cast_before_it_is_centred():
    # In float32 the centring alone blurs directions of 1e-3 under a mean of 1e4.
    rng = np.random.default_rng(9)
    x = (layer(rng, 400, np.geomspace(1e3, 1, 30)) + 1e4).astype(np.float32)
    exact = np.linalg.svd(centred(x), compute_uv=False)
    np.testing.assert_allclose(Subspace.fit(x, keep=1).singular_values, exact, rtol=1e-9)
    naive = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    assert np.abs(naive / exact - 1).max() > 1e-6


def test_float32_precision_keeps_the_directions_of_many_datapoints():
    # A tolerance of max(n, p) * eps on Gram eigenvalues would keep 15 of these 47 directions.
    x = layer(np.random.default_rng(10), 20_000, 1.0 / np.arange(1, 201))
    exact, fast = Subspace.fit(x), Subspace.fit(x, precision="float32")
    assert fast.rank == 200
    assert abs(fast.kept - exact.kept) <= 1


@pytest.mark.filterwarnings("ignore::svcca_lib.SampleSizeWarning")
def test_float32_precision_is_good_to_one_in_a_thousand():
    rng = np.random.default_rng(11)
    for n, p in ((2000, 50), (300, 100), (60, 90)):
        x = rng.normal(size=(n, p)) @ np.diag(1.0 / np.arange(1, p + 1))
        y = x @ rng.normal(size=(p, p)) / p + 0.1 * rng.normal(size=(n, p))
        kwargs = {"keep": 0.95}
        a = svcca(
            Subspace.fit(x, precision="float32", **kwargs),
            Subspace.fit(y, precision="float32", **kwargs),
        )
        b = svcca(Subspace.fit(x, **kwargs), Subspace.fit(y, **kwargs))
        assert a.correlations.dtype == np.float32
        assert a.similarity == pytest.approx(b.similarity, abs=1e-3)


def test_rank_cut_is_relative_and_strict():
    s = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    assert rank_cut(s, (10, 3)) == 2
    assert rank_cut(1e-30 * s, (10, 3)) == 2
    assert rank_cut(0 * s, (10, 3)) == 0
    eps = torch.finfo(torch.float64).eps
    edge = torch.tensor([1.0, 10 * eps, 10.01 * eps], dtype=torch.float64).sort(descending=True)[0]
    assert rank_cut(edge, (10, 3)) == 2
    assert rank_cut(edge, (3, 10)) == 2


def test_directions_needed_never_exceeds_the_rank():
    s = torch.tensor([4.0, 2.0, 1e-17], dtype=torch.float64)
    assert directions_needed(s, 2, 1.0) == 2
    assert directions_needed(s, 2, 1 - 1e-16) == 2
    assert directions_needed(s, 2, 0.5) == 1


# --- centring ----------------------------------------------------------------------------------


def test_centres_along_the_datapoints():
    rng = np.random.default_rng(12)
    x = rng.normal(size=(40, 6))
    moved = x + 1e3 * rng.normal(size=6)
    a, b = Subspace.fit(x, keep=1), Subspace.fit(moved, keep=1)
    np.testing.assert_allclose(a.singular_values, b.singular_values, rtol=1e-9)
    np.testing.assert_allclose(b.basis.mean(axis=0), 0, atol=1e-12)
    # One common shift of a whole datapoint is *not* removed: rows are not what is centred.
    by_row = Subspace.fit(x + rng.normal(size=(40, 1)), keep=1)
    assert not np.allclose(a.singular_values, by_row.singular_values)


def test_a_constant_neuron_becomes_exactly_zero():
    x = np.random.default_rng(13).normal(size=(7, 2))
    x[:, 1] = 0.1  # its mean over 7 rows rounds away from 0.1
    f = Subspace.fit(1e-16 * x + [0.0, 0.1 - 1e-17], keep=1)
    assert f.rank == 1
    assert f.directions[1] == pytest.approx(0, abs=0)


# --- libraries, dtypes and layouts -------------------------------------------------------------


def test_numpy_in_numpy_out_torch_in_torch_out():
    x = np.random.default_rng(14).normal(size=(20, 3))
    for given, kind in ((x, np.ndarray), (torch.from_numpy(x), torch.Tensor)):
        f = Subspace.fit(given)
        for value in (f.mean, f.directions, f.singular_values, f.weights, f.basis):
            assert isinstance(value, kind)
            assert str(value.dtype).endswith("float64")


def test_is_frozen_and_says_what_it_is():
    f = Subspace.fit(np.random.default_rng(15).normal(size=(20, 3)))
    with pytest.raises(AttributeError):
        f.n = 3
    assert repr(f) == "Subspace(n=20, n_features=3, rank=3, kept=3, explained=1.0000)"


def test_fit_leaves_its_input_alone():
    x = np.random.default_rng(16).normal(size=(20, 3)) + 1
    before = x.copy()
    f = Subspace.fit(x)
    f.basis[:] = 0
    np.testing.assert_array_equal(x, before)


def test_made_from_moments_it_has_no_rows():
    m = Moments()
    m.update(np.random.default_rng(17).normal(size=(20, 3)))
    f = decompose(moments_of(m, "x"), 0.99, "variance")
    with pytest.raises(
        ValueError, match=r"^this Subspace was made from moments and holds no rows$"
    ):
        f.basis  # noqa: B018


# --- the SVD and its fall-back -----------------------------------------------------------------


@pytest.fixture
def broken_svd(monkeypatch):
    """Divide and conquer, and cuSOLVER's Jacobi method, as they sometimes are: not converging."""
    calls = []

    def failing(error):
        def fail(*args, **kwargs):
            calls.append(kwargs)
            raise error("linalg.svd: The algorithm failed to converge")

        return fail

    monkeypatch.setattr(np.linalg, "svd", failing(np.linalg.LinAlgError))
    monkeypatch.setattr(torch.linalg, "svd", failing(torch.linalg.LinAlgError))
    monkeypatch.setattr(torch.linalg, "svdvals", failing(torch.linalg.LinAlgError))
    return calls


@pytest.mark.parametrize("shape", [(9, 4), (4, 9)])
def test_svd_falls_back_where_the_fast_driver_does_not_converge(broken_svd, shape):
    x = np.random.default_rng(18).normal(size=shape)
    expected = scipy.linalg.svdvals(x)
    u, s, v = thin_svd(torch.from_numpy(x))
    np.testing.assert_allclose(s, expected, rtol=1e-12)
    np.testing.assert_allclose((u * s) @ v.T, x, atol=1e-12)
    np.testing.assert_allclose(singular_values(torch.from_numpy(x)), expected, rtol=1e-12)
    assert broken_svd


def test_a_batch_falls_back_as_well(broken_svd):
    x = torch.randn(3, 5, 2, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    u, s, v = thin_svd(x)
    assert torch.allclose((u * s[:, None]) @ v.mH, x)
    assert torch.equal(singular_values(x), s)


def test_a_conjugated_view_is_decomposed_as_its_values():
    x = torch.randn(3, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    assert x.mH.is_conj()
    u, s, v = thin_svd(x.mH)
    assert torch.allclose((u * s) @ v.mH, x.mH)
    assert torch.allclose(singular_values(x.mH), s)
    values, vectors = descending_eigh((x @ x.mH).mH)
    assert torch.allclose((vectors * values) @ vectors.mH, x @ x.mH)


def test_similarities_survive_a_driver_that_does_not_converge(broken_svd):
    rng = np.random.default_rng(19)
    x, y = rng.normal(size=(40, 4)), rng.normal(size=(40, 3))
    np.testing.assert_allclose(cca(x, y).correlations, cca_by_qr(x, y), atol=1e-10)
    assert broken_svd


def test_a_failing_driver_does_not_lose_a_gradient_silently(broken_svd):
    x = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    with pytest.raises(torch.linalg.LinAlgError):
        thin_svd(x)


def test_a_failing_gpu_driver_is_replaced_by_qr_iteration(monkeypatch):
    """The CUDA branch, on a stand-in: gesvdj fails, gesvd is asked for and gives the answer."""
    real, drivers = torch.linalg.svd, []

    class OnGPU:
        is_cuda, requires_grad, device = True, False, torch.device("cuda")
        matrix = torch.diag(torch.tensor([3.0, 2.0]))

    def svd(x, full_matrices, driver=None):
        assert full_matrices is False
        drivers.append(driver)
        if driver is None:
            raise torch.linalg.LinAlgError("gesvdj did not converge")
        return real(x.matrix, full_matrices=False)

    monkeypatch.setattr(torch.linalg, "svd", svd)
    assert thin_svd(OnGPU())[1].tolist() == [3.0, 2.0]
    assert drivers == [None, "gesvd"]


def test_ill_conditioned_layers_leave_the_gram_matrix_for_the_svd(monkeypatch):
    calls = []
    real = subspace_module.thin_svd
    monkeypatch.setattr(subspace_module, "thin_svd", lambda x: calls.append(1) or real(x))
    rng = np.random.default_rng(20)
    well, ill = layer(rng, 100, np.geomspace(1, 0.1, 8)), layer(rng, 100, np.geomspace(1, 1e-6, 8))
    Subspace.fit(well, keep=1)
    assert not calls
    Subspace.fit(ill, keep=0.9)
    assert not calls
    Subspace.fit(ill, keep=1)
    assert calls


# --- gradients ---------------------------------------------------------------------------------


def grad_layers(n, p, q, seed=21):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, p, generator=g, dtype=torch.float64)
    y = x @ torch.randn(p, q, generator=g, dtype=torch.float64)
    y = y + torch.randn(n, q, generator=g, dtype=torch.float64)
    return x.requires_grad_(), y.requires_grad_()


@pytest.mark.parametrize(("n", "p", "q"), [(12, 4, 3), (12, 3, 3), (8, 2, 5)])
def test_sum_of_correlations_has_the_right_gradient(n, p, q):
    x, y = grad_layers(n, p, q)
    assert torch.autograd.gradcheck(lambda a, b: cca(a, b).correlations.sum(), (x, y))
    assert torch.autograd.gradcheck(lambda a, b: svcca(a, b, keep=0.8).correlations.sum(), (x, y))


@pytest.mark.filterwarnings("ignore::svcca_lib.SampleSizeWarning")
def test_sum_of_correlations_of_wide_layers_has_the_right_gradient():
    x, y = grad_layers(7, 12, 9)
    assert torch.autograd.gradcheck(lambda a, b: svcca(a, b, keep=0.7).correlations.sum(), (x, y))


def test_repeated_singular_values_leave_the_gradient_finite_and_right():
    # Two equal singular values in the layer, two equal correlations: the derivative of either SVD's
    # vectors is undefined, that of the sum of the correlations is not.
    rng = np.random.default_rng(22)
    q = orthonormal(rng, 14, 6)
    x = torch.from_numpy(q[:, :3] * np.array([2.0, 1.0, 1.0])).requires_grad_()
    y = torch.from_numpy(0.6 * q[:, :3] + 0.8 * q[:, 3:])
    r = cca(x, y)
    np.testing.assert_allclose(r.correlations.detach(), 0.6, atol=1e-12)
    assert torch.autograd.gradcheck(lambda a: cca(a, y).correlations.sum(), (x,))


def test_gradient_of_an_unresolvable_layer_is_an_error_not_noise():
    x = torch.randn(20, 3, dtype=torch.float64)
    x = torch.cat([x, x], dim=1).requires_grad_()
    message = (
        "x cannot be differentiated at keep=1.0: its smallest kept directions are too close to "
        "rounding (shape (20, 6), rank 3); lower keep or remove dead and duplicated neurons"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        cca(x, torch.randn(20, 3, dtype=torch.float64))
    svcca(x, torch.randn(20, 3, dtype=torch.float64)).correlations.sum().backward()
    assert torch.isfinite(x.grad).all()


# --- bad cuts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "error", "message"),
    [
        (0, ValueError, "keep must be a fraction in (0, 1], such as 0.99; got 0"),
        (-0.5, ValueError, "keep must be a fraction in (0, 1], such as 0.99; got -0.5"),
        (float("nan"), ValueError, "keep must be a fraction in (0, 1], such as 0.99; got nan"),
        (
            20,
            ValueError,
            "keep must be a fraction in (0, 1], such as 0.99; got 20; to keep a number of "
            "directions use project",
        ),
        (True, TypeError, "keep must be a number in (0, 1]; got bool"),
        ("0.99", TypeError, "keep must be a number in (0, 1]; got str"),
        (None, TypeError, "keep must be a number in (0, 1]; got NoneType"),
    ],
)
def test_keep_outside_its_range_is_refused(keep, error, message):
    x = np.random.default_rng(23).normal(size=(20, 3))
    for call in (Subspace.fit, lambda a, keep: svcca(a, a, keep=keep)):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            call(x, keep=keep)


@pytest.mark.parametrize("keep", [1, np.float32(0.5), np.int64(1)])
def test_keep_may_be_any_number(keep):
    x = np.random.default_rng(24).normal(size=(20, 3))
    assert 1 <= Subspace.fit(x, keep=keep).kept <= 3


def test_unknown_energy_and_precision_are_refused():
    x = np.random.default_rng(25).normal(size=(20, 3))
    message = "energy must be one of 'variance', 'singular_values'; got 'power'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Subspace.fit(x, energy="power")
    message = "precision must be one of 'float64', 'float32'; got 'float16'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Subspace.fit(x, precision="float16")


def test_centring_rounds_and_its_rounding_is_no_direction():
    # Two datapoints span one direction; under a mean ten times the spread, rounding made it two.
    rng = np.random.default_rng(26)
    for _ in range(50):
        assert Subspace.fit(rng.normal(size=(2, 3)) + 10, keep=1).rank == 1
        x = rng.normal(size=(20, 1))
        doubled = np.hstack([x + 1000.3, -2.0 * x + 77.7, 3.0 * x - 5000.1])
        for keep in (1, 0.999999):
            assert Subspace.fit(doubled, keep=keep).rank == 1


def test_a_layer_constant_but_for_rounding_has_no_variance():
    x = np.full((20, 3), 0.3)
    x[::2] = 0.1 + 0.2  # 0.30000000000000004
    with pytest.raises(ValueError, match=r"^x has no variance left after centring"):
        Subspace.fit(x)


@pytest.mark.parametrize("energy", ["variance", "singular_values"])
@pytest.mark.parametrize("measure", [svcca, pwcca])
def test_float32_keeps_what_float64_keeps_under_one_loud_direction(energy, measure):
    """Below one direction 200 times as loud, float32 found a rank of 1 and a similarity of 1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 512)) * np.array([200.0, *np.ones(511)])
    y = np.hstack([x[:, :1], rng.normal(size=(1500, 511))])
    exact = measure(x, y, keep=0.99, energy=energy)
    rounded = measure(x, y, keep=0.99, energy=energy, precision="float32")
    assert (rounded.x_kept, rounded.y_kept) == (exact.x_kept, exact.y_kept)
    assert rounded.similarity == pytest.approx(exact.similarity, abs=1e-3)
    assert exact.similarity < 0.7


def test_float32_loses_no_direction_to_its_own_slack():
    values = torch.ones(512)
    assert directions_needed(values, 512, 0.75) == 384
    assert directions_needed(values, 512, 0.9981) == 512  # 511.03 of them, rounded up
    falling = torch.linspace(2, 1, 512)
    for keep in (0.9, 0.99, 0.999):
        assert directions_needed(falling, 512, keep) == directions_needed(
            falling.double(), 512, keep
        )


def test_layers_that_float32_resolves_and_does_not_are_compared():
    rng = np.random.default_rng(1)
    plain = rng.normal(size=(600, 40))
    loud = np.hstack([300 * plain[:, :1], plain[:, 1:]])
    table = pairwise([plain, loud], precision="float32")
    np.testing.assert_allclose(table, pairwise([plain, loud]), atol=1e-3)
