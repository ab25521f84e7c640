"""Noise that scores high: scores against the library's, and a layer whose components are known."""

import numpy as np
import pytest
import torch

from svcca_lib import Subspace, cca, cka, procrustes
from svcca_lib.paper.experiments import optimised_noise

LIBRARY = {"CKA": cka, "Procrustes": procrustes}


def centred(n, p, seed):
    x = torch.randn(n, p, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return x - x.mean(0)


@pytest.fixture(scope="module")
def layer():
    """One loud component that knows nothing of the class, and five quiet ones that hold it."""
    labels = np.arange(300) % 3
    quiet = torch.eye(3, dtype=torch.float64)[labels] + 0.1 * centred(300, 3, 1)
    return torch.cat([8 * centred(300, 1, 2), quiet, 0.3 * centred(300, 2, 3)], dim=1), labels


@pytest.mark.parametrize("measure", ["CKA", "Procrustes"])
def test_what_is_differentiated_is_the_librarys_score(measure):
    x, y = centred(80, 6, 0), centred(80, 5, 1) + centred(80, 6, 0)[:, :5]
    found = optimised_noise.MEASURES[measure](x)(y).item()
    assert found == pytest.approx(LIBRARY[measure](x, y).similarity, abs=1e-12)


def test_svcca_with_noise_is_cca_with_the_directions_that_are_kept():
    x, y = centred(80, 6, 0) * torch.tensor([9, 5, 3, 1, 0.1, 0.01]), centred(80, 5, 1)
    kept = Subspace.fit(x, keep=0.99)
    assert kept.kept < 6
    found = optimised_noise.svcca_with(x)(y).item()
    # more directions than the noise has neurons would be more than there are correlations
    assert kept.kept <= 5
    assert found == pytest.approx(cca(kept.basis, y).similarity, abs=1e-10)


def test_noise_of_high_cka_lacks_what_is_quiet_and_of_high_svcca_does_not(layer):
    x, labels = layer
    of = {
        measure: optimised_noise.optimise(x, labels, measure, (0.5, 0.9), seed=0)
        for measure in optimised_noise.MEASURES
    }
    whole = optimised_noise.decoded(x.numpy(), labels)
    assert whole > 0.95
    assert of["CKA"].accuracy[-1] < 0.6  # the loud component is enough for the score
    assert of["CKA"].held[-1] < of["SVCCA"].held[-1] == 1
    assert of["SVCCA"].accuracy[-1] > 0.7
    assert cka(x, of["CKA"].noise).similarity >= 0.9


def test_the_same_seed_gives_the_same_noise_and_another_seed_another(layer):
    x, labels = layer
    first, again, other = (
        optimised_noise.optimise(x, labels, "CKA", (0.5,), seed=seed).noise for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_component_is_held_from_half_of_it_on():
    q = Subspace.fit(centred(50, 4, 0), keep=1).basis
    assert optimised_noise.share_held(q, q[:, :3] @ centred(3, 3, 1)) <= 0.75
    mixed = torch.stack([q[:, 0] + 0.9 * q[:, 2], q[:, 1] + 1.1 * q[:, 3]], dim=1)
    # 1 / (1 + 0.81) of the first, 1 / (1 + 1.21) of the second, and the rest of the other two
    assert optimised_noise.share_held(q, mixed) == 0.5


def test_a_level_that_is_not_reached_is_an_error(layer, monkeypatch):
    monkeypatch.setattr(optimised_noise, "MOST", 3)
    with pytest.raises(RuntimeError, match="lower level"):
        optimised_noise.optimise(*layer, "CKA", (0.99,), seed=0)
