"""A layer restricted to directions or neurons, and the network above it run on what is left."""

import numpy as np
import pytest
import torch
from torch import nn

from svcca_lib import Subspace, project, svcca
from svcca_lib.paper.data import images, sources
from svcca_lib.paper.experiments import restriction
from svcca_lib.paper.experiments.restriction import CutNetwork
from svcca_lib.paper.training.evaluation import evaluate
from svcca_lib.paper.training.networks import NetworkConfig, build


@pytest.fixture(scope="module")
def digits():
    return sources.load("digits")


@pytest.fixture(scope="module")
def network(digits):
    config = NetworkConfig("convnet", digits.shape, 10, width=4, fc=(12, 8))
    return build(config, seed=0).eval()


@pytest.fixture(scope="module")
def cuts(network, digits):
    return restriction.cut(network, ["p2", "fc1"], digits)


class Centroids(nn.Module):
    """A readout that works: the nearest of the class means, which are given."""

    def __init__(self, means):
        super().__init__()
        self.means = nn.Parameter(means)

    def forward(self, x):
        return -torch.cdist(x, self.means)


@pytest.fixture(scope="module")
def layer():
    """Ten classes in a 10-dimensional signal, mixed into 30 neurons of which 5 are dead."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat(60)
    mixing = torch.randn(10, 25, generator=generator)

    def responses(seed):
        noise = torch.randn(600, 25, generator=torch.Generator().manual_seed(seed))
        signal = 4 * torch.eye(10)[labels] @ mixing + 0.3 * noise
        return torch.cat([signal, torch.zeros(600, 5)], dim=1)

    train = responses(1)
    means = torch.stack([train[labels == c].mean(dim=0) for c in range(10)])
    return CutNetwork("toy", train, responses(2), (30,), labels, Centroids(means))


@pytest.fixture(scope="module")
def weights(layer):
    return Subspace.fit(layer.train, keep=1).weights


def test_the_two_parts_of_a_cut_network_are_the_network(cuts, network, digits):
    whole = evaluate(network, digits.normalised(digits.test_images), digits.test_labels)
    for part in cuts.values():
        assert part.accuracy(part.test) == whole
    pixels = digits.normalised(digits.test_images[:20])
    p2 = cuts["p2"]
    assert torch.allclose(p2.above(p2.test[:20].reshape(-1, *p2.shape)), network(pixels), atol=1e-5)


def test_a_convolutional_layer_is_cut_into_one_neuron_per_channel_and_position(cuts):
    assert cuts["p2"].shape == (4, 2, 2)
    assert cuts["p2"].width == 16
    assert len(cuts["p2"].train) > len(cuts["p2"].test)


def test_directions_are_fitted_on_as_many_training_images_as_asked_for(network, digits, cuts):
    few = restriction.cut(network, ["fc1"], digits, images=50)["fc1"]
    rows = images.spread(len(digits.train_images), 50)
    assert torch.allclose(few.train, cuts["fc1"].train[rows], atol=1e-6)
    assert len(few.test) == len(cuts["fc1"].test)


def test_cutting_inside_a_stage_is_refused(network, digits):
    with pytest.raises(ValueError, match=r"one of the stages in, c1.*'fc1\.linear'"):
        restriction.cut(network, ["fc1.linear"], digits)


def test_all_directions_and_all_neurons_leave_the_accuracy_as_it_is(layer, weights):
    full = layer.accuracy(layer.test)
    assert full > 0.95
    assert restriction.on_directions(layer, weights, [weights.shape[1]])[0] == full
    everything = torch.arange(30)
    for others in ("predicted", "mean"):
        assert restriction.on_neurons(layer, everything, [30], others=others)[0] == full
        assert (
            restriction.on_directions_of_neurons(
                layer, weights, [weights.shape[1]], 30, others=others
            )[0]
            == full
        )


def test_one_fit_for_all_counts_is_the_projection_of_each(layer, weights):
    same = CutNetwork(**{**vars_of(layer), "test": layer.train})
    counts = [1, 4, 9]
    expected = [same.accuracy(project(layer.train, weights, k).float()) for k in counts]
    assert restriction.on_directions(same, weights, counts) == pytest.approx(expected)


def test_kept_neurons_predict_the_others_by_least_squares(layer):
    kept = torch.tensor([3, 7, 11, 28])  # the last one is dead
    for k, got in zip(
        (2, 4), restriction.from_neurons(layer, kept, (2, 4), "predicted"), strict=True
    ):
        x = layer.train[:, kept[:k]].double().numpy()
        x = np.column_stack([x, np.ones(len(x))])
        slopes = np.linalg.lstsq(x, layer.train.double().numpy(), rcond=None)[0]
        z = np.column_stack([layer.test[:, kept[:k]].double().numpy(), np.ones(len(layer.test))])
        assert np.allclose(got.numpy(), z @ slopes, atol=1e-4)


def test_neurons_that_hold_the_same_predict_as_one(layer):
    twice = torch.cat([layer.train, layer.train[:, :1]], dim=1)
    test = torch.cat([layer.test, layer.test[:, :1]], dim=1)
    wide = CutNetwork(**{**vars_of(layer), "train": twice, "test": test, "shape": (31,)})
    (one,) = restriction.from_neurons(layer, torch.tensor([0, 3]), [2], "predicted")
    (both,) = restriction.from_neurons(wide, torch.tensor([0, 30, 3]), [3], "predicted")
    assert torch.allclose(both[:, :30], one, atol=1e-4)


def test_silent_neurons_stay_at_their_training_mean(layer):
    (got,) = restriction.from_neurons(layer, torch.tensor([2]), [1], "mean")
    assert torch.equal(got[:, 2], layer.test[:, 2])
    rest = [j for j in range(30) if j != 2]
    assert torch.allclose(got[:, rest], layer.train.mean(dim=0)[rest].expand(600, -1), atol=1e-5)


def test_predicting_the_other_neurons_is_never_worse_than_silencing_them_here(layer):
    order = torch.arange(30)
    counts = [2, 5, 10]
    predicted, silent = (
        restriction.on_neurons(layer, order, counts, others=o) for o in ("predicted", "mean")
    )
    assert (predicted >= silent).all()
    assert predicted[1] > silent[1] + 0.2


def test_leading_directions_beat_as_many_neurons(layer, weights):
    directions = restriction.on_directions(layer, weights, [4])[0]
    neurons = np.mean(
        [
            restriction.on_neurons(layer, order, [4])[0]
            for order in restriction.random_orders(25, 5, seed=0)
        ]
    )
    assert directions > neurons


def test_random_directions_are_uncorrelated_and_span_what_was_drawn(layer):
    one, other = restriction.random_directions(layer, 5, draws=2, seed=3)
    assert torch.allclose(one.T @ layer.scatter @ one, torch.eye(5, dtype=torch.float64))
    drawn = torch.randn(30, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for k in range(1, 6):
        both = torch.hstack([one[:, :k], drawn[:, :k]])
        assert torch.linalg.matrix_rank(both) == k
    assert not torch.allclose(one, other)
    [again, _] = restriction.random_directions(layer, 5, draws=2, seed=3)
    assert torch.equal(again, one)


def test_directions_and_neurons_are_measured_side_by_side(layer, weights):
    principal = Subspace.fit(layer.train).weights
    shared = weights[:, :10].flip(1)  # as uncorrelated, in another order
    arguments = layer, shared, principal, [1, 9], [2, 5, 30]
    measured = restriction.against_neurons(*arguments, draws=3, seed=0)
    assert {name: rows.shape for name, rows in measured.items()} == {
        "SVCCA directions": (1, 2),
        "principal components": (1, 2),
        "random directions": (3, 2),
        "random neurons": (3, 3),
        "most active neurons": (1, 3),
        "random, others silent": (3, 3),
    }
    on_shared = restriction.on_directions(layer, shared, [1, 9])
    assert (measured["SVCCA directions"][0] == on_shared).all()
    # The fit on the leading components, here by an SVD of the layer itself.
    centred = layer.train.double() - layer.mean
    for at, k in enumerate((1, 9)):
        v = torch.linalg.svd(centred, full_matrices=False).Vh[:k]
        left = layer.mean + (layer.test.double() - layer.mean) @ v.T @ v
        assert measured["principal components"][0, at] == layer.accuracy(left.float())
    # With one of each kind they differ, so that none stands for another.
    names = restriction.DIRECTIONS
    assert len({measured[name].mean(axis=0)[0] for name in names}) == len(names)
    order = restriction.loudest(layer.train)
    assert (
        measured["most active neurons"][0] == restriction.on_neurons(layer, order, [2, 5, 30])
    ).all()
    fewer = restriction.against_neurons(*arguments, draws=3, seed=0, silent=False)
    assert list(fewer) == list(measured)[:5]
    assert all((fewer[name] == measured[name]).all() for name in fewer)
    first = next(restriction.random_orders(30, 1, seed=0))
    for name, others in (("random neurons", "predicted"), ("random, others silent", "mean")):
        expected = restriction.on_neurons(layer, first, [2, 5, 30], others=others)
        assert (measured[name][0] == expected).all()


def test_so_many_neurons_keep_the_accuracy_and_fewer_do_not(layer, weights):
    m = restriction.neurons_for(layer, weights, 9, 0.95)
    wanted = 0.95 * restriction.on_directions(layer, weights, [9])[0]
    enough, fewer = int(np.ceil(m)), int(np.floor(m - 1e-9))
    assert restriction.on_directions_of_neurons(layer, weights, [9], enough)[0] >= wanted
    assert restriction.on_directions_of_neurons(layer, weights, [9], fewer)[0] < wanted
    assert restriction.neurons_for(layer, weights, 9, 0.95, others="mean") > m


def test_directions_cannot_be_read_from_fewer_neurons_than_they_are(layer, weights):
    whole = restriction.on_directions(layer, weights, [9])[0]
    accuracies = [
        restriction.on_directions_of_neurons(layer, weights, [9], m)[0] for m in (2, 6, 25)
    ]
    assert accuracies[0] < 0.7 * whole
    assert accuracies[0] < accuracies[1] < accuracies[2] + 0.02
    assert accuracies[2] == pytest.approx(whole, abs=0.02)


def test_the_most_important_neuron_is_the_one_a_direction_shows_in():
    up = torch.tensor([[0.1, 3.0, 0.0], [0.2, 0.0, 0.1]])
    assert torch.allclose(restriction.importance(up), torch.tensor([0.05, 9.0, 0.01]))


def test_a_direction_that_is_a_neuron_is_explained_by_it(layer):
    neuron, spread = torch.zeros(30, 1), torch.zeros(30, 1)
    neuron[4] = 2.0
    spread[:25] = torch.randn(25, 1, generator=torch.Generator().manual_seed(3))
    shares = restriction.best_neuron(layer, torch.cat([neuron, spread], dim=1))
    assert shares[0] == pytest.approx(1)
    variate = (layer.train.double() @ spread.double())[:, 0].numpy()
    correlations = np.corrcoef(variate, layer.train[:, :25].double().numpy().T)[0, 1:]
    assert shares[1] == pytest.approx((correlations**2).max())


def test_steps_are_ascending_whole_numbers_from_one_to_the_end():
    for most in (1, 2, 48, 500):
        steps = restriction.steps(most)
        assert steps[0] == 1
        assert steps[-1] == most
        assert (np.diff(steps) > 0).all()


def test_reproduced_is_one_for_the_same_and_zero_for_the_mean():
    y = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    assert restriction.reproduced(y, y) == 1
    assert restriction.reproduced(y, y.mean(dim=0).expand_as(y)) == pytest.approx(0, abs=1e-6)
    assert restriction.reproduced(y, 2 * y) < 0.5


def test_the_loudest_neuron_has_the_highest_mean_absolute_response():
    x = torch.tensor([[1.0, -5.0, 0.0], [1.0, 5.0, 0.0]])
    assert restriction.loudest(x).tolist() == [1, 0, 2]


def test_random_orders_are_permutations_and_the_same_for_a_seed():
    once, again = (list(restriction.random_orders(20, 3, seed=1)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not torch.equal(once[0], once[1])
    assert sorted(once[0].tolist()) == list(range(20))


def test_svcca_directions_of_either_network_fit_its_own_layer(network, digits):
    other = build(NetworkConfig("convnet", digits.shape, 10, width=4, fc=(12, 8)), seed=1).eval()
    pair = [restriction.cut(n, ["fc1"], digits)["fc1"] for n in (network, other)]
    result = svcca(*(part.train for part in pair))
    for part, w in zip(pair, (result.x_weights, result.y_weights), strict=True):
        variates = (part.train.double() - part.train.double().mean(dim=0)) @ w
        assert torch.allclose(variates.T @ variates, torch.eye(w.shape[1]).double(), atol=1e-8)


def vars_of(layer):
    names = ("name", "train", "test", "shape", "labels", "above")
    return {name: getattr(layer, name) for name in names}
