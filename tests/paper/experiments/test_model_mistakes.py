"""Mistakes with models: each is one, and the right reading finds the truth."""

import pytest
import torch

from svcca_lib.paper.experiments import model_mistakes


@pytest.mark.parametrize("seed", range(3))
def test_every_mistake_is_one_and_its_remedy_finds_the_truth(seed):
    before = torch.random.get_rng_state()
    made = model_mistakes.eight(seed)
    assert torch.equal(before, torch.random.get_rng_state())
    assert len({m.name for m in made}) == 8
    for mistake in made:
        assert mistake.error > 0.1, mistake
        if mistake.truth is not None:
            assert mistake.right == pytest.approx(mistake.truth, abs=0.05), mistake


def test_rounding_is_the_case_of_a_linear_layer_that_widens():
    found = model_mistakes.rounding_taken_for_directions()
    assert found.wrong == pytest.approx(0.557, abs=0.003)
    assert found.right == pytest.approx(1, abs=1e-6)
