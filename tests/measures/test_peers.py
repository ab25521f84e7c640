"""Where other libraries go wrong, as passing tests. Each is named after the one it was seen in."""

import numpy as np
import pytest
import torch
from oracles import cca_by_qr, centred, layer, pwcca_by_definition, svcca_by_svd

from svcca_lib import SampleSizeWarning, Subspace, cca, pairwise, pwcca, svcca


def noise(seed, n=500, p=12, q=12):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, p)), rng.normal(size=(n, q))


# --- google/svcca ------------------------------------------------------------------------------


def test_google_svcca_keeps_what_the_layer_needs_not_twenty_directions():
    rng = np.random.default_rng(0)
    for needed in (3, 20, 45):
        x = layer(rng, 400, np.ones(needed), 60) + 1e-4 * rng.normal(size=(400, 60))
        assert svcca(x, x).x_kept == needed


def test_google_svcca_pwcca_takes_unequal_widths():
    x, y = noise(1, p=12, q=5)
    y = y + x[:, :5]
    for a, b in ((x, y), (y, x)):
        for side in ("x", "y"):
            one, other = (a, b) if side == "x" else (b, a)
            expected = pwcca_by_definition(one, other)
            assert pwcca(a, b, side=side).similarity == pytest.approx(expected, abs=1e-10)


def test_google_svcca_pwcca_ignores_a_shift_of_the_mean():
    x, y = noise(2)
    y = y + x
    before = pwcca(x, y).similarity
    assert pwcca(x + 1000.0, y - 50.0).similarity == pytest.approx(before, abs=1e-9)


def test_google_svcca_robust_cca_needs_no_second_call():
    # There a retry with its arguments in the wrong places turns 0.55 into 0.02. Here a layer that
    # breaks a covariance route gives what its well-behaved part gives, at the first call.
    x, y = noise(3)
    y = x + y
    hard = np.hstack([x, x @ np.ones((12, 3)), np.zeros((500, 4)), 1e-9 * x[:, :1]])
    assert cca(hard, y).similarity == pytest.approx(cca(x, y).similarity, abs=1e-9)


def test_google_svcca_options_cannot_land_in_the_wrong_place():
    x, y = noise(4)
    for measure in (svcca, cca, pwcca):
        with pytest.raises(TypeError):
            measure(x, y, 0.5)


def test_google_svcca_mean_is_over_all_correlations_not_98_percent_of_their_mass():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(5000, 50))
    y = np.hstack([x[:, :10], rng.normal(size=(5000, 40))])
    r = cca(x, y)
    assert r.similarity == pytest.approx(cca_by_qr(x, y).mean(), abs=1e-10)
    mass = np.cumsum(r.correlations) / r.correlations.sum()
    assert r.correlations[: int((mass < 0.98).sum()) + 1].mean() > r.similarity


@pytest.mark.parametrize("smallest", [1e-4, 1e-7, 1e-10])
def test_google_svcca_correlations_do_not_exceed_one(smallest):
    # 1.19, 4.05 and 10.3 come out of inverse roots of covariances with no relative rank cut.
    rng = np.random.default_rng(6)
    x = layer(rng, 300, np.geomspace(1, smallest, 20))
    y = layer(rng, 300, np.geomspace(1, smallest, 20)) + x @ rng.normal(size=(20, 20))
    for pair in ((x, y), (x, x), (np.hstack([x, x]), y)):
        rho = cca(*pair).correlations
        assert rho.max() <= 1
        assert rho.min() >= 0
        np.testing.assert_allclose(rho, cca_by_qr(*pair, tolerance=1e-12), atol=1e-4)


def test_google_svcca_textbook_route_does_exceed_one():
    """The reason for the rank cut, shown: inverse roots of the covariance of equal neurons."""

    def root(matrix):
        values, vectors = np.linalg.eigh(matrix)
        return vectors / np.sqrt(np.maximum(values, 1e-300)) @ vectors.T

    x, _ = noise(7)
    x = np.hstack([x, x]).astype(np.float32).astype(np.float64)
    xc = centred(x) / np.sqrt(499)
    textbook = root(xc.T @ xc) @ (xc.T @ xc) @ root(xc.T @ xc)
    assert np.linalg.svd(textbook, compute_uv=False)[0] > 1.1
    assert cca(x, x).correlations.tolist() == pytest.approx([1.0] * 12)


# --- anatome -----------------------------------------------------------------------------------


def test_anatome_keeps_enough_directions():
    # There one direction too few is kept, so that less than the share asked for is explained.
    rng = np.random.default_rng(8)
    x = layer(rng, 200, 0.8 ** np.arange(30))
    s = np.linalg.svd(centred(x), compute_uv=False) ** 2
    for keep in (0.5, 0.9, 0.99, 0.999):
        f = Subspace.fit(x, keep=keep)
        assert s[: f.kept].sum() >= keep * s.sum()
        assert s[: f.kept - 1].sum() < keep * s.sum()
        np.testing.assert_allclose(svcca(x, x + rng.normal(size=x.shape), keep=keep).x_kept, f.kept)


def test_anatome_centres():
    x, y = noise(9)
    assert svcca(x + 100.0, y + 100.0).similarity == pytest.approx(
        svcca(x, y).similarity, abs=1e-10
    )
    assert svcca(x + 100.0, y + 100.0).similarity < 0.2


def test_anatome_independent_noise_is_not_identical():
    # There a transposed convolution makes the datapoints fewer than the neurons, and distance 0.
    x, y = noise(10)
    assert svcca(x, y).similarity < 0.2
    for name, measure in (("svcca", svcca), ("cca", cca), ("pwcca", pwcca)):
        with pytest.warns(SampleSizeWarning, match=rf"^12 datapoints .* by {name}"):
            measure(x.T, y.T)


# --- others ------------------------------------------------------------------------------------


def test_resi_keeps_more_than_one_component_of_ordinary_data():
    x, y = noise(11)
    r = svcca(x, y)
    assert (r.x_kept, r.y_kept, len(r.correlations)) == (12, 12, 12)
    relu = np.maximum(x @ np.random.default_rng(12).normal(size=(12, 40)), 0)
    assert svcca(relu, y).x_kept > 10


def test_platonic_rep_is_deterministic_and_self_similarity_is_one():
    x, y = noise(13)
    assert svcca(x, x).similarity == pytest.approx(1, abs=1e-12)
    torch.manual_seed(0)
    first = svcca(x, y).similarity
    torch.manual_seed(1)
    assert svcca(x, y).similarity == first


def test_cca_zoo_rank_is_cut():
    x, y = noise(14, p=5, q=6)
    for more in (x, np.zeros((500, 3)), np.ones((500, 2)), x @ np.ones((5, 4))):
        wide = np.hstack([x, more])
        assert cca(wide, y).x_kept == 5
        np.testing.assert_allclose(cca(wide, y).correlations, cca_by_qr(x, y), atol=1e-10)


def test_sklearn_components_come_in_order():
    rng = np.random.default_rng(15)
    for _ in range(20):
        x = rng.normal(size=(100, 8))
        y = x @ rng.normal(size=(8, 8)) + 3 * rng.normal(size=(100, 8))
        rho = cca(x, y).correlations
        assert (np.diff(rho) <= 0).all()
        np.testing.assert_allclose(rho, cca_by_qr(x, y), atol=1e-10)


def test_sklearn_agrees_on_the_first_component():
    cross_decomposition = pytest.importorskip("sklearn.cross_decomposition")
    x, y = noise(16, n=200, p=4, q=3)
    y = y + x[:, :3]
    u, v = cross_decomposition.CCA(1, max_iter=5000, tol=1e-12).fit_transform(x, y)
    first = abs(np.corrcoef(u[:, 0], v[:, 0])[0, 1])
    assert cca(x, y).correlations[0] == pytest.approx(first, abs=1e-6)


def test_one_number_for_one_pair_whichever_way_it_is_asked():
    # What users of every library ask for: numbers that agree.
    x, y = noise(17)
    y = y + 0.5 * x
    expected = svcca_by_svd(x, y).mean()
    t = torch.from_numpy
    ways = [
        svcca(x, y).similarity,
        svcca(y, x).similarity,
        svcca(t(x), t(y)).similarity,
        svcca(Subspace.fit(x), Subspace.fit(y)).similarity,
        pairwise([x], [y])[0, 0],
        pairwise({"a": x, "b": y})[0, 1],
    ]
    np.testing.assert_allclose(ways, expected, atol=1e-10)
