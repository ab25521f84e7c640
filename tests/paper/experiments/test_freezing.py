from dataclasses import replace

import numpy as np
import pytest
import torch

from svcca_lib.paper.data.images import spread
from svcca_lib.paper.data.sources import load
from svcca_lib.paper.experiments.freezing import (
    Matched,
    below_since,
    final_accuracy,
    loudest_responses,
)
from svcca_lib.paper.experiments.freezing_savings import (
    StepTimes,
    forward_flops,
    savings,
    step_times,
)
from svcca_lib.paper.experiments.measurements import fingerprint, measured
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.config import FreezeSchedule, TrainConfig
from svcca_lib.paper.training.evaluation import evaluate
from svcca_lib.paper.training.flops import count_flops
from svcca_lib.paper.training.networks import NetworkConfig
from svcca_lib.paper.training.trained import train

CONVNET = NetworkConfig("convnet", (1, 8, 8), 10, width=4, fc=(16, 8))
RESNET = NetworkConfig("resnet", (1, 8, 8), 10, width=4, depth=1)
SCHEDULE = FreezeSchedule(("c1", "c2", "c3"), start=0.25, end=0.75)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def config(digits):
    return TrainConfig(CONVNET, digits.fingerprint, steps=8, batch_size=16, evaluations=4)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def pair(config, digits, store):
    base = train(config, digits, store)
    freeze = train(replace(config, freeze=SCHEDULE, checkpoints=(1.0,)), digits, store)
    return base, freeze


def test_a_pair_is_equal_until_the_first_freeze_and_not_after(pair):
    matched = Matched((pair[0],), (pair[1],))
    assert matched.freezes.tolist() == [2, 4, 6]
    base, freeze = matched.curves("train_loss")
    before = matched.steps <= matched.freezes[0]
    np.testing.assert_array_equal(base[:, before], freeze[:, before])
    assert (base[:, ~before] != freeze[:, ~before]).any()


def test_frozen_layers_keep_their_weights_and_their_batch_statistics(digits, store, config):
    schedule = FreezeSchedule(("c1", "c2", "bn1"), start=0.5, end=0.5)
    frozen = train(replace(config, freeze=schedule, checkpoints=(0.5, 1.0)), digits, store)
    half, end = (frozen.network(f).state_dict() for f in (0.5, 1.0))
    below = [k for k in half if k.split(".")[0] in ("c1", "c2", "bn1")]
    assert {"bn1.running_mean", "c1.conv.weight"} <= set(below)
    for key in half:
        same = torch.equal(half[key], end[key])
        assert same == (key in below), key


def test_runs_that_do_not_match_are_refused(pair, digits, store, config):
    base, freeze = pair
    other = train(replace(config, seed=1), digits, store)
    with pytest.raises(ValueError, match="schedule only"):
        Matched((other,), (freeze,))
    with pytest.raises(ValueError, match="in no base run"):
        Matched((freeze,), (freeze,))
    with pytest.raises(ValueError, match="as many"):
        Matched((base, other), (freeze,))


@pytest.mark.parametrize(
    ("difference", "since"),
    [
        ([0.0, -1.0, -1.0, -1.0], 10),
        ([-1.0, -1.0, -1.0, -1.0], 0),
        ([0.0, -1.0, 1.0, -1.0], 30),
        ([0.0, -1.0, -1.0, 0.0], None),
        ([0.0, -1.0, np.nan, -1.0], 30),
    ],
)
def test_a_difference_is_below_since_the_step_after_which_it_never_rises(difference, since):
    assert below_since([0, 10, 20, 30], np.array(difference)) == since


@pytest.mark.parametrize("network", [CONVNET, RESNET])
def test_forward_cost_by_hand_is_that_of_the_counter(config, network):
    config = replace(config, network=network)
    assert sum(forward_flops(config).values()) == count_flops(config).forward


def test_counted_cost_of_a_step_is_the_rule_of_three_products(config):
    """Less one product: the lowest trained layer needs no gradient of its input."""
    config = replace(config, freeze=FreezeSchedule(("c1", "c2", "bn1"), start=0.0, end=0.5))
    f = forward_flops(config)
    total = sum(f.values())
    base = 3 * total - f["c1"]
    found = savings(config)
    # above c2 comes bn1, whose weights need the gradient of c3's input; above bn1 comes c3
    costs = [3 * total - 2 * f["c1"] - f["c2"], 3 * total - 2 * (f["c1"] + f["c2"])]
    costs.append(costs[-1] - f["c3"])
    np.testing.assert_allclose(found.cost, np.array(costs) / base)
    assert found.starts.tolist() == [0, 2, 4, 8]
    assert found.counted == pytest.approx(1 - found.cost @ np.diff(found.starts) / 8)


def test_prediction_and_ceiling_follow_their_formulas(config):
    schedule = FreezeSchedule(("c2", "c4"), start=0.25, end=0.75)
    config = replace(config, freeze=schedule)
    f = forward_flops(config)
    waived = 0.75 * (f["c1"] + f["c2"]) + 0.25 * (f["c3"] + f["c4"])
    found = savings(config)
    assert found.ceiling == pytest.approx(waived / sum(f.values()))
    assert found.predicted == pytest.approx(found.ceiling * 2 / 3)
    # the edge that the rule neglects is one product of one layer
    assert abs(found.predicted - found.counted) < max(f.values()) / (3 * sum(f.values()))


def test_savings_need_a_schedule(config, digits):
    with pytest.raises(ValueError, match="freeze schedule"):
        savings(config)
    with pytest.raises(ValueError, match="freeze schedule"):
        step_times(config, digits)


def test_time_saved_is_the_area_between_the_steps_of_base_and_freeze():
    # 4 of 10 steps at full cost, 4 at half, 2 at a quarter: 6.5 of 10 are left
    times = StepTimes(np.array([0, 4, 8, 10]), np.array([0.2, 0.1, 0.05]))
    assert times.saved == pytest.approx(0.35)


def test_steps_are_timed_in_each_stage_of_the_schedule(digits):
    network = replace(RESNET, width=16)
    groups = ("conv", "unit1", "unit2")
    schedule = FreezeSchedule(groups, start=0.25, end=0.5)
    config = TrainConfig(network, digits.fingerprint, steps=40, batch_size=64, freeze=schedule)
    found = step_times(config, digits)
    assert found.starts.tolist() == [0, 10, 15, 20, 40]
    assert found.seconds.shape == (4,)
    assert (found.seconds > 0).all()
    # the last of three units and the logits are still trained
    assert found.seconds[-1] < found.seconds[0]


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"repeats": 0}])
def test_steps_are_timed_at_least_once(config, digits, wrong):
    with pytest.raises(ValueError, match="at least 1"):
        step_times(replace(config, freeze=SCHEDULE), digits, **wrong)


def test_final_accuracy_is_that_of_the_finished_network(pair, digits, store):
    found = final_accuracy(pair, digits, store, limit=100)
    assert found.shape == (2, 2)
    network = pair[1].network()
    test = evaluate(network, digits.normalised(digits.test_images), digits.test_labels)
    assert found[1, 0] == test


def test_measurements_belong_to_weights_not_to_configurations(pair, store):
    """A network trained again elsewhere has the same name and other last bits."""
    base, _ = pair
    nudged = replace(
        base, tensors={k: v + (v.dtype.is_floating_point * 1e-6) for k, v in base.tensors.items()}
    )
    calls = []

    def make():
        calls.append(1)
        return {"x": np.ones(1)}

    for run in (base, base, nudged):
        measured(store, "test", [run], {}, make)
    assert len(calls) == 2
    assert fingerprint(base.tensors) == fingerprint(dict(reversed(base.tensors.items())))


def test_loudest_response_is_in_running_standard_deviations(pair, digits, store):
    base, _ = pair
    network = base.network()
    images = digits.normalised(digits.train_images[spread(len(digits.train_images), 50)])
    with torch.no_grad():
        x = network.c2(network.c1(images))
    sd = (network.bn1.running_var + network.bn1.eps).sqrt()[:, None, None]
    expected = ((x - network.bn1.running_mean[:, None, None]) / sd).abs().max()
    (found,) = loudest_responses([base], digits, store, limit=50)
    assert list(found) == ["bn1", "bn2", "bn3", "bn4"]
    assert found["bn1"] == pytest.approx(float(expected), rel=1e-5)


def test_a_batch_norm_that_remembers_a_silent_neuron_is_loud(pair, digits, store):
    base, _ = pair
    silent = {k: v.clone() for k, v in base.tensors.items()}
    silent["1/bn3.running_var"].zero_()
    found = loudest_responses([base, replace(base, tensors=silent)], digits, store, limit=50)
    assert found[1]["bn3"] > 10 * found[0]["bn3"]
