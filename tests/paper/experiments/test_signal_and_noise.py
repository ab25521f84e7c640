import numpy as np
import pytest

from svcca_lib import cca, pwcca, svcca
from svcca_lib.paper.experiments import signal_and_noise as signals

RNG = np.random.default_rng(0)


def test_planted_layers_share_the_signal_and_nothing_else():
    x, y = signals.planted(4000, 20, 5, 0.2)
    rho = cca(x, y).correlations
    assert (rho[:5] > 0.999).all()
    assert rho[5] < 0.2
    assert signals.planted(50, 4, 4, 0.2)[0].shape == (50, 4)
    with pytest.raises(ValueError, match="between 0 and the 4 neurons; got 5"):
        signals.planted(50, 4, 5, 0.2)


def test_real_layers_keep_their_leading_directions_and_variances():
    layer = RNG.normal(size=(500, 8)) * np.geomspace(4, 0.5, 8)
    noisy = signals.noise_of_its_own(layer, 3)
    rho = cca(layer, noisy).correlations
    assert (rho[:3] > 0.99).all()
    assert rho[3] < 0.5
    assert noisy.var() == pytest.approx(layer.var(), rel=0.05)
    np.testing.assert_allclose(signals.noise_of_its_own(layer, 8), layer - layer.mean(axis=0))


def test_what_is_nearly_shared_has_a_pwcca_that_rounding_does_not_decide():
    def moved(own):
        x, y = signals.planted(400, 20, 8, 0.2, own=own)
        turned = x @ np.linalg.qr(np.random.default_rng(1).normal(size=(20, 20)))[0]
        x = turned @ np.linalg.qr(np.random.default_rng(1).normal(size=(20, 20)))[0].T  # rounded
        return abs(
            pwcca(x, y).similarity - pwcca(*signals.planted(400, 20, 8, 0.2, own=own)).similarity
        )

    assert moved(0.01) < 1e-7 < moved(0.0)
    layer = np.random.default_rng(2).normal(size=(500, 8)) * np.geomspace(4, 0.5, 8)
    rho = cca(layer, signals.noise_of_its_own(layer, 3, own=0.01)).correlations
    assert (rho[:3] > 0.99).all()
    assert (np.diff(rho[:3]) < -1e-9).all()  # one apart from the other


def test_below_is_more_than_rounding():
    ours, theirs = np.array([0.5, 1 - 1e-16, 0.9]), np.array([0.7, 1.0, 0.8])
    assert signals.below(ours, theirs, ["few", "all", "some"]) == ["few (by 0.200)"]


def test_what_is_measured_by_signal_are_the_measures():
    pair = signals.planted(300, 10, 4, 0.3)
    found = signals.by_signal(lambda d: pair, [4])
    assert found["PWCCA"][0] == pytest.approx(pwcca(*pair).similarity)
    sums = svcca(*pair, energy="singular_values").similarity
    assert found["SVCCA, 99 % of singular values"][0] == pytest.approx(sums)


def test_the_grid_is_measured_once_and_knows_its_corners(store):
    arguments = (store, (6, 800), (4, 8), (0, 4, 8))
    found = signals.grid(*arguments, noise=0.2, draws=1)
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(
        signals.EXPLORED, (2, 2, 3)
    )
    for values in found.values():
        np.testing.assert_allclose(values[1, 0, 1:], 1, atol=1e-6)  # all four neurons are signal
        assert values[1, 1, 0] < 0.2  # no signal, many datapoints
    assert found["PWCCA"][0, 1, 0] == pytest.approx(1)  # n < p
    again = signals.grid(*arguments, noise=0.2, draws=1)
    np.testing.assert_array_equal(again["CKA"], found["CKA"])
    assert [entry.kind for entry in store.entries()].count("explorer") == 1
