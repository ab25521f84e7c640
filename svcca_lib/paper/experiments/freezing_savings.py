r"""What Freeze Training saves: by count, by theory and by the clock.

Of the three products that a step of training computes for a weighted layer (the output, the
gradient with respect to the weights, the gradient with respect to the input), each as large as the
others, freezing leaves the first. A layer of forward cost :math:`f_g`, frozen at the fraction
:math:`\tau_g` of training, therefore saves :math:`2 f_g (1 - \tau_g)` of :math:`3 f_g`.

References
----------
Raghu et al. 2017, section 4.2.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.config import FreezeSchedule, TrainConfig
from svcca_lib.paper.training.flops import count_flops
from svcca_lib.paper.training.networks import build
from svcca_lib.paper.training.trained import train


@dataclass(frozen=True)
class Savings:
    """What a freeze schedule saves, as shares of the arithmetic of the base run."""

    starts: np.ndarray  # (stages + 1,), first step of each stage between two freezes, and the end
    cost: np.ndarray  # (stages,), counted cost of one step, the base run's being 1
    counted: float  # saved by the count of torch's FLOP counter
    predicted: float  # saved by the rule of three products
    ceiling: float  # saved if the frozen layers' outputs could also be kept instead of computed


def savings(config: TrainConfig) -> Savings:
    """Count what the freeze schedule of a configuration saves; nothing is trained.

    ValueError if it freezes nothing.
    """
    if config.freeze is None:
        raise ValueError("expected a configuration with a freeze schedule; got one without")
    base = count_flops(replace(config, freeze=None))
    freeze = count_flops(config)
    forward = forward_flops(config)
    stops = dict(zip(config.freeze.groups, config.freeze.steps(config.steps), strict=True))
    waived, frozen_from = 0.0, config.steps
    # A group that the schedule passes over is frozen with the next one that it names.
    for group in reversed(forward):
        frozen_from = stops.get(group, frozen_from)
        waived += forward[group] * (1 - frozen_from / config.steps)
    share = waived / sum(forward.values())
    return Savings(
        starts=np.array([start for start, _, _ in freeze.stages] + [config.steps]),
        cost=np.array([flops for _, _, flops in freeze.stages]) * config.steps / base.total,
        counted=1 - freeze.total / base.total,
        predicted=2 / 3 * share,
        ceiling=share,
    )


def forward_flops(config: TrainConfig) -> dict[str, int]:
    """Forward cost of each freezing unit for one batch, from the input upward; 0 without products.

    Every weight of a convolution or a linear map is used once per output position, for one
    multiplication and one addition.
    """
    network = build(config.network, config.seed).to("meta").eval()
    cost = dict.fromkeys(network.groups, 0)

    def counts(group: str, weights: int) -> Callable[[nn.Module, object, Tensor], None]:
        def count(layer: nn.Module, inputs: object, output: Tensor) -> None:
            positions = output.numel() // output.shape[1]  # of (n, c, h, w) or (n, c)
            cost[group] += 2 * weights * positions

        return count

    for group, names in network.groups.items():
        for module in (m for name in names for m in network.get_submodule(name).modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(counts(group, module.weight.numel()))
    with torch.no_grad():
        network(torch.empty(config.batch_size, *config.network.inputs, device="meta"))
    return cost


@dataclass(frozen=True)
class StepTimes:
    """What a step of training takes in each stage of a freeze schedule, by the clock.

    The first stage begins at step 0 with nothing frozen, and is empty where the schedule freezes at
    once. ``seconds[0]`` is a step of the base run.
    """

    starts: np.ndarray  # (stages + 1,), first step of each stage; the last is the end
    seconds: np.ndarray  # (stages,), of one step

    @property
    def saved(self) -> float:
        """Share of the training time that the freeze run saves."""
        return float(1 - self.seconds @ np.diff(self.starts) / (self.seconds[0] * self.starts[-1]))


def step_times(
    config: TrainConfig, data: ImageData, *, steps: int = 5, repeats: int = 3
) -> StepTimes:
    """Time the steps of a freeze run, stage by stage, in short trainings that are thrown away.

    Each training runs through all stages, `steps` steps in each, so that a machine that is busy for
    a while is so for all of them; the least of all times of a stage counts. A few batches of the
    data are used. ValueError if nothing is frozen, or `steps` or `repeats` is less than 1.
    """
    if config.freeze is None:
        raise ValueError("expected a configuration with a freeze schedule; got one without")
    if steps < 1 or repeats < 1:
        raise ValueError(f"steps and repeats must be at least 1; got {steps} and {repeats}")
    groups = config.freeze.groups
    stages = len(groups) + 1
    used = steps * config.batch_size
    few = replace(
        data,
        train_images=data.train_images[:used],
        train_labels=data.train_labels[:used],
        test_images=data.test_images[:1],
        test_labels=data.test_labels[:1],
    )
    short = replace(
        config,
        steps=stages * steps,
        evaluations=stages * steps,
        checkpoints=(1.0,),
        freeze=FreezeSchedule(groups, start=1 / stages, end=len(groups) / stages),
    )
    taken = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            run = train(short, few, Store(folder), progress=False)
        taken.append(np.diff(run.history["seconds"]).reshape(stages, steps))
    return StepTimes(
        starts=np.array([0, *config.freeze.steps(config.steps), config.steps]),
        seconds=np.concatenate(taken, axis=1).min(axis=1),
    )
