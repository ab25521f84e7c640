"""Freezing freezes, changes nothing before, and saves what it should."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional
from trainings import CONVNET, CPU, RESNET, TOY, configured, equal

from svcca_lib.paper.training import loop
from svcca_lib.paper.training.config import FreezeSchedule
from svcca_lib.paper.training.flops import count_flops
from svcca_lib.paper.training.networks import build
from svcca_lib.paper.training.tasks import make_task
from svcca_lib.paper.training.trained import train


@pytest.mark.parametrize(
    ("network", "groups"), [(CONVNET, ("c1", "c2", "c4")), (RESNET, ("conv", "unit1", "unit2"))]
)
def test_frozen_layers_do_not_move(digits, store, network, groups):
    """Bit for bit, batch statistics included, although momentum and decay would move them."""
    schedule = FreezeSchedule(groups, 0.25, 0.75)
    config = configured(
        network,
        digits,
        weight_decay=0.1,
        translate=1,
        checkpoints=(0.0, 0.25, 0.5, 0.75, 1.0),
        freeze=schedule,
    )
    run = train(config, digits, store)
    assert run.freezes == list(zip((10, 20, 30), groups, strict=True))
    final = run.network().state_dict()
    stages = list(dict(run.network().stages()))
    for fraction, group in zip((0.25, 0.5, 0.75), groups, strict=True):
        then = run.network(fraction).state_dict()
        prefix = run.network().frozen_prefix(group)
        frozen = [k for k in then if k.split(".")[0] in prefix]
        assert frozen
        for name in frozen:
            assert torch.equal(then[name], final[name]), name
        # and what lies above them goes on learning
        later = f"{stages[len(prefix)]}."
        moved = [k for k in then if k.startswith(later) and then[k].dtype.is_floating_point]
        assert not any(torch.equal(then[k], final[k]) for k in moved)


def test_a_frozen_prefix_costs_no_gradient_no_memory_and_no_optimiser(digits):
    config = configured(CONVNET, digits)
    network = build(CONVNET, 0).train()
    optimizer = loop.make_optimizer(config, network)
    x, y = make_task(config, digits, CPU).batch(0)

    def step():
        functional.cross_entropy(network(x.float()), y).backward()
        optimizer.step()

    step()
    outputs = {}
    for name, module in network.stages():
        module.register_forward_hook(lambda m, i, output, name=name: outputs.update({name: output}))
    loop.freeze(network, optimizer, "c3")
    before = {k: v.clone() for k, v in network.state_dict().items()}
    step()

    frozen = set(network.frozen_prefix("c3"))
    assert frozen == {"in", "c1", "c2", "bn1", "p1", "c3"}
    for name, output in outputs.items():
        assert output.requires_grad == (name not in frozen)
        assert (output.grad_fn is None) == (name in frozen)
    for name, parameter in network.named_parameters():
        if name.split(".")[0] in frozen:
            assert parameter.grad is None
            assert parameter not in optimizer.state
        else:
            assert parameter.grad is not None
    after = network.state_dict()
    for name, value in before.items():
        if name.split(".")[0] in frozen:
            assert torch.equal(value, after[name]), name
    assert not torch.equal(before["bn2.running_mean"], after["bn2.running_mean"])


def test_base_and_freeze_are_one_run_until_the_first_freeze(digits, store):
    base = configured(CONVNET, digits, translate=1, checkpoints=(0.0, 0.25, 0.5, 1.0))
    freeze = dataclasses.replace(base, freeze=FreezeSchedule(("c1", "c2"), 0.5, 0.75))
    a, b = train(base, digits, store), train(freeze, digits, store)
    for fraction in (0.0, 0.25, 0.5):
        assert equal(a.network(fraction).state_dict(), b.network(fraction).state_dict())
    assert not equal(a.network().state_dict(), b.network().state_dict())
    for key in ("train_loss", "test_loss", "test_accuracy"):
        assert a.history[key][:3] == b.history[key][:3]


def test_evaluation_does_not_wake_frozen_batch_norms(digits, store):
    """Each evaluation switches modes; with many of them a frozen batch norm must stay asleep."""
    freeze = FreezeSchedule(("c1", "bn1"), 0.25, 0.25)
    config = configured(CONVNET, digits, evaluations=40, freeze=freeze)
    assert train(config, digits, store).network().bn1.num_batches_tracked == 10


@pytest.mark.parametrize("groups", [("c2", "c1"), ("c1", "logits"), ("nothing",), ("c1", "c1")])
def test_a_freeze_schedule_that_does_not_fit_the_network_is_refused(digits, store, groups):
    config = configured(CONVNET, digits, freeze=FreezeSchedule(groups))
    with pytest.raises(ValueError, match="in that order"):
        train(config, digits, store)


def test_flops_are_those_of_the_closed_form(toy):
    """A linear layer m -> n costs 2mn per example forward, as much for each gradient."""
    widths = [(1, 12), (12, 12), (12, 12), (12, 4)]
    macs = np.array([m * n for m, n in widths])
    base = count_flops(configured(TOY, toy))
    forward = 2 * 32 * macs.sum()
    # gradients of all weights, and of all inputs but the data
    assert base.forward == forward
    assert base.stages == ((0, 40, forward + 2 * 32 * (macs.sum() + macs[1:].sum())),)
    assert base.total == 40 * base.stages[0][2]

    freeze = FreezeSchedule(("h1", "h3"), 0.25, 0.5)
    frozen = count_flops(configured(TOY, toy, freeze=freeze))
    assert [stage[:2] for stage in frozen.stages] == [(0, 10), (10, 20), (20, 40)]
    assert frozen.stages[1][2] == forward + 2 * 32 * (macs[1:].sum() + macs[2:].sum())
    assert frozen.stages[2][2] == forward + 2 * 32 * macs[3]
    assert frozen.total < base.total


@pytest.mark.parametrize(
    ("network", "groups"), [(CONVNET, ("c1", "c2", "c3", "fc1")), (RESNET, ("conv", "unit1"))]
)
def test_each_freeze_saves_flops(digits, network, groups):
    config = configured(network, digits, freeze=FreezeSchedule(groups))
    flops = [stage[2] for stage in count_flops(config).stages]
    assert len(flops) == len(groups) + 1
    assert flops == sorted(flops, reverse=True)
    assert len(set(flops)) == len(flops)
