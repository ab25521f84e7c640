import copy

import numpy as np
import pytest
import torch
from torch import nn

from svcca_lib.paper.experiments import convergence_clocks
from svcca_lib.paper.experiments.inputs import images_of


def test_distances_run_from_one_to_zero_over_layers_with_weights(runs):
    clock = convergence_clocks.distance_clock(runs[0], (0.0, 0.5, 1.0))
    assert clock.layers == ("c1", "c2", "c3", "c4", "c5", "fc1", "fc2", "logits")
    np.testing.assert_allclose(clock.left[0], 1)
    np.testing.assert_allclose(clock.left[-1], 0)
    start, middle, end = (runs[0].network(f).c3.conv.weight for f in (0.0, 0.5, 1.0))
    bias = [runs[0].network(f).c3.conv.bias for f in (0.0, 0.5, 1.0)]
    rest = torch.hypot((middle - end).norm(), (bias[1] - bias[2]).norm())
    way = torch.hypot((start - end).norm(), (bias[0] - bias[2]).norm())
    assert clock.left[1, 2] == pytest.approx(float(rest / way), rel=1e-5)


def test_settling_is_where_the_rest_falls_below_the_threshold():
    clock = convergence_clocks.Clock(
        np.array([0, 0.5, 1]), np.array([[1, 1], [0.5, 0.2], [0, 0]]), ("a", "b")
    )
    np.testing.assert_allclose(clock.settled(0.5), [0.5, 0.3125])


def test_rewinding_a_layer_moves_it_alone_and_takes_statistics_anew(runs, digits):
    end, earlier = runs[0].network(), runs[0].network(0.0)
    images = digits.normalised(digits.train_images[:80])
    before = copy.deepcopy(end.state_dict())
    back = convergence_clocks.rewound(end, earlier, "c1", images)
    for name, value in end.state_dict().items():
        torch.testing.assert_close(value, before[name])  # the finished network is as it was
    torch.testing.assert_close(back.c1.conv.weight, earlier.c1.conv.weight)
    torch.testing.assert_close(back.c4.conv.weight, end.c4.conv.weight)
    below = back.c2(back.c1(images))
    torch.testing.assert_close(back.bn1.running_mean, below.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
    assert not back.training


def test_losses_are_those_of_whole_networks(runs, digits, store):
    """What is kept below a layer changes nothing: batch norms in training mode agree."""
    clock, loss = convergence_clocks.rewinding_clock(runs[0], digits, store, (0.0, 1.0), 60)
    train, test = images_of(digits, 60), images_of(digits, 60, "test")
    whole = runs[0].network()
    whole.c3.load_state_dict(runs[0].network(0.0).c3.state_dict())
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = 1.0
    whole.train()(train.inputs)
    logits = whole.eval()(test.inputs).double()
    expected = nn.functional.cross_entropy(logits, test.labels)
    assert loss[0, clock.layers.index("c3")] == pytest.approx(float(expected), rel=1e-5)


def test_a_network_is_not_changed_by_rewinding_to_its_end(runs, digits, store):
    clock, loss = convergence_clocks.rewinding_clock(runs[0], digits, store, (0.0, 0.5, 1.0), 80)
    assert np.ptp(loss[-1]) < 1e-12
    np.testing.assert_allclose(clock.left[-1], 0)
    assert (clock.left >= 0).all()
    assert loss.shape == (3, 8)
