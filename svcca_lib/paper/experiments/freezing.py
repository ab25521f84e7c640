r"""Freeze Training: what it costs in accuracy and what it saves, in matched pairs of runs.

A base run and a freeze run of one seed start from the same weights and see the same batches, so
their difference is that of the freezing alone, and the pairs (not the runs) are the sample.

Of the three products that a step of training computes for a weighted layer (the output, the
gradient with respect to the weights, the gradient with respect to the input), each as large as the
others, freezing leaves the first. A layer of forward cost :math:`f_g`, frozen at the fraction
:math:`\tau_g` of training, therefore saves :math:`2 f_g (1 - \tau_g)` of :math:`3 f_g`.

References
----------
Raghu et al. 2017, section 4.2 and Figure 5.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from svcca_lib.paper.data.images import ImageData, spread
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.config import FreezeSchedule, TrainConfig
from svcca_lib.paper.training.evaluation import evaluate
from svcca_lib.paper.training.flops import count_flops
from svcca_lib.paper.training.networks import build
from svcca_lib.paper.training.tasks import translation_windows
from svcca_lib.paper.training.trained import TrainedNetwork, train


@dataclass(frozen=True)
class Matched:
    """Runs without and with freezing, seed by seed.

    Attributes
    ----------
    base, freeze : tuple of TrainedNetwork
        ``base[i]`` and ``freeze[i]`` differ in the freezing alone.

    Raises
    ------
    ValueError
        If a pair differs in more, or in less.
    """

    base: tuple[TrainedNetwork, ...]
    freeze: tuple[TrainedNetwork, ...]

    def __post_init__(self) -> None:
        if len(self.base) != len(self.freeze) or not self.base:
            raise ValueError(
                f"expected as many base as freeze runs, at least one; got {len(self.base)} and "
                f"{len(self.freeze)}"
            )
        for base, freeze in zip(self.base, self.freeze, strict=True):
            if base.config.freeze is not None or freeze.config.freeze is None:
                raise ValueError("expected a freeze schedule in the freeze runs and in no base run")
            # Which networks are kept on the way does not touch the training.
            alike = replace(freeze.config, freeze=None, checkpoints=base.config.checkpoints)
            if alike != base.config:
                raise ValueError(
                    f"a pair may differ in its freeze schedule only; got {base.config} and "
                    f"{freeze.config}"
                )

    @property
    def steps(self) -> np.ndarray:
        """Steps at which the runs were evaluated, shape (t,)."""
        return np.array(self.base[0].history["step"])

    @property
    def freezes(self) -> np.ndarray:
        """Steps at which a group of layers was frozen."""
        return np.array([step for step, _ in self.freeze[0].freezes])

    def curves(self, column: str = "test_accuracy") -> tuple[np.ndarray, np.ndarray]:
        """Return a column of the histories of base and freeze, each of shape (seeds, t)."""
        return tuple(  # type: ignore[return-value]
            np.array([run.history[column] for run in runs]) for runs in (self.base, self.freeze)
        )


def below_since(steps: Sequence[int] | np.ndarray, difference: np.ndarray) -> int | None:
    """Return the first step from which on a difference stays below 0; None where its end is not.

    Parameters
    ----------
    steps : sequence of int, shape (t,)
        Ascending.
    difference : array, shape (t,)

    Examples
    --------
    >>> below_since([0, 10, 20, 30], np.array([-1.0, 0.5, -0.1, -2.0]))
    20
    """
    not_below = np.flatnonzero(~(np.asarray(difference) < 0))
    first = int(not_below[-1]) + 1 if len(not_below) else 0
    return int(steps[first]) if first < len(steps) else None


def final_accuracy(
    runs: Sequence[TrainedNetwork], data: ImageData, store: Store, limit: int
) -> np.ndarray:
    """Measure the finished networks in float32, on images as they are (not translated).

    Parameters
    ----------
    runs : sequence of TrainedNetwork
    data : ImageData
    store : Store
        Where the measurement is kept.
    limit : int
        At most so many training images are used; the test images are used all.

    Returns
    -------
    array, shape (runs, 2)
        Accuracy on the test and on the training images.
    """
    rows = spread(len(data.train_labels), limit)
    pairs = (
        (data.test_images, data.test_labels),
        (data.train_images[rows], data.train_labels[rows]),
    )

    def measure(run: TrainedNetwork) -> np.ndarray:
        def make() -> tuple[dict[str, Tensor], dict[str, float]]:
            network = run.network()
            found = [evaluate(network, data.normalised(x), y) for x, y in pairs]
            return {"accuracy": torch.tensor(found, dtype=torch.float64)}, {}

        config = {"data": data.fingerprint, "limit": limit}
        found = measured(store, "accuracy", [run], config, make)
        return found.tensors["accuracy"].numpy()

    return np.stack([measure(run) for run in runs])


def loudest_responses(
    runs: Sequence[TrainedNetwork], data: ImageData, store: Store, limit: int
) -> list[dict[str, float]]:
    """Find the largest response of each batch norm, in its running standard deviations.

    A batch norm in training brings a neuron that fires for one image of b to no more than
    ``sqrt(b - 1)``. One that is frozen divides by the deviation it remembers, which for a neuron
    that hardly ever fires is close to 0, so that the rare image comes out without bound.

    Parameters
    ----------
    runs : sequence of TrainedNetwork
    data : ImageData
    store : Store
        Where the measurement is kept.
    limit : int
        At most so many training images are used, each at the nine extreme translations.

    Returns
    -------
    list of dict of str to float
        By name of the batch norm, from the input upward; one dict a run.
    """
    images = data.normalised(data.train_images[spread(len(data.train_images), limit)])

    def measure(run: TrainedNetwork) -> dict[str, float]:
        network = run.network()
        norms = {
            name: module
            for name, module in network.named_modules()
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        }
        largest = dict.fromkeys(norms, 0.0)

        def watch(name: str) -> None:
            def before(norm: nn.Module, inputs: tuple[Tensor]) -> None:
                x = inputs[0].movedim(1, -1)  # channels last
                z = (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
                largest[name] = max(largest[name], float(z.abs().max()))

            norms[name].register_forward_pre_hook(before)

        for name in norms:
            watch(name)
        windows = translation_windows(images, run.config.translate)
        extremes = sorted({0, run.config.translate, 2 * run.config.translate})
        with torch.no_grad():
            for down in extremes:
                for right in extremes:
                    for part in windows[:, down, right].split(500):
                        network(part.permute(0, 3, 1, 2))
        return largest

    def kept(run: TrainedNetwork) -> dict[str, float]:
        config = {"data": data.fingerprint, "limit": limit}
        make = lambda: ({}, measure(run))  # noqa: E731
        return measured(store, "loudest", [run], config, make).meta

    return [kept(run) for run in runs]


@dataclass(frozen=True)
class Savings:
    """What a freeze schedule saves, as shares of the arithmetic of the base run.

    Attributes
    ----------
    starts : array, shape (stages + 1,)
        First step of each stage between one freeze and the next; the last is the end.
    cost : array, shape (stages,)
        Counted cost of one step in each stage, the base run's being 1.
    counted : float
        Saved by the count of torch's FLOP counter.
    predicted : float
        Saved by the rule of three products.
    ceiling : float
        Saved if the frozen layers' outputs could also be kept instead of computed.
    """

    starts: np.ndarray
    cost: np.ndarray
    counted: float
    predicted: float
    ceiling: float


def savings(config: TrainConfig) -> Savings:
    """Count what the freeze schedule of a configuration saves; nothing is trained.

    Raises
    ------
    ValueError
        If the configuration freezes nothing.
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
    """Forward cost of each freezing unit for one batch, from the shapes of its layers.

    Every weight of a convolution or a linear map is used once per output position, for one
    multiplication and one addition.

    Returns
    -------
    dict of str to int
        By freezing unit, from the input upward; units without products cost 0.
    """
    network = build(config.network, config.seed).to("meta").eval()
    cost = dict.fromkeys(network.groups, 0)
    handles = []
    for group, names in network.groups.items():
        for module in (m for name in names for m in network.get_submodule(name).modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):

                def count(layer: nn.Module, _: object, output: Tensor, group: str = group) -> None:
                    # (n, c, h, w) or (n, c)
                    positions = output.numel() // output.shape[1]
                    cost[group] += 2 * layer.weight.numel() * positions

                handles.append(module.register_forward_hook(count))
    with torch.no_grad():
        network(torch.empty(config.batch_size, *config.network.inputs, device="meta"))
    for handle in handles:
        handle.remove()
    return cost


@dataclass(frozen=True)
class StepTimes:
    """What a step of training takes in each stage of a freeze schedule, by the clock.

    Attributes
    ----------
    starts : array, shape (stages + 1,)
        First step of each stage; the first stage begins at 0 with nothing frozen (and is empty
        where the schedule freezes at once), the last value is the end.
    seconds : array, shape (stages,)
        Of one step. ``seconds[0]`` is that of the base run.
    """

    starts: np.ndarray
    seconds: np.ndarray

    @property
    def saved(self) -> float:
        """Share of the training time that the freeze run saves."""
        return float(1 - self.seconds @ np.diff(self.starts) / (self.seconds[0] * self.starts[-1]))


def step_times(
    config: TrainConfig, data: ImageData, *, steps: int = 5, repeats: int = 3
) -> StepTimes:
    """Time the steps of a freeze run, stage by stage, in short trainings that are thrown away.

    Each training runs through all stages, `steps` steps in each, so that a machine that is busy for
    a while is so for all of them. The least of all times of a stage counts: what else runs can
    only add.

    Parameters
    ----------
    config : TrainConfig
        With a freeze schedule.
    data : ImageData
        Those of the configuration. A few batches of them are used.
    steps, repeats : int
        Steps in each stage, and trainings.

    Raises
    ------
    ValueError
        If the configuration freezes nothing, or `steps` or `repeats` is less than 1.
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
