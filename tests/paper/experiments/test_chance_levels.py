import numpy as np
import pytest
import torch

from svcca_lib import svcca
from svcca_lib.paper.experiments import chance_levels

RNG = np.random.default_rng(0)


def test_any_two_layers_are_one_when_images_are_few_and_apart_when_many():
    x, y = torch.from_numpy(RNG.normal(size=(2, 400, 20)))
    found = chance_levels.by_sample_size(x, {"same": x, "other": y}, (18, 400))
    for pair in found.pairs.values():
        assert pair["CCA"][0] == pytest.approx(1)
        assert pair["PWCCA"][0] == pytest.approx(1)
    assert found.pairs["same"]["CCA"][1] == pytest.approx(1)
    assert found.pairs["shuffled"]["CCA"][1] < 0.25
    assert abs(found.pairs["shuffled"]["CCA, held out"][1]) < 0.1
    assert abs(found.pairs["shuffled"]["CKA, debiased"][1]) < 0.05
    assert np.isnan(found.pairs["same"]["CCA, held out"][0])  # directions are arbitrary
    assert found.pairs["other"]["SVCCA"][1] == pytest.approx(svcca(x, y).similarity, abs=1e-9)


def test_constant_images_have_a_high_chance_level_and_white_ones_that_of_pixels():
    n, c, side = 60, 3, 6
    white = torch.from_numpy(RNG.normal(size=(2, n, c, side, side)))
    found = chance_levels.pixel_chance(*white)
    assert found.rows == n * side * side
    assert found.images == pytest.approx(found.closed_form, abs=0.02)
    flat = torch.from_numpy(RNG.normal(size=(2, n, c, 1, 1))).expand(2, n, c, side, side)
    found = chance_levels.pixel_chance(*flat)
    # As many datapoints as images, not as pixels: the floor says so.
    assert found.pixels == pytest.approx(found.closed_form, abs=0.02)
    assert found.images > 4 * found.closed_form
    assert n / 2 < found.effective < 2 * n
