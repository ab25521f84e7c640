import numpy as np
import torch
from imagenet_in_small import TINY, pictures

from svcca_lib import capture
from svcca_lib.paper.data import imagenet
from svcca_lib.paper.experiments.imagenet_responses import responses
from svcca_lib.paper.store.store import Store


def test_layers_are_means_over_space_and_the_logits_are_the_network_s(tmp_path):
    photographs = imagenet.photographs(pictures(tmp_path / "p", range(12)), size=32)
    store = Store(tmp_path / "store")
    found = responses(TINY, photographs, store)
    assert list(found.layers) == ["input", "first", "second", "top"]
    pixels = TINY.normalised(photographs.pixels)
    model = TINY.trained()
    whole = capture(model, ["2", "4", "7"], [pixels])
    np.testing.assert_allclose(found.layers["input"], pixels.mean((2, 3)), atol=1e-5)
    np.testing.assert_allclose(found.layers["first"], whole["2"].mean((2, 3)), atol=1e-5)
    np.testing.assert_allclose(found.layers["top"], whole["4"].mean((2, 3)), atol=1e-5)
    np.testing.assert_allclose(found.logits, whole["7"], atol=1e-5)
    assert found.logits.dtype == torch.float64


def test_an_untrained_network_sees_the_same_photographs_and_is_kept_apart(tmp_path):
    photographs = imagenet.photographs(pictures(tmp_path / "p", range(12)), size=32)
    store = Store(tmp_path / "store")
    trained, random = responses(TINY, photographs, store), responses(TINY, photographs, store, 0)
    assert torch.equal(trained.layers["input"], random.layers["input"])
    assert not torch.allclose(trained.layers["first"], random.layers["first"])
    again = responses(TINY, photographs, store, 0)
    assert torch.equal(random.logits, again.logits)
    assert len(list(store.entries())) == 2
