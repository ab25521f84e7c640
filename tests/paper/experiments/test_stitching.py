"""Layers of one network in another: against maps that are known, and networks that are the same."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from svcca_lib.paper.data import sources
from svcca_lib.paper.experiments import stitching
from svcca_lib.paper.experiments.inputs import images_of
from svcca_lib.paper.training.evaluation import evaluate
from svcca_lib.paper.training.networks import NetworkConfig, build

LAYERS = ("c1", "p2", "fc1")


@pytest.fixture(scope="module")
def digits():
    return sources.load("digits")


@dataclass
class Fixed:
    """A network that is the same at every time of its training."""

    made: torch.nn.Module

    def network(self, fraction=1.0):
        return self.made


def random(digits, seed):
    config = NetworkConfig("convnet", digits.shape, 10, width=6, fc=(12, 8))
    return build(config, seed=seed).eval().requires_grad_(False)


def permuted(network, digits):
    """The same function, with the channels of c1 in another order."""
    twin = random(digits, 0)
    twin.load_state_dict(network.state_dict())
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    for part in (twin.c1.conv.weight, twin.c1.conv.bias):
        part.copy_(part[order])
    twin.c2.conv.weight.copy_(twin.c2.conv.weight[:, order])
    return twin, order


def test_a_planted_affine_map_is_found_at_every_pixel():
    rng = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(4, 3, generator=rng), torch.randn(3, generator=rng)
    for shape in ((200, 4), (20, 4, 5, 5)):
        x = torch.randn(*shape, generator=rng)
        y = (x.movedim(1, -1) @ weight + bias).movedim(-1, 1)
        found = stitching.fitted(x, y)
        torch.testing.assert_close(found.weight, weight, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.bias, bias, atol=1e-5, rtol=0)
        torch.testing.assert_close(found(x), y, atol=1e-4, rtol=0)


def test_a_dead_neuron_gets_no_weight_and_spoils_no_fit():
    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    x[:, 1] = 0.5
    found = stitching.fitted(x, x[:, :1] + 2)
    assert found.weight[1].abs().item() < 1e-6
    torch.testing.assert_close(found(x), x[:, :1] + 2, atol=1e-5, rtol=0)


def test_channels_in_another_order_are_put_back_and_the_function_is_the_same(digits):
    network = random(digits, 0)
    twin, order = permuted(network, digits)
    few, test = images_of(digits, 50), images_of(digits, 60, "test")
    x, y = (n_.c1(few.inputs) for n_ in (twin, network))
    between = stitching.fitted(x, y)
    expected = torch.eye(6)[order]
    alive = (y.flatten(2).std(dim=(0, 2)) > 0)[order]
    torch.testing.assert_close(between.weight[alive], expected[alive], atol=1e-4, rtol=0)
    joined = stitching.stitched(twin, network, "c1", between)
    torch.testing.assert_close(joined(test.inputs), network(test.inputs), atol=1e-3, rtol=1e-3)


def test_a_network_stitched_into_itself_keeps_its_accuracy_and_scores_one(digits):
    network = random(digits, 0)
    few, test = images_of(digits, 300), images_of(digits, 100, "test")
    of = stitching.stitch(
        Fixed(network), Fixed(network), dict.fromkeys(LAYERS, few), (0.0, 1.0), test
    )
    assert of.own == evaluate(network, test.inputs, test.labels)
    assert of.accuracy.shape == (2, 3)
    np.testing.assert_allclose(of.kept, 1, atol=0.03)
    for measure in stitching.MEASURES:
        np.testing.assert_allclose(of.similarity[measure], 1, atol=1e-6)


def test_agreement_is_that_of_ranks_and_is_set_against_time_and_depth():
    accuracy = np.array([[0.5, 0.4, 0.3], [0.9, 0.8, 0.7]])
    same = stitching.Stitching(1.0, accuracy, {"SVCCA": accuracy**2, "CKA": -accuracy})
    assert same.agreement("SVCCA") == pytest.approx(1)
    assert same.agreement("CKA") == pytest.approx(-1)
    # times rank as 0, 0, 0, 1, 1, 1: Spearman's correlation with six ranks without ties
    assert same.without_looking == pytest.approx(np.sqrt(27 / 35))


def test_learning_changes_the_map_alone_and_for_the_better(digits):
    sender, receiver = random(digits, 0), random(digits, 1)
    images = images_of(digits, 400)
    before = {
        id(network): {name: value.clone() for name, value in network.state_dict().items()}
        for network in (sender, receiver)
    }
    x, y = (images.responses(n, ["p2"])["p2"] for n in (sender, receiver))
    between = stitching.fitted(x, y)
    joined = stitching.stitched(sender, receiver, "p2", between)

    def loss():
        with torch.no_grad():
            return torch.nn.functional.cross_entropy(joined(images.inputs), images.labels).item()

    at_first, weight = loss(), between.weight.clone()
    stitching.learn(joined, images, steps=30, seed=0)
    assert loss() < at_first - 0.1
    assert not torch.equal(between.weight, weight)
    for network in (sender, receiver):
        for name, value in network.state_dict().items():
            assert torch.equal(value, before[id(network)][name]), name


def test_on_the_task_a_network_stitched_into_itself_loses_nothing(digits):
    network = Fixed(random(digits, 0))
    few, test = images_of(digits, 300), images_of(digits, 100, "test")
    kept = stitching.stitch_on_task(
        network, network, dict.fromkeys(("p2", "fc1"), few), (1.0,), few, test, steps=0
    )
    np.testing.assert_allclose(kept, 1, atol=0.03)
