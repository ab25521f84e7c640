"""Floating-point operations of a training, counted on shapes alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.loop import freeze, freeze_steps, make_optimizer
from svcca_lib.paper.training.networks import build


@dataclass(frozen=True)
class Flops:
    """Counted floating-point operations of a run."""

    # (first step, last step + 1, FLOPs of one step) between one freeze and the next
    stages: tuple[tuple[int, int, int], ...]
    forward: int  # FLOPs of the forward pass of one step

    @property
    def total(self) -> int:
        """FLOPs of forward and backward over the whole run."""
        return sum((stop - start) * flops for start, stop, flops in self.stages)


def count_flops(config: TrainConfig) -> Flops:
    """Count the FLOPs of forward and backward of a run, by torch's own counter.

    Nothing is computed: the network runs on shapes alone. Convolutions and matrix products count,
    a multiplication and an addition as two; element-wise work, batch norms and the optimiser do
    not. An lstm, whose kernels the counter does not know, is a ValueError.
    """
    if config.network.arch == "lstm":
        raise ValueError("count_flops counts convolutions and linear layers; got an lstm")
    network = build(config.network, config.seed).to("meta").train()
    optimizer = make_optimizer(config, network)
    x = torch.empty(config.batch_size, *config.network.inputs, device="meta")
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        network(x)
    freezes = freeze_steps(config)
    starts = sorted({0, *(step for step, _ in freezes if step < config.steps)})
    stages = []
    for start, stop in zip(starts, [*starts[1:], config.steps], strict=True):
        for step, group in freezes:
            if step == start:
                freeze(network, optimizer, group)
        with FlopCounterMode(display=False) as counter:
            network(x).sum().backward()
        stages.append((start, stop, counter.get_total_flops()))
    return Flops(tuple(stages), forward.get_total_flops())
