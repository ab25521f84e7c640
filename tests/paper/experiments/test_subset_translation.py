import numpy as np
import pytest

from svcca_lib import cka
from svcca_lib.paper.experiments import subset_translation

RNG = np.random.default_rng(0)


def test_what_the_readout_does_not_see_leaves_its_outputs_and_takes_cka_to_its_limit():
    layer, readout = RNG.normal(size=(300, 12)), RNG.normal(size=(4, 12))
    direction = subset_translation.unseen(readout, layer)
    assert np.linalg.norm(direction) == pytest.approx(1)
    np.testing.assert_allclose(readout @ direction, 0, atol=1e-12)
    subset = layer[:, 0] > 0.3
    moved = subset_translation.translated(layer, subset, direction, 1e4)
    np.testing.assert_allclose(moved @ readout.T, layer @ readout.T, atol=1e-6)
    np.testing.assert_allclose(moved[~subset], layer[~subset])
    end = subset_translation.limit(layer, subset)
    assert cka(layer, moved).similarity == pytest.approx(end, abs=1e-4)
    found = subset_translation.attack(layer, subset, readout, (0, 1e4))
    assert found.seen < 1e-9
    assert found.limit == end
    for values in found.similarity.values():
        assert values[0] == pytest.approx(1)
    # all directions but one are as they were
    assert found.similarity["mean CCA"][1] > 11 / 12 - 1e-6
    with pytest.raises(ValueError, match="fewer outputs than neurons"):
        subset_translation.unseen(np.eye(12), layer)
