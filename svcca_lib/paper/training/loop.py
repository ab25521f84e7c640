"""One training loop for every network of the book: regression, classifiers, language model.

What a training computes is decided by its `TrainConfig` alone; everything on the way to the numbers
is here, in `tasks` and in `networks`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.journal import Journal, restore, state_of
from svcca_lib.paper.training.networks import Network, build, freezing_units
from svcca_lib.paper.training.tasks import Task

logger = logging.getLogger(__name__)
LR_DROPS, LR_FACTOR = (0.5, 0.75), 0.1


def fit(
    config: TrainConfig, task: Task, device: torch.device, journal: Journal
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train; everything on the way to the numbers is here or in the functions below."""
    network = build(config.network, config.seed).to(device).to(memory_format=torch.channels_last)
    network.train()
    optimizer = make_optimizer(config, network)
    keep = {fraction: round(fraction * config.steps) for fraction in config.checkpoints}
    measure = {round(i * config.steps / config.evaluations) for i in range(config.evaluations + 1)}
    freezes = freeze_steps(config)

    snapshots: dict[str, Tensor] = {}
    history: dict[str, list[float]] = {}
    running = torch.zeros(3, dtype=torch.float64, device=device)  # loss, accuracy, batches
    first, seconds = 0, 0.0
    if resumed := journal.resume(keep):
        state, record, snapshots = resumed
        first, seconds, history = (record[k] for k in ("step", "seconds", "history"))
        running.copy_(restore(state, network, optimizer))
        for at, group in freezes:
            if at < first:
                freeze(network, optimizer, group)

    for step in range(first, config.steps + 1):
        for fraction, at in keep.items():
            if at == step:
                snapshots |= journal.keep(fraction, network.state_dict())
        if step in measure:
            _record(history, config, task, network, running, step, seconds)
            running.zero_()
        if step == config.steps:
            break
        for at, group in freezes:
            if at == step:
                freeze(network, optimizer, group)

        started = time.perf_counter()
        x, y = task.batch(step)
        with task.autocast():
            output = network(x)
        loss, accuracy = task.score(output, y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = learning_rate(config, step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running += torch.stack([loss.detach(), accuracy, torch.ones_like(accuracy)])
        if device.type == "cuda" and step + 1 in measure:
            torch.cuda.synchronize()
        seconds += time.perf_counter() - started

        if journal.due(step + 1, seconds):
            record = {"step": step + 1, "seconds": seconds, "history": history}
            journal.save(step + 1, state_of(network, optimizer, running), record)
    return snapshots, {"history": history, "freezes": freezes}


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of step `step`, the first being 0."""
    done = step / config.steps
    if config.schedule == "cosine":
        return config.lr * (1 + math.cos(math.pi * done)) / 2
    if config.schedule == "steps":
        return config.lr * LR_FACTOR ** sum(done >= drop for drop in LR_DROPS)
    return config.lr


def make_optimizer(config: TrainConfig, network: nn.Module) -> torch.optim.Optimizer:
    """Make the optimiser of a configuration for a network's parameters."""
    if config.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        network.parameters(),
        config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )


def freeze_steps(config: TrainConfig) -> list[tuple[int, str]]:
    """When each group is frozen; checked against the network."""
    if config.freeze is None:
        return []
    *units, last = freezing_units(config.network)
    wanted = config.freeze.groups
    if list(wanted) != [unit for unit in units if unit in wanted]:
        raise ValueError(
            f"freeze.groups must be some of {', '.join(units)}, in that order (the last "
            f"group, {last}, is left to train); got {', '.join(wanted)}"
        )
    return list(zip(config.freeze.steps(config.steps), wanted, strict=True))


def freeze(network: Network, optimizer: torch.optim.Optimizer, group: str) -> None:
    """Hold constant all stages up to and including `group`, at no cost from now on.

    Where nothing below asks for a gradient, autograd records nothing: the prefix runs as under
    `no_grad`. Its batch norms use their running statistics and leave them as they are, and the
    optimiser passes over parameters that have no gradient; their momentum is dropped.
    """
    for stage in network.frozen_prefix(group):
        module = network.get_submodule(stage).eval()
        for parameter in module.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
            optimizer.state.pop(parameter, None)


def _record(
    history: dict[str, list[float]],
    config: TrainConfig,
    task: Task,
    network: Network,
    running: Tensor,
    step: int,
    seconds: float,
) -> None:
    if step:
        train_loss, train_accuracy = (running[:2] / running[2]).tolist()
    else:  # nothing was trained yet: the first batch, as the network is
        train_loss, train_accuracy = task.measure(network, *task.batch(0))
    test_loss, test_accuracy = task.measure(network, *task.test)
    if not math.isfinite(train_loss):
        raise FloatingPointError(
            f"the training loss is {train_loss} at step {step}; lower lr (it is {config.lr})"
        )
    row = {"step": step, "train_loss": train_loss, "test_loss": test_loss}
    if task.classifies:
        row |= {"train_accuracy": train_accuracy, "test_accuracy": test_accuracy}
    since_step, since_seconds = (
        (history["step"][-1], history["seconds"][-1]) if history else (step, seconds)
    )
    examples = (step - since_step) * config.batch_size
    row |= {
        "lr": learning_rate(config, step),
        "seconds": seconds,
        "examples_per_second": examples / (seconds - since_seconds) if examples else 0.0,
    }
    for key, value in row.items():
        history.setdefault(key, []).append(value)
    logger.info("%s", {k: round(v, 4) for k, v in row.items()})


@contextmanager
def settings(device: torch.device, seed: int) -> Iterator[None]:
    """Process-wide settings of torch while a network trains, as they were before afterwards."""
    precision = torch.get_float32_matmul_precision()
    devices = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=devices),
        torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=True),
    ):
        torch.manual_seed(seed)
        torch.set_float32_matmul_precision("high")  # TF32 on GPUs that have it
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)
