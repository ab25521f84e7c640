r"""Whether lower layers converge first, by clocks that are not SVCCA.

Two that need nothing but the checkpoints of a run. *Distance*: how far the parameters of a layer
still are from where they end, of the way they have to go. *Rewinding*: the finished network with
one layer put back to an earlier time (and the batch statistics of all layers taken anew); the loss
says how much of what that layer learned since then the network depends on.

References
----------
Chen, Yuille, Zhou 2023 (distance to the final parameters). Zhang, Bengio, Singer, "Are all layers
created equal?", JMLR 23 (2022) (rewinding). Raghu et al. 2017, section 4.1.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.experiments.crossings import settling_times
from svcca_lib.paper.experiments.inputs import images_of, split_at
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.networks import Network
from svcca_lib.paper.training.trained import TrainedNetwork


@dataclass(frozen=True, eq=False)
class Clock:
    """How far each layer still is from its end: 1 at the start, 0 at the end."""

    fractions: np.ndarray  # (t,), of training
    left: np.ndarray  # (t, layers), what is left of the way: a share of that at the start
    layers: tuple[str, ...]

    def settled(self, threshold: float) -> np.ndarray:
        """Fraction of training after which at most `threshold` of the way is left, (layers,)."""
        return settling_times(self.fractions.tolist(), 1 - self.left, 1 - threshold)


def weighted_layers(run: TrainedNetwork) -> tuple[str, ...]:
    """Names of the stages of a network that have a convolution or a linear map, upward."""
    network = run.network()
    return tuple(
        name
        for name, stage in network.stages()
        if any(isinstance(module, nn.Conv2d | nn.Linear) for module in stage.modules())
    )


def distance_clock(run: TrainedNetwork, fractions: Sequence[float]) -> Clock:
    """Distance of each layer's parameters from their final values, of that at the start.

    Fractions are among those kept, from 0 to 1.
    """
    layers = weighted_layers(run)
    networks = [run.network(fraction) for fraction in fractions]
    vectors = [[_parameters(network, layer) for layer in layers] for network in networks]
    end = vectors[-1]
    far = np.array(
        [[float((a - b).norm()) for a, b in zip(at, end, strict=True)] for at in vectors]
    )
    return Clock(np.array(fractions), far / far[0], layers)


def rewinding_clock(
    run: TrainedNetwork, data: ImageData, store: Store, fractions: Sequence[float], images: int
) -> tuple[Clock, np.ndarray]:
    """Excess loss of the finished network with one layer at an earlier time, and the test loss.

    Fractions are among those kept, from 0 to 1. At most `images` training images give the batch
    statistics, and at most as many test images the loss, (t, layers). The excess is a share of that
    with the layer at its initial values, never below 0.
    """
    layers = weighted_layers(run)
    train, test = images_of(data, images), images_of(data, images, "test")

    def make() -> dict[str, np.ndarray]:
        end = run.network()
        earlier = [run.network(fraction) for fraction in fractions]
        losses = np.empty((len(fractions), len(layers)))
        below = train.inputs, test.inputs  # what the finished stages below a layer make of both
        with torch.no_grad():
            for name, stage in end.stages():
                if name in layers:
                    for t, network in enumerate(earlier):
                        back = rewound(end, network, name, below[0])
                        _, top = split_at(back, name)
                        output = top(back.get_submodule(name)(below[1]))
                        losses[t, layers.index(name)] = _loss(output, test.labels)
                fresh, above = _with_statistics(stage, below[0])
                below = above, fresh(below[1])
        return {"loss": losses}

    loss = measured(
        store,
        "rewinding",
        [run],
        {"images": images, "fractions": list(fractions)},
        make,
        data=data,
    )["loss"]
    excess = loss - loss[-1]
    return Clock(np.array(fractions), (excess / excess[0]).clip(0), layers), loss


def rewound(end: Network, earlier: Network, layer: str, below: Tensor) -> Network:
    """Return a copy of a network with one stage as it was, and batch statistics above taken anew.

    They are those of some images, all at once: `below` is what the stages below make of these.
    """
    network = copy.deepcopy(end)
    network.get_submodule(layer).load_state_dict(earlier.get_submodule(layer).state_dict())
    x = below
    with torch.no_grad():
        for name in (layer, *dict(split_at(network, layer)[1].named_children())):
            stage, x = _with_statistics(network.get_submodule(name), x)
            network.get_submodule(name).load_state_dict(stage.state_dict())
    return network.eval()


def _with_statistics(stage: nn.Module, inputs: Tensor) -> tuple[nn.Module, Tensor]:
    """Return a copy of a stage whose batch norms have the statistics of inputs, and its output."""
    stage = copy.deepcopy(stage)
    for norm in stage.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            norm.reset_running_stats()
            norm.momentum = 1.0  # the statistics of one pass, not a running mean
            norm.train()
    output = stage(inputs)
    return stage.eval(), output


def _loss(logits: Tensor, labels: Tensor) -> float:
    return float(functional.cross_entropy(logits.double(), labels))


def _parameters(network: nn.Module, layer: str) -> Tensor:
    return torch.cat([p.double().flatten() for p in network.get_submodule(layer).parameters()])
