import numpy as np
import pytest
import torch

from svcca_lib import Subspace, dft_cca, pairwise
from svcca_lib.paper.experiments import matching
from svcca_lib.paper.experiments.measures import NAMED

RNG = np.random.default_rng(0)


def test_hits_do_not_hang_on_the_last_digits():
    exact = np.array([[0.5, 0.5], [0.1, 0.9]])
    shaken = exact + np.array([[0, 1e-9], [0, 0]])
    assert matching.hits(exact) == 0.75
    assert matching.hits(shaken) == pytest.approx(0.75, abs=1e-6)
    half = np.array([[0.5 - matching.TIE / 2, 0.5], [0.1, 0.9]])  # half as good as the best
    assert matching.hits(half) == pytest.approx((1 / 3 + 1) / 2)


def test_hits_counts_diagonals_shares_ties_and_forgives_neighbours():
    table = np.array([[0.9, 0.1, 0.0], [0.8, 0.7, 0.0], [0.5, 0.5, 0.5]])
    assert matching.hits(table) == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert matching.hits(table, off=1) == pytest.approx((1 + 1 + 2 / 3) / 3)


def test_coordinates_keep_every_distance():
    x = torch.from_numpy(RNG.normal(size=(12, 40)))
    small = matching.coordinates(x)
    assert small.shape == (12, 12)
    np.testing.assert_allclose(torch.cdist(small, small), torch.cdist(x, x), atol=1e-9)
    assert matching.coordinates(x[:, :5]) is not small
    assert matching.coordinates(x[:, :5]).shape == (12, 5)


@pytest.mark.parametrize("reading", ["pixels", "mean"])
def test_tables_are_those_of_the_measures(reading, runs, digits, store, outputs):
    layers = ("c1", "p2", "fc1")
    found = matching.match(runs, digits, store, layers=layers, images=40, reading=reading)
    read = {
        "pixels": lambda x: x.flatten(1).double(),
        "mean": lambda x: (x.mean((2, 3)) if x.ndim == 4 else x).double(),
    }[reading]
    xs, ys = ([read(outputs(run, layer, 40)) for layer in layers] for run in runs)
    assert set(found.tables) == set(matching.MEASURES)
    with pytest.warns(match="datapoints") if reading == "pixels" else nothing():
        for name in matching.MEASURES:
            measure, options = NAMED[name]
            if name in ("CCA", "PWCCA") and reading == "pixels":
                continue  # not unique where there are fewer images than neurons
            for i, j, a, b in ((0, 1, xs, ys), (1, 0, ys, xs), (0, 0, xs, xs)):
                expected = pairwise(a, b, measure, **options)
                np.testing.assert_allclose(found.tables[name][i, j], expected, atol=1e-5)


class nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def test_frequencies_are_those_of_dft_cca(runs, digits, store, outputs):
    found = matching.match(
        runs, digits, store, layers=("c1", "p2", "fc1"), images=100, reading="dft"
    )
    x, y = outputs(runs[0], "c1", 100), outputs(runs[1], "p2", 100)
    for name, keep in matching.FOURIER_KEEP.items():
        expected = dft_cca(x, y, keep=keep).similarity
        assert found.tables[name][0, 1, 0, 1] == pytest.approx(expected, abs=1e-9)
        assert found.tables[name][1, 0, 1, 0] == pytest.approx(expected, abs=1e-9)


def test_specificity_compares_seeds_with_neighbours():
    tables = np.ones((2, 2, 3, 3))
    tables[0, 0] = tables[1, 1] = [[1, 0.5, 0.1], [0.5, 1, 0.9], [0.1, 0.9, 1]]
    tables[0, 1] = tables[1, 0] = np.diag([0.6, 0.7, 0.95])
    found = matching.Matching({"any": tables}, ("a", "b", "c"), 10)
    np.testing.assert_allclose(found.specificity("any"), [2 / 3, 2 / 3])  # b falls to its neighbour
    np.testing.assert_allclose(found.accuracy("any"), [1, 1])
    named = matching.Matching({"CKA": tables}, found.layers, 10).ranges("specificity")
    np.testing.assert_allclose(named[matching.MEASURES.index("CKA")], 2 / 3)
    assert np.isnan(np.delete(named, matching.MEASURES.index("CKA"), axis=0)).all()
    equal = matching.Matching({"any": np.ones((2, 2, 3, 3))}, ("a", "b", "c"), 10)
    np.testing.assert_allclose(equal.specificity("any"), [1 / 2, 1 / 2])  # all ties


def test_some_of_the_networks_are_those_alone():
    rng = np.random.default_rng(1)
    tables = rng.normal(size=(4, 4, 3, 3))
    found = matching.Matching({"any": tables}, ("a", "b", "c"), 10).only([1, 3])
    np.testing.assert_array_equal(found.tables["any"][0, 1], tables[1, 3])
    assert len(found.accuracy("any")) == 2


def test_duplicate_rows_are_no_direction():
    """Squared, rounding would be: 1e-8 of the largest, far above what is cut as rounding."""
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(12, 40)))
    x[1] = x[0]
    assert Subspace.fit(matching.coordinates(x)).rank == 10
