r"""Data and layers as the theorems behind DFT-CCA ask for them: moved along with their images.

References
----------
Raghu et al. 2017, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from svcca_lib import capture
from svcca_lib.paper.experiments.inputs import split_at
from svcca_lib.paper.training.networks import Network, build
from svcca_lib.paper.training.trained import TrainedNetwork

BATCH = 512  # images whose responses in all channels are held at a time


def reduced(images: Tensor, size: int) -> Tensor:
    """Average images, (n, c, h, h), down to `size` pixels a side; smaller ones stay as they are.

    ValueError if the images are larger and their side is no multiple of `size`.
    """
    side = images.shape[-1]
    if side <= size:
        return images
    if side % size:
        raise ValueError(f"size must divide the side of the images, {side}; got {size}")
    return functional.avg_pool2d(images, side // size)


def translations(images: Tensor, reach: int | None = None) -> Tensor:
    """Shift every image circularly, no shift twice: the data set of Theorem 1.

    By -reach to reach pixels along both axes; by default by all shifts there are, which closes the
    data set under translation. Returns (n * shifts, c, h, w).
    """

    def along(side: int) -> list[int]:
        if reach is None or 2 * reach + 1 >= side:
            return list(range(side))
        return list(range(-reach, reach + 1))

    _, _, h, w = images.shape
    return torch.cat([torch.roll(images, (i, j), (2, 3)) for i in along(h) for j in along(w)])


def with_borders(run: TrainedNetwork, padding: Literal["zeros", "circular"]) -> Network:
    """Return the finished network with borders of a kind, its weights as trained, in float64."""
    network = build(replace(run.config.network, padding=padding), run.config.seed)
    network.load_state_dict(run.network().state_dict())
    return network.double().eval().requires_grad_(False)


def responses(
    network: Network, layers: Mapping[str, Sequence[int] | None], images: Tensor
) -> dict[str, Tensor]:
    """Record some channels (None: all of them) of some stages, (n, channels, h', w') each.

    Nothing above the highest of these stages runs. The convolutional part of a network takes images
    of any size.
    """
    names = [name for name, _ in network.stages()]
    below, _ = split_at(network, max(layers, key=names.index))
    parts: dict[str, list[Tensor]] = {name: [] for name in layers}
    for batch in torch.split(images, BATCH):
        for name, output in capture(below, list(layers), batch).items():
            channels = layers[name]
            parts[name].append(output if channels is None else output[:, list(channels)])
    return {name: torch.cat(outputs) for name, outputs in parts.items()}


def liveliest(network: Network, name: str, images: Tensor, count: int) -> tuple[int, ...]:
    """Return the channels of a layer that vary most over images, the liveliest first."""
    outputs = responses(network, {name: None}, images)[name]
    order = outputs.var(0).mean((1, 2)).argsort(descending=True)
    return tuple(order[:count].tolist())
