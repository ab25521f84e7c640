"""One training loop for every network of the book: regression, classifiers, language model.

What a run computes is decided by its `TrainConfig` alone. The initial weights come from
``build(config.network, config.seed)``. The data come from generators of their own: the order of
epoch *e* from ``(seed, "order", e)``, the translations of step *t* from ``(seed, "augment", t)``.
A batch is therefore a function of the seed and the step, whatever happened before: a base run and
a Freeze Training run of one seed see the same images, and a run that was killed goes on with the
batch it would have had.

References
----------
Raghu et al. 2017, section 4.1 (Freeze Training).
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from svcca_lib.paper.data.datasets import ImageData, TextData, ToyData
from svcca_lib.paper.store import identity
from svcca_lib.paper.store.store import (
    DamagedError,
    Store,
    StoreWarning,
    read_bundle,
    write_bundle,
)
from svcca_lib.paper.training.networks import Network, NetworkConfig, build

logger = logging.getLogger(__name__)

Data = ImageData | TextData | ToyData
Report = Callable[[int, int, float], None]

CHECKPOINT_SECONDS = 30.0
STREAMS = {"order": 1, "augment": 2}
LR_DROPS, LR_FACTOR = (0.5, 0.75), 0.1


# -------------------------------------------------------------------------- what a run is made of


@dataclass(frozen=True)
class FreezeSchedule:
    """Freeze Training: layers are frozen one after another, from the input upward.

    Attributes
    ----------
    groups : tuple of str
        Freezing units of the network (`Network.groups`), in order. At the time of a group, every
        stage up to and including it is frozen.
    start, end : float
        Fractions of training at which the first and the last of `groups` are frozen; the others
        are equally spaced between them.
    """

    groups: tuple[str, ...]
    start: float = 0.25
    end: float = 0.75

    def __post_init__(self) -> None:
        if not self.groups:
            raise ValueError("groups must name at least one freezing unit; got none")
        if not 0 <= self.start <= self.end <= 1:
            raise ValueError(
                f"expected 0 <= start <= end <= 1; got start={self.start}, end={self.end}"
            )

    def steps(self, total: int) -> tuple[int, ...]:
        """Step at which each group is frozen, in a run of `total` steps."""
        fractions = np.linspace(self.start, self.end, len(self.groups))
        return tuple(round(float(fraction) * total) for fraction in fractions)

    def frozen(self, step: int, total: int) -> int:
        """How many groups are frozen while step `step` of `total` is taken."""
        return sum(time <= step for time in self.steps(total))


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a trained network; its hash names the network in the store.

    Attributes
    ----------
    network : NetworkConfig
    data : str
        Fingerprint of the data.
    seed : int
        Of the initial weights, and of the generators of order and augmentation.
    steps, batch_size : int
        Updates, and examples in each. An epoch ends where no full batch is left.
    optimizer : {"sgd", "adam"}
        SGD with Nesterov momentum, or Adam (its betas are PyTorch's).
    lr, momentum, weight_decay : float
        Weight decay is added to the gradient, for all parameters.
    schedule : {"cosine", "steps", "constant"}
        Of the learning rate: down to 0; a tenth at 50 % and again at 75 %; none.
    translate : int
        Largest random translation in pixels, each way; what is moved in is zero, the mean colour.
    context : int
        Tokens in a training example of a language model.
    checkpoints : tuple of float
        Fractions of training whose networks are kept.
    evaluations : int
        Equally spaced measurements of loss and accuracy after the one at step 0.
    precision : {"auto", "float32"}
        Of the forward and backward pass of images: bfloat16 autocast where the device computes in
        it natively, or float32 everywhere. Narrow networks lose accuracy in bfloat16, and networks
        that are to come out alike on different machines need one precision.
    freeze : FreezeSchedule or None
    """

    network: NetworkConfig
    data: str
    seed: int = 0
    steps: int = 1000
    batch_size: int = 128
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Literal["cosine", "steps", "constant"] = "cosine"
    translate: int = 0
    context: int = 32
    checkpoints: tuple[float, ...] = (0.0, 1.0)
    evaluations: int = 10
    precision: Literal["auto", "float32"] = "auto"
    freeze: FreezeSchedule | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "evaluations", "context"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.translate < 0:
            raise ValueError(f"translate must not be negative; got {self.translate}")
        if self.lr <= 0:
            raise ValueError(f"lr must be positive; got {self.lr}")
        for name, choices in (
            ("optimizer", ("sgd", "adam")),
            ("schedule", ("cosine", "steps", "constant")),
            ("precision", ("auto", "float32")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}"
                )
        c = self.checkpoints
        if list(c) != sorted(set(c)) or not c or c[0] < 0 or c[-1] > 1:
            raise ValueError(f"checkpoints must be ascending fractions in [0, 1]; got {c}")


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes
    ----------
    config : TrainConfig
    history : dict of str to list
        One entry per evaluation: ``step``, ``train_loss`` (mean over the batches since the one
        before), ``test_loss``, ``lr``, ``seconds`` (spent training until then, without the
        evaluations), ``examples_per_second``; and, except for regression, ``train_accuracy`` and
        ``test_accuracy``. These are measured in the precision of the training; what the book
        reports of a network is measured anew, in float32.
    freezes : list of (step, group)
        When what was frozen.
    provenance : dict
        Of the artefact.
    """

    config: TrainConfig
    history: dict[str, list[float]]
    freezes: list[tuple[int, str]]
    provenance: dict[str, Any] = field(repr=False)
    tensors: dict[str, Tensor] = field(repr=False)

    @property
    def fractions(self) -> tuple[float, ...]:
        """Fractions of training at which the network can be had."""
        return self.config.checkpoints

    def network(self, fraction: float = 1.0, device: str | torch.device = "cpu") -> Network:
        """Return the network at a fraction of training: eval mode, float32, no gradients.

        Raises
        ------
        KeyError
            If no checkpoint was kept there.
        """
        if fraction not in self.fractions:
            raise KeyError(f"expected one of the kept fractions {self.fractions}; got {fraction}")
        network = build(self.config.network, self.config.seed)
        prefix = _prefix(fraction)
        network.load_state_dict(
            {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}
        )
        return network.to(device).eval().requires_grad_(False)


def _prefix(fraction: float) -> str:
    return f"{fraction:g}/"


# ----------------------------------------------------------------------------------- public verbs


def train(
    config: TrainConfig,
    data: Data,
    store: Store,
    *,
    device: str | torch.device | None = None,
    progress: bool | None = None,
    report: Report | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Run:
    """Train a network, or load the one that this configuration made before.

    Parameters
    ----------
    config : TrainConfig
    data : ImageData, TextData or ToyData
        For a convnet or resnet, an lstm, a toy network. Its fingerprint must be `config.data`.
    store : Store
        Where the run is kept, and where it goes on from if it was interrupted.
    device : str or torch.device, optional
        By default a CUDA device where there is one, else the CPU.
    progress : bool, optional
        A bar on stderr. By default only where stderr is a terminal, so never in a notebook.
    report : callable, optional
        ``report(step, steps, seconds)`` is called about once a second while the run trains.
    checkpoint_seconds : float
        At most this much work is lost by a kill.

    Returns
    -------
    Run

    Raises
    ------
    TypeError
        If the data are not of the sort the network needs.
    ValueError
        If the data are not those of the configuration, or the freeze schedule does not fit the
        network.
    FloatingPointError
        If the loss is no longer finite.

    Notes
    -----
    On one machine, with one number of threads, equal configurations give bit-identical networks on
    the CPU, interrupted or not. On another they agree as far as rounding lets them. While it runs,
    ``progress.json`` in the run's workspace says where it is: name, step, steps, seconds.

    Images run in channels_last and, where the configuration allows it and the device computes in it
    natively, bfloat16 autocast; weights, batch statistics and optimiser stay float32.
    """
    if data.fingerprint != config.data:
        raise ValueError(
            f"expected data of the configuration's fingerprint {config.data[:16]!r}, got "
            f"{data.fingerprint[:16]!r} ({data.label}); make the configuration from these data"
        )
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    name = f"{config.network.arch}{'-freeze' if config.freeze else ''}-{data.name}-s{config.seed}"
    freezes = _freezes(config)

    def make(workspace: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        journal = _Journal(workspace, name, config.steps, checkpoint_seconds, progress, report)
        with journal, _settings(where, config.seed):
            return _fit(config, _task(config, data, where), where, journal)

    artefact = store.fetch("network", config, make, version=identity.of_training(), name=name)
    history = artefact.meta["history"]
    return Run(config, history, freezes, artefact.provenance, artefact.tensors)


def evaluate(network: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = 500) -> float:
    """Return the accuracy of a classifier, in float32 and evaluation mode.

    Parameters
    ----------
    network : nn.Module
        Its mode is as before afterwards.
    images : Tensor
        (n, c, h, w), normalised; or tokens (n, time) with labels (n, time).
    labels : Tensor
        (n,), int64.
    batch_size : int
        Bounds the memory, not the result.
    """
    return _measure(network, images, labels, _classification, nullcontext, batch_size)[1]


@dataclass(frozen=True)
class Flops:
    """Counted floating-point operations of a run.

    Attributes
    ----------
    stages : tuple of (first step, last step + 1, FLOPs of one step)
        Between one freeze and the next.
    forward : int
        FLOPs of the forward pass of one step.
    """

    stages: tuple[tuple[int, int, int], ...]
    forward: int

    @property
    def total(self) -> int:
        """FLOPs of forward and backward over the whole run."""
        return sum((stop - start) * flops for start, stop, flops in self.stages)


def count_flops(config: TrainConfig) -> Flops:
    """Count the FLOPs of forward and backward of a run, by torch's own counter.

    Nothing is computed: the network runs on shapes alone. Convolutions and matrix products count,
    a multiplication and an addition as two; element-wise work, batch norms and the optimiser do
    not. Not for the lstm, whose kernels the counter does not know.

    Raises
    ------
    ValueError
        For an lstm.
    """
    if config.network.arch == "lstm":
        raise ValueError("count_flops counts convolutions and linear layers; got an lstm")
    network = build(config.network, config.seed).to("meta").train()
    optimizer = _optimizer(config, network)
    x = torch.empty(config.batch_size, *config.network.inputs, device="meta")
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        network(x)
    freezes = _freezes(config)
    starts = sorted({0, *(step for step, _ in freezes if step < config.steps)})
    stages = []
    for start, stop in zip(starts, [*starts[1:], config.steps], strict=True):
        for step, group in freezes:
            if step == start:
                _freeze(network, optimizer, group)
        with FlopCounterMode(display=False) as counter:
            network(x).sum().backward()
        stages.append((start, stop, counter.get_total_flops()))
    return Flops(tuple(stages), forward.get_total_flops())


# --------------------------------------------------------------------------------------- the loop


def _fit(
    config: TrainConfig, task: _Task, device: torch.device, journal: _Journal
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train; everything on the way to the numbers is here or in the functions below."""
    network = build(config.network, config.seed).to(device).to(memory_format=torch.channels_last)
    network.train()
    optimizer = _optimizer(config, network)
    keep = {fraction: round(fraction * config.steps) for fraction in config.checkpoints}
    measure = {round(i * config.steps / config.evaluations) for i in range(config.evaluations + 1)}
    freezes = _freezes(config)

    snapshots: dict[str, Tensor] = {}
    history: dict[str, list[float]] = {}
    running = torch.zeros(3, dtype=torch.float64, device=device)  # loss, accuracy, batches
    first, seconds = 0, 0.0
    if resumed := journal.resume(keep):
        first, seconds, history = (resumed.record[k] for k in ("step", "seconds", "history"))
        snapshots = resumed.snapshots
        running.copy_(_load_state(resumed.tensors, network, optimizer))
        for at, group in freezes:
            if at < first:
                _freeze(network, optimizer, group)

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
                _freeze(network, optimizer, group)

        started = time.perf_counter()
        x, y = task.batch(step)
        with task.autocast():
            output = network(x)
        loss, accuracy = task.score(output, y)
        loss.backward()
        optimizer.param_groups[0]["lr"] = learning_rate(config, step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running += torch.stack([loss.detach(), accuracy, torch.ones_like(accuracy)])
        if device.type == "cuda" and step + 1 in measure:
            torch.cuda.synchronize()
        seconds += time.perf_counter() - started

        if journal.due(step + 1, seconds):
            record = {"step": step + 1, "seconds": seconds, "history": history}
            journal.save(step + 1, _state(network, optimizer, running), record)
    return snapshots, {"history": history, "freezes": freezes}


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of step `step`, the first being 0."""
    done = step / config.steps
    if config.schedule == "cosine":
        return config.lr * (1 + math.cos(math.pi * done)) / 2
    if config.schedule == "steps":
        return config.lr * LR_FACTOR ** sum(done >= drop for drop in LR_DROPS)
    return config.lr


def _optimizer(config: TrainConfig, network: nn.Module) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        network.parameters(),
        config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )


def _freezes(config: TrainConfig) -> list[tuple[int, str]]:
    """When each group is frozen; checked against the network."""
    if config.freeze is None:
        return []
    with torch.device("meta"):
        groups = list(build(config.network, config.seed).groups)
    wanted = config.freeze.groups
    if list(wanted) != [group for group in groups[:-1] if group in wanted]:
        raise ValueError(
            f"freeze.groups must be some of {', '.join(groups[:-1])}, in that order (the last "
            f"group, {groups[-1]}, is left to train); got {', '.join(wanted)}"
        )
    return list(zip(config.freeze.steps(config.steps), wanted, strict=True))


def _freeze(network: Network, optimizer: torch.optim.Optimizer, group: str) -> None:
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
    task: _Task,
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


# ------------------------------------------------------------------------- what is trained on what


class _Task:
    """Examples held once as one tensor, drawn in batches, and how an output is scored.

    Attributes
    ----------
    test : (x, y)
        What is measured on.
    """

    classifies = True
    test: tuple[Tensor, Tensor]

    def __init__(self, config: TrainConfig, size: int, device: torch.device) -> None:
        self.config, self.size, self.device = config, size, device
        self.per_epoch = size // config.batch_size
        if not self.per_epoch:
            raise ValueError(
                f"batch_size must be at most the number of training examples, {size}; "
                f"got {config.batch_size}"
            )
        self._epoch, self._order = -1, torch.empty(0)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a step: a function of seed and step alone."""
        epoch, i = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = torch.randperm(self.size, generator=self.generator("order", epoch))
        b = self.config.batch_size
        return self.gather(self._order[i * b : (i + 1) * b], self.generator("augment", step))

    def generator(self, stream: str, index: int) -> torch.Generator:
        """Return a generator of its own for one epoch's order or one step's augmentation."""
        entropy = np.random.SeedSequence((self.config.seed, STREAMS[stream], index))
        return torch.Generator().manual_seed(int(entropy.generate_state(1)[0]))

    def gather(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def autocast(self) -> AbstractContextManager[object]:
        """Return the precision of the forward pass."""
        return nullcontext()

    def score(self, output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy of a batch."""
        return _classification(output, y)

    def measure(self, network: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
        """Loss and accuracy in evaluation mode, in the precision of the training."""
        return _measure(network, x, y, self.score, self.autocast)


def _classification(output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    output = output.float().flatten(0, -2)  # (n, classes), or (n, time, vocabulary)
    loss = functional.cross_entropy(output, y.flatten())
    return loss, (output.argmax(-1) == y.flatten()).double().mean()


class _Images(_Task):
    """Images in channels_last, normalised, and padded for the translations."""

    def __init__(self, config: TrainConfig, data: ImageData, device: torch.device) -> None:
        super().__init__(config, len(data.train_images), device)
        self.bfloat16 = config.precision == "auto" and computes_in_bfloat16(device)

        def prepare(images: Tensor) -> Tensor:
            parts = [data.normalised(part).to(self._dtype) for part in images.split(1000)]
            return torch.cat([p.contiguous(memory_format=torch.channels_last) for p in parts])

        train = prepare(data.train_images)
        self.windows = translation_windows(train, config.translate).to(device)
        self.labels = data.train_labels.to(device)
        self.test = prepare(data.test_images).to(device), data.test_labels.to(device)

    @property
    def _dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.bfloat16 else torch.float32

    def gather(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        positions = self.windows.shape[1]  # 2 * translate + 1, each way
        shifts = torch.randint(positions, (2, len(indices)), generator=generator)
        i, down, right = (t.to(self.device, non_blocking=True) for t in (indices, *shifts))
        # (n, h, w, c) in memory, seen as (n, c, h, w): channels_last
        return self.windows[i, down, right].permute(0, 3, 1, 2), self.labels[i]

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


class _Regression(_Task):
    classifies = False

    def __init__(self, config: TrainConfig, data: ToyData, device: torch.device) -> None:
        super().__init__(config, len(data.x), device)
        self.test = data.x.to(device), data.y.to(device)  # the toy data have no split

    def gather(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = self.test
        i = indices.to(self.device)
        return x[i], y[i]

    def score(self, output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return functional.mse_loss(output, y), torch.zeros((), dtype=torch.float64).to(y.device)


class _Text(_Task):
    """All windows of `context` tokens, each to be continued by one."""

    def __init__(self, config: TrainConfig, data: TextData, device: torch.device) -> None:
        width = config.context + 1
        for name, tokens in (("train", data.train_tokens), ("test", data.test_tokens)):
            if len(tokens) < width:
                raise ValueError(
                    f"context must be less than the {len(tokens)} {name} tokens of {data.label}; "
                    f"got {config.context}"
                )
        self.windows = data.train_tokens.to(device).unfold(0, width, 1)  # (n, context + 1)
        super().__init__(config, len(self.windows), device)
        test = data.test_tokens.to(device).unfold(0, width, config.context)
        self.test = test[:, :-1], test[:, 1:]

    def gather(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        windows = self.windows[indices.to(self.device)]
        return windows[:, :-1], windows[:, 1:]


def _task(config: TrainConfig, data: Data, device: torch.device) -> _Task:
    kind, needs = {"toy": (_Regression, ToyData), "lstm": (_Text, TextData)}.get(
        config.network.arch, (_Images, ImageData)
    )
    if not isinstance(data, needs):
        raise TypeError(
            f"a network of architecture {config.network.arch!r} is trained on {needs.__name__}; "
            f"got {type(data).__name__}"
        )
    return kind(config, data, device)  # type: ignore[arg-type]


def translation_windows(images: Tensor, most: int) -> Tensor:
    """View zero-padded images at all translations.

    Parameters
    ----------
    images : Tensor
        (n, c, h, w).
    most : int
        Largest translation each way.

    Returns
    -------
    Tensor
        (n, 2 * most + 1, 2 * most + 1, h, w, c), a view: ``windows[i, down, right]`` is image `i`
        whose content was moved up by ``down - most`` and left by ``right - most`` pixels, with
        zeros moved in.
    """
    h, w = images.shape[-2:]
    # (n, h + 2 most, w + 2 most, c)
    padded = functional.pad(images.permute(0, 2, 3, 1), (0, 0, most, most, most, most))
    # (n, 2 most + 1, 2 most + 1, c, h, w)
    return padded.unfold(1, h, 1).unfold(2, w, 1).permute(0, 1, 2, 4, 5, 3)


# ------------------------------------------------------------------------------------- measuring


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards each module's own mode: frozen ones stay as they are."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@torch.no_grad()
def _measure(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    score: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    autocast: Callable[[], AbstractContextManager[object]],
    batch_size: int = 500,
) -> tuple[float, float]:
    device = next(network.parameters()).device
    total = torch.zeros(2, dtype=torch.float64, device=device)
    with _evaluating(network):
        for xs, ys in zip(x.split(batch_size), y.split(batch_size), strict=True):
            with autocast():
                output = network(xs.to(device))
            total += torch.stack(score(output, ys.to(device))) * len(xs)
    loss, accuracy = (total / len(x)).tolist()
    return loss, accuracy


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether a device has arithmetic for bfloat16; where it does not, autocast costs time."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private; may go away
    return any(getattr(torch.cpu, name, bool)() for name in names)


# ------------------------------------------------------------------ what survives an interruption


def _state(
    network: nn.Module, optimizer: torch.optim.Optimizer, running: Tensor
) -> dict[str, Tensor]:
    """All that the next step depends on, besides the configuration."""
    state = {f"network/{k}": v for k, v in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        state |= {f"optimizer/{index}/{k}": v for k, v in values.items() if v is not None}
    return {**state, "running": running, "rng": torch.get_rng_state()}


def _load_state(
    state: Mapping[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer
) -> Tensor:
    """Put back what `_state` took, and return `running`."""
    network.load_state_dict(
        {k.removeprefix("network/"): v for k, v in state.items() if k.startswith("network/")}
    )
    parameters = optimizer.param_groups[0]["params"]
    values: dict[int, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/")
            if tensor.shape == parameters[int(index)].shape:
                # in the parameter's memory format, or the arithmetic may round otherwise
                tensor = torch.empty_like(parameters[int(index)]).copy_(tensor)
            values.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": values})
    torch.set_rng_state(state["rng"])
    return state["running"]


@dataclass(frozen=True)
class _Resumed:
    tensors: dict[str, Tensor]
    record: dict[str, Any]
    snapshots: dict[str, Tensor]


class _Journal:
    """The workspace of a run: what it needs to go on after a kill, and where it is.

    ``resume-<step>`` holds the last state, ``kept-<fraction>`` each network that was to be kept.
    Training does not depend on it: where it cannot be written, that is warned of once.
    """

    def __init__(
        self,
        workspace: Path,
        name: str,
        steps: int,
        every: float,
        progress: bool | None,
        report: Report | None = None,
    ) -> None:
        self.workspace, self.name, self.steps, self.every = workspace, name, steps, every
        self.report = report
        self.disable = None if progress is None else not progress  # None: no bar without a tty
        self.bar: tqdm[Any] | None = None
        self.writable = True
        self.last_save = self.last_note = time.monotonic()

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def due(self, step: int, seconds: float) -> bool:
        """Note that `step` steps are done; say whether it is time to save."""
        if self.bar is None:  # begun late: a resumed run starts where it is
            self.bar = tqdm(
                desc=self.name,
                total=self.steps,
                initial=step - 1,
                unit="step",
                disable=self.disable,
            )
        self.bar.update()
        now = time.monotonic()
        if now - self.last_note >= 1:
            self.last_note = now
            if self.report is not None:
                self.report(step, self.steps, seconds)
            note = {"name": self.name, "step": step, "steps": self.steps, "seconds": seconds}
            new = self.workspace / "progress.new"
            with self._warn_once():
                new.write_text(json.dumps(note))
                os.replace(new, self.workspace / "progress.json")
        return now - self.last_save >= self.every and step < self.steps

    def save(self, step: int, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Write the state before `step`; the one before it goes when this one is complete."""
        with self._warn_once():
            new = self.workspace / f"resume-{step:09d}"
            write_bundle(new, tensors, record, scratch=self.workspace)
            for old in self.workspace.glob("resume-*"):
                if old != new:
                    shutil.rmtree(old)
        self.last_save = time.monotonic()

    def keep(self, fraction: float, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copy a network that is part of the result, to memory and to the workspace."""
        copies = {
            # apart from the tensors that training goes on with
            _prefix(fraction) + k: v.detach().to("cpu", copy=True).contiguous()
            for k, v in state.items()
        }
        with self._warn_once():
            write_bundle(self._kept(fraction), copies, {}, scratch=self.workspace)
        return copies

    def _kept(self, fraction: float) -> Path:
        return self.workspace / f"kept-{fraction:g}"

    def resume(self, keep: Mapping[float, int]) -> _Resumed | None:
        """Read the last state that is complete, with the networks kept until then."""
        for folder in sorted(self.workspace.glob("resume-*"), reverse=True):
            try:
                tensors, record = read_bundle(folder)
                snapshots: dict[str, Tensor] = {}
                for fraction, at in keep.items():
                    if at < record["step"]:
                        snapshots |= read_bundle(self._kept(fraction))[0]
            except (DamagedError, OSError) as error:
                warnings.warn(
                    f"{self.name} cannot go on from {folder}: {error}",
                    StoreWarning,
                    stacklevel=2,
                )
                continue
            logger.info("%s goes on from step %d of %d", self.name, record["step"], self.steps)
            return _Resumed(tensors, record, snapshots)
        return None

    @contextmanager
    def _warn_once(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self.writable:
                self.writable = False
                warnings.warn(
                    f"{self.name} goes on, but could not write to {self.workspace} ({error}): "
                    "an interruption would lose what was trained since",
                    StoreWarning,
                    stacklevel=2,
                )


@contextmanager
def _settings(device: torch.device, seed: int) -> Iterator[None]:
    """Process-wide settings of torch while a run trains, as they were before afterwards."""
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
