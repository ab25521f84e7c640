"""The ImageNet network, with random weights: the trained ones need a download."""

import torch
from torch import nn

from svcca_lib import capture
from svcca_lib.paper.data.imagenet import IMAGENET_LAYERS, imagenet_resnet50


def test_the_imagenet_resnet_has_its_layers_and_keeps_captured_outputs():
    model = imagenet_resnet50(None, seed=3)
    assert not any(m.inplace for m in model.modules() if isinstance(m, nn.ReLU))
    seen = capture(model, IMAGENET_LAYERS, [torch.randn(2, 3, 64, 64)])
    assert tuple(seen) == IMAGENET_LAYERS
    assert seen["fc"].shape == (2, 1000)
    again = imagenet_resnet50(None, seed=3).state_dict()
    assert all(torch.equal(v, again[k]) for k, v in model.state_dict().items())
