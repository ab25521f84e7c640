"""Layers of known relation, and pairs side by side: Chapter 1's material."""

import numpy as np
import pytest

from svcca_lib import Subspace, cca
from svcca_lib.paper.experiments.pairing import side_by_side
from svcca_lib.paper.experiments.planted import distorted, recovered, shared_directions, turned


@pytest.fixture
def neurons():
    return np.random.default_rng(1).normal(loc=[3, -1, 0], size=(200, 3))


def test_distortion_hides_the_neurons_and_keeps_their_subspace(neurons):
    mixture = distorted(neurons, seed=0)
    single = np.abs(np.corrcoef(neurons.T, mixture.T)[:3, 3:])
    assert (single < 0.95).all()
    assert np.allclose(cca(neurons, mixture).correlations, 1)


def test_cca_recovers_each_neuron_with_its_sign_scale_and_mean(neurons):
    found, correlations = recovered(neurons, distorted(neurons, seed=0))
    assert np.allclose(correlations, 1)
    assert np.allclose(found, neurons)


def test_what_is_not_there_is_not_recovered(neurons):
    other = np.random.default_rng(2).normal(size=(200, 3))
    _, correlations = recovered(neurons, other)
    assert (correlations < 0.4).all()


def test_b_and_c_contain_a_and_only_b_needs_no_more_directions():
    a, b, c = shared_directions(n=1000, shared=10, extra=20, noise=0.01)
    assert np.allclose(cca(a, b).correlations, 1)
    assert np.allclose(cca(a, c).correlations, 1)
    assert Subspace.fit(b).kept == 10
    assert Subspace.fit(c).kept > 25


def test_planted_layers_depend_on_the_seed_alone():
    once, again, other = (shared_directions(50, 2, 3, seed=s) for s in (0, 0, 1))
    assert all(np.array_equal(x, y) for x, y in zip(once, again, strict=True))
    assert not np.allclose(once[0], other[0])


def test_pairs_have_unit_variance_and_the_correlation_of_the_columns():
    x, y = np.random.default_rng(0).normal(size=(2, 100, 3))
    pairs = side_by_side(x, y)
    for columns in (pairs.net_1, pairs.net_2):
        assert np.allclose(columns.mean(axis=0), 0)
        assert np.allclose(columns.std(axis=0), 1)
    assert np.allclose(pairs.correlations, np.corrcoef(x.T, y.T)[:3, 3:].diagonal())


def test_unsigned_pairs_do_not_depend_on_the_signs_they_come_with():
    x, y = np.random.default_rng(0).normal(size=(2, 100, 3))
    pairs = side_by_side(x, y, signed=False)
    turned = side_by_side(x * [1, -1, -1], y * [-1, 1, -1], signed=False)
    assert np.allclose(pairs.net_1, turned.net_1)
    assert np.allclose(pairs.net_2, turned.net_2)
    assert (pairs.correlations >= 0).all()


def test_signed_pairs_keep_a_negative_correlation():
    x = np.random.default_rng(0).normal(size=(100, 1))
    assert np.allclose(side_by_side(x, -x).correlations, -1)
    assert np.allclose(side_by_side(x, -x, signed=False).correlations, 1)


def test_thinning_keeps_the_correlations_of_all_datapoints():
    x, y = np.random.default_rng(0).normal(size=(2, 100, 3))
    pairs = side_by_side(x, y)
    thin = pairs.at(np.array([0, 50, 99]))
    assert thin.net_1.shape == (3, 3)
    assert np.array_equal(thin.correlations, pairs.correlations)


def test_columns_that_cannot_be_paired_are_named():
    x = np.random.default_rng(0).normal(size=(10, 3))
    with pytest.raises(ValueError, match="one shape"):
        side_by_side(x, x[:, :2])
    with pytest.raises(ValueError, match="column 1 does not"):
        side_by_side(x * [1, 0, 1], x)


def test_turned_neurons_span_what_they_did_and_by_a_third_of_a_turn_change_places():
    neurons = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_allclose(turned(neurons, 0), neurons)
    third = turned(neurons, 120)
    assert any(np.allclose(third, np.roll(neurons, by, axis=1)) for by in (1, 2))
    between = turned(neurons, 50)
    np.testing.assert_allclose((between**2).sum(), (neurons**2).sum())
    assert cca(neurons, between).correlations.min() == pytest.approx(1)
    with pytest.raises(ValueError, match="three neurons"):
        turned(neurons[:, :2], 10)
