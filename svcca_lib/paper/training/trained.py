"""A trained network with its checkpoints: from the store, or trained now."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from svcca_lib.paper.data.sources import Data
from svcca_lib.paper.store import identity
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.journal import CHECKPOINT_SECONDS, Journal, Report, prefix
from svcca_lib.paper.training.loop import fit, freeze_steps, settings
from svcca_lib.paper.training.networks import Network, build
from svcca_lib.paper.training.tasks import make_task


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with its checkpoints, and how its training went.

    `history` has one entry per evaluation: ``step``, ``train_loss`` (mean over the batches since
    the one before), ``test_loss``, ``lr``, ``seconds`` (spent training until then, without the
    evaluations), ``examples_per_second``; and, except for regression, ``train_accuracy`` and
    ``test_accuracy``. These are in the precision of the training; what the book reports of a
    network is measured anew, in float32.
    """

    config: TrainConfig
    history: dict[str, list[float]]
    freezes: list[tuple[int, str]]  # (step, group)
    provenance: dict[str, Any] = field(repr=False)
    tensors: dict[str, Tensor] = field(repr=False)

    @property
    def fractions(self) -> tuple[float, ...]:
        """Fractions of training at which the network can be had."""
        return self.config.checkpoints

    def network(self, fraction: float = 1.0, device: str | torch.device = "cpu") -> Network:
        """Return the network at a fraction of training: eval mode, float32, no gradients."""
        if fraction not in self.fractions:
            raise KeyError(f"expected one of the kept fractions {self.fractions}; got {fraction}")
        network = build(self.config.network, self.config.seed)
        start = prefix(fraction)
        network.load_state_dict(
            {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}
        )
        return network.to(device).eval().requires_grad_(False)


def train(
    config: TrainConfig,
    data: Data,
    store: Store,
    *,
    device: str | torch.device | None = None,
    progress: bool | None = None,
    report: Report | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> TrainedNetwork:
    """Train a network, or load the one that this configuration made before.

    Parameters
    ----------
    config, data
        The data must be those whose fingerprint is `config.data`.
    store
        Where the network is kept, and where training goes on from if it was interrupted.
    device
        By default a CUDA device where there is one, else the CPU.
    progress
        A bar on stderr. By default only where stderr is a terminal, so never in a notebook.
    report
        ``report(step, steps, seconds)`` is called about once a second while it trains.
    checkpoint_seconds
        At most this much work is lost by a kill.

    Raises
    ------
    TypeError, ValueError
        If the data or the freeze schedule do not fit the network.
    FloatingPointError
        If the loss is no longer finite.

    Notes
    -----
    On one machine, with one number of threads, equal configurations give bit-identical networks on
    the CPU, interrupted or not. On another they agree as far as rounding lets them.

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
    freezes = freeze_steps(config)

    def make(workspace: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        journal = Journal(workspace, name, config.steps, checkpoint_seconds, progress, report)
        with closing(journal), settings(where, config.seed):
            return fit(config, make_task(config, data, where), where, journal)

    artefact = store.fetch("network", config, make, version=identity.of_training(), name=name)
    history = artefact.meta["history"]
    return TrainedNetwork(config, history, freezes, artefact.provenance, artefact.tensors)
