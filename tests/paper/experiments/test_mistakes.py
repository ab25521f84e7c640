import copy

import numpy as np
import pytest
import torch
from torch import nn

from svcca_lib import svcca
from svcca_lib.paper.experiments import mistakes
from svcca_lib.paper.experiments.inputs import images_of

RNG = np.random.default_rng(0)


def test_every_mistake_is_one_and_its_remedy_finds_the_truth():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 12), nn.ReLU(inplace=True), nn.BatchNorm1d(12), nn.Linear(12, 5)
    )
    inputs = torch.randn(400, 6) + torch.linspace(-2, 2, 400)[:, None]
    x = torch.randn(400, 10).relu().double()
    y = (0.5 * x + torch.randn(400, 10).relu()).double()
    made = [
        mistakes.shuffled_twice(model, "3", inputs),
        mistakes.not_centred(x, y),
        mistakes.too_few_images(x, y),
        mistakes.averaged_over_batches(x, y, 20),
        mistakes.overwritten(model, "0", inputs),
        mistakes.training_mode(model, "3", inputs, 20),
    ]
    for mistake in made:
        assert mistake.error > 0.05, mistake.name
        if mistake.truth is not None:
            assert mistake.right == pytest.approx(mistake.truth, abs=0.1), mistake.name
    assert made[4].wrong == 0  # nothing negative is left
    broken = mistakes.no_rank_cut(x, y)
    assert broken.wrong > 1 + 1e-3  # no correlation
    assert broken.right == pytest.approx(broken.truth, abs=1e-6)


def test_training_mode_leaves_the_model_as_it_was():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).eval()
    before = copy.deepcopy(model.state_dict())
    mistakes.training_mode(model, "2", torch.randn(60, 4), 20)
    assert not model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_fewer_images_can_turn_a_ranking():
    x = torch.from_numpy(RNG.normal(size=(2000, 20)))
    near = 0.8 * x + 0.6 * torch.from_numpy(RNG.normal(size=(2000, 20)))
    far = 0.4 * x + 0.9 * torch.from_numpy(RNG.normal(size=(2000, 20)))
    mistake = mistakes.without_chance([(x, near), (x, far)], (2000, 25))
    assert mistake.wrong < 0 < mistake.right


def test_the_eight_mistakes_are_those_of_each_function(runs, digits, outputs):
    inputs = images_of(digits, 120).inputs
    made = mistakes.eight(*runs, inputs, early=0.5, seed=3)
    assert len({m.name for m in made}) == 8
    x, y = (outputs(run, "fc1", 120).double() for run in runs)
    early = outputs(runs[0], "fc1", 120, 0.5).double()
    assert made[1] == mistakes.not_centred(x, y, 3)
    ahead = svcca(x, early).similarity - svcca(x, y).similarity
    assert made[6].right == pytest.approx(ahead, abs=1e-9)


def test_shuffled_pixels_have_a_lower_floor_than_shuffled_images():
    # Each image has a brightness of its own in every pixel: 40 datapoints, not 40 * 36.
    bright = torch.from_numpy(RNG.normal(size=(2, 40, 3, 1, 1)))
    maps = bright + 0.1 * torch.from_numpy(RNG.normal(size=(2, 40, 3, 6, 6)))
    mistake = mistakes.pixels_shuffled(*maps)
    assert mistake.wrong < 0.5 * mistake.right
