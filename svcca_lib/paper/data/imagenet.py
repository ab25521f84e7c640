"""The ImageNet network of Figure 6, as torchvision gives it.

Apart from `networks`, whose code is part of what names a trained network in the store.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

IMAGENET_LAYERS: tuple[str, ...] = (
    "conv1",
    "maxpool",
    *(f"layer{stage}.{unit}" for stage, n in enumerate((3, 4, 6, 3), 1) for unit in range(n)),
    "fc",
)

# What torchvision's weights were trained on: pixels in [0, 1], by channel.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def imagenet_resnet50(weights: str | None = "IMAGENET1K_V2", *, seed: int = 0) -> nn.Module:
    """Torchvision's ResNet-50 in evaluation mode, whose layers to compare are `IMAGENET_LAYERS`.

    `weights` is the name of torchvision's, downloaded at first use; None for random ones of a
    seed. Its ReLUs do not work in place: they would overwrite the outputs that are captured.
    """
    from torchvision.models import get_model

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model: nn.Module = get_model("resnet50", weights=weights)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model.eval()


def imagenet_classes() -> tuple[str, ...]:
    """Return the names of the 1,000 classes, in the order of the logits."""
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.IMAGENET1K_V2.meta["categories"])


def imagenet_normalised(images: Tensor) -> Tensor:
    """Scale uint8 images (n, 3, h, w) as torchvision's weights expect them."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return images.float().div(255).sub(mean).div(std)
