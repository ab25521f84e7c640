"""What an ImageNet network, trained or untrained, responds to photographs, channel by channel.

A logit is a map of one pixel, and has the spatial frequency zero alone: of a layer the spatial
means are all that DFT-CCA can compare with it (`class_sensitivity`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from svcca_lib.paper.data.imagenet import ImagenetNetwork, Photographs
from svcca_lib.paper.data.images import spread
from svcca_lib.paper.experiments.inputs import Images
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.store.store import Store

INPUT = "input"
BATCH = 5  # photographs at a time: more at once take longer on a CPU
CALIBRATION = 100  # photographs, evenly spaced, that set the batch norms of an untrained network


@dataclass(frozen=True, eq=False)
class Responses:
    """Spatial means of every layer, and the logits."""

    layers: dict[str, Tensor]  # what a layer is called -> (n, c), float64; the first is the input
    logits: Tensor  # (n, classes), float64


def shown_to(network: ImagenetNetwork, photographs: Photographs) -> Images:
    """Return photographs as a network takes them."""
    return Images(photographs.pixels, photographs.labels, network.normalised)


def model_of(network: ImagenetNetwork, photographs: Photographs, seed: int | None) -> nn.Module:
    """Return the trained network for None, else an untrained one of a seed."""
    if seed is None:
        return network.trained()
    rows = spread(len(photographs.pixels), CALIBRATION)
    some = Images(photographs.pixels[rows], photographs.labels[rows], network.normalised)
    return network.untrained(some.batches(BATCH), seed)


def responses(
    network: ImagenetNetwork, photographs: Photographs, store: Store, seed: int | None = None
) -> Responses:
    """Show the photographs to the trained network, or to an untrained one of a seed.

    Raises
    ------
    ModuleNotFoundError
        If the network comes with a package that is not installed.
    """
    model = model_of(network, photographs, seed)
    names = [INPUT, *network.layers, network.head]

    def make() -> dict[str, np.ndarray]:
        shown = shown_to(network, photographs)
        found = shown.spatial_means(
            nn.Sequential(nn.Identity(), model),
            ["0", *(f"1.{name}" for name in names[1:])],
            BATCH,
        )
        return {
            name: means.float().numpy() for name, means in zip(names, found.values(), strict=True)
        }

    found = measured(
        store,
        "imagenet-responses",
        [model.state_dict()],
        {"photographs": photographs.fingerprint},
        make,
        name=network.label.lower() + ("" if seed is None else f"-untrained-s{seed}"),
    )
    layers = {INPUT: INPUT, **network.layers}
    return Responses(
        {shown: torch.from_numpy(found[name]).double() for name, shown in layers.items()},
        torch.from_numpy(found[network.head]).double(),
    )
