"""The ImageNet network of Figure 6, as torchvision gives it.

Apart from `networks`, whose code is part of what names a trained network in the store.
"""

from __future__ import annotations

import torch
from torch import nn

IMAGENET_LAYERS: tuple[str, ...] = (
    "conv1",
    "maxpool",
    *(f"layer{stage}.{unit}" for stage, n in enumerate((3, 4, 6, 3), 1) for unit in range(n)),
    "fc",
)


def imagenet_resnet50(weights: str | None = "IMAGENET1K_V2", *, seed: int = 0) -> nn.Module:
    """Torchvision's ResNet-50, whose layers to compare are `IMAGENET_LAYERS`.

    Parameters
    ----------
    weights
        Name of torchvision's weights, downloaded by its own loader at first use; None for random
        weights.
    seed
        Seed of the random weights.

    Returns
    -------
    torch.nn.Module
        In evaluation mode. Its ReLUs do not work in place: otherwise they would overwrite the
        outputs that are captured.
    """
    from torchvision.models import get_model

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = get_model("resnet50", weights=weights)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model.eval()
