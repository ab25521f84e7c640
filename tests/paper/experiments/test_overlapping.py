import numpy as np
import pytest

from svcca_lib.paper.experiments.overlapping import jackknife, over_pairs, over_ring


def test_the_jackknife_of_a_mean_is_the_values_and_of_pairs_has_their_mean():
    rng = np.random.default_rng(1)
    values = rng.normal(size=6)
    np.testing.assert_allclose(jackknife(6, lambda kept: values[list(kept)].mean()), values)
    pairs = {(i, j): rng.normal() for i in range(5) for j in range(5) if i < j}
    assert over_pairs(pairs).mean() == pytest.approx(np.mean(list(pairs.values())))
    around = rng.normal(size=5)
    assert over_ring(around).mean() == pytest.approx(around.mean())
    with pytest.raises(ValueError, match="at least 3 of them; got 2"):
        over_pairs({(0, 1): 1.0})


def test_the_jackknife_is_as_wide_as_networks_vary():
    """Pairs that are sums of what each network is: 2 x the variance of networks, not of pairs."""
    rng = np.random.default_rng(1)
    found, means = [], []
    for _ in range(400):
        networks = rng.normal(size=5)
        pairs = {(i, j): networks[i] + networks[j] for i in range(5) for j in range(i)}
        found.append(over_pairs(pairs).var(ddof=1) / 5)
        means.append(np.mean(list(pairs.values())))
    assert np.mean(found) == pytest.approx(4 / 5, rel=0.2)
    assert np.var(means) == pytest.approx(4 / 5, rel=0.25)
