"""The entrance of an experiment: what its networks are shown, and what their layers respond."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from svcca_lib import capture
from svcca_lib.paper.data.images import ImageData, spread
from svcca_lib.paper.training.networks import Network

BATCH = 256  # images that go through a network at a time, where nothing else is said


@dataclass(frozen=True, eq=False)
class Images:
    """Images that networks are shown, as they are: not translated."""

    pixels: Tensor  # (n, c, h, w), uint8
    labels: Tensor  # (n,)
    prepare: Callable[[Tensor], Tensor]  # makes a batch of pixels what the networks take

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def inputs(self) -> Tensor:
        """All of them as the networks take them, float32."""
        return self.prepare(self.pixels)

    def batches(self, size: int = BATCH) -> Iterator[Tensor]:
        """Yield so many at a time as the networks take them."""
        return (self.prepare(part) for part in torch.split(self.pixels, size))

    def responses(
        self, network: nn.Module, layers: Sequence[str], batch: int = BATCH
    ) -> dict[str, Tensor]:
        """Record layers, float32, in the shape that the network gives them.

        The batch bounds the memory; a result depends on it by rounding alone.
        """
        return capture(network, list(layers), self.batches(batch))

    def spatial_means(
        self, network: nn.Module, layers: Sequence[str], batch: int = 100
    ) -> dict[str, Tensor]:
        """Record layers at the spatial frequency zero: (n, c) each, in float64.

        The responses of all layers to a batch are held at a time.
        """
        parts: dict[str, list[Tensor]] = {name: [] for name in layers}
        for images in self.batches(batch):
            for name, output in capture(network, list(layers), images).items():
                maps = output.flatten(2) if output.ndim > 2 else output[..., None]
                parts[name].append(maps.mean(2, dtype=torch.float64))  # no copy of the maps
        return {name: torch.cat(outputs) for name, outputs in parts.items()}


def images_of(
    data: ImageData, most: int | None = None, part: Literal["train", "test"] = "train"
) -> Images:
    """Choose at most `most` images of a data set (all by default), evenly spaced."""
    pixels, labels = {
        "train": (data.train_images, data.train_labels),
        "test": (data.test_images, data.test_labels),
    }[part]
    rows = spread(len(pixels), most)
    return Images(pixels[rows], labels[rows], data.normalised)


def shuffled(x: Tensor, seed: int = 0) -> Tensor:
    """Return rows (the first dimension) in a random order: responses to other images."""
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]


def split_at(network: Network, layer: str) -> tuple[nn.Sequential, nn.Sequential]:
    """Cut a network above a layer: from the input to the layer, and the rest.

    ValueError if the layer is not a stage of the network: only there is the rest of it a chain.
    """
    stages = list(network.stages())
    names = [name for name, _ in stages]
    if layer not in names:
        raise ValueError(f"layer must be one of the stages {', '.join(names)}; got {layer!r}")
    above = names.index(layer) + 1
    below, rest = (nn.Sequential(OrderedDict(part)) for part in (stages[:above], stages[above:]))
    return below.eval(), rest.eval()
