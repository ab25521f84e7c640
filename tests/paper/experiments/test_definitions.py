import numpy as np
import pytest

from svcca_lib import dft_cca, svcca
from svcca_lib.paper.experiments import definitions
from svcca_lib.paper.experiments.crossings import settling_times
from svcca_lib.paper.experiments.ranks import depth_correlation, matrix_correlation


@pytest.fixture(scope="module")
def six(runs, digits, store):
    return definitions.six_definitions(
        *runs, digits, store, layers=("c1", "p2", "fc1"), fractions=(0.0, 1.0), images=150
    )


def test_each_definition_is_the_measure_with_these_options(six, runs, digits, outputs):
    for i, (energy, mean) in enumerate(definitions.DEFINITIONS):
        a, b = (outputs(run, "p2", 150) for run in runs)
        expected = dft_cca(a, b, keep=0.99, energy=energy, mean_over=mean)
        assert six.seeds[i, 1] == pytest.approx(expected.similarity, abs=1e-9)
        assert six.chance[i, 1] == pytest.approx(expected.chance, abs=1e-9)
    early = outputs(runs[0], "fc1", 150, 0.0)
    late = outputs(runs[0], "fc1", 150)
    assert six.own[0, 0, 2] == pytest.approx(svcca(early, late).similarity, abs=1e-9)


def test_only_the_mean_over_neurons_leaves_a_layer_unlike_itself(six):
    kept = [i for i, (_, mean) in enumerate(definitions.DEFINITIONS) if mean != "smaller_layer"]
    np.testing.assert_allclose(six.own[kept, -1], 1, atol=1e-9)
    over = definitions.DEFINITIONS.index(("variance", "smaller_layer"))
    np.testing.assert_allclose(six.own[over, -1], six.kept[0] / six.neurons, atol=1e-9)
    assert (six.own[over, -1] < 1).any()


def test_each_definition_has_a_settling_order_and_one_of_the_cells(runs, digits, store):
    layers = ("c1", "p2", "fc1", "fc2", "logits")
    found = definitions.six_definitions(
        *runs, digits, store, layers=layers, fractions=(0.0, 1.0), images=150
    )
    in_order = found.bottom_up((0.0, 1.0), 0.8)
    assert [d.rho for d in in_order] == [
        depth_correlation(settling_times((0.0, 1.0), own / own[-1], 0.8)[:-1]).rho
        for own in found.own
    ]
    orders = found.orders()
    assert orders[0] == pytest.approx(1)
    assert orders[4] == pytest.approx(matrix_correlation(found.layers[4], found.layers[0]).rho)
    assert -1 < found.depth_alone < 1
    ratios = found.kept[1] / found.kept[0]  # the sum of singular values cuts less
    assert found.widest_ratio == pytest.approx(ratios.max())


def test_matrices_of_layers_are_symmetric_and_hold_the_end(six):
    np.testing.assert_allclose(six.layers, six.layers.transpose(0, 2, 1))
    np.testing.assert_allclose(six.layers.diagonal(axis1=1, axis2=2), six.own[:, -1], atol=1e-9)
    assert (six.kept[1] >= six.kept[0]).all()  # the sum of singular values cuts less
    assert six.neurons.tolist() == [256, 16, 9]
