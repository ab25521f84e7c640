"""A tiny network with ImageNet's logits, and generated pictures in class folders."""

import numpy as np
import torch
from PIL import Image
from torch import nn

from svcca_lib.paper.data.imagenet import ImagenetNetwork
from svcca_lib.paper.data.wordnet import imagenet


def _make():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=4),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=4),
        nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 1000),
    )


def _weights():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(9)
        return _make().state_dict()


TINY = ImagenetNetwork(
    label="Tiny",
    source="a test",
    layers={"2": "first", "4": "second", "5": "top"},
    head="7",
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    make=_make,
    weights=_weights,
)


def pictures(root, classes=range(0, 1000, 15), each=1, size=(40, 48)):
    """Write a picture of its own colour and noise for each of some classes; return the folder."""
    rng = np.random.default_rng(0)
    for i in classes:
        folder = root / imagenet().classes[i]
        folder.mkdir(parents=True)
        for k in range(each):
            pixels = rng.integers(0, 200, size=3) + rng.integers(0, 56, size=(*size, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{k}.png")
    return root
