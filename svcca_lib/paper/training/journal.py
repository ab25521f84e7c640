"""What of a training survives an interruption, and where it is."""

from __future__ import annotations

import logging
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from svcca_lib.paper.store.bundle import DamagedError, read_bundle, write_bundle
from svcca_lib.paper.store.store import StoreWarning

logger = logging.getLogger(__name__)
Report = Callable[[int, int, float], None]
CHECKPOINT_SECONDS = 30.0


def state_of(
    network: nn.Module, optimizer: torch.optim.Optimizer, running: Tensor
) -> dict[str, Tensor]:
    """All that the next step depends on, besides the configuration."""
    state = {f"network/{k}": v for k, v in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        state |= {f"optimizer/{index}/{k}": v for k, v in values.items() if v is not None}
    return {**state, "running": running, "rng": torch.get_rng_state()}


def restore(
    state: Mapping[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer
) -> Tensor:
    """Put back what `state_of` took, and return `running`."""
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


class Journal:
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

    def close(self) -> None:
        """Take the bar away."""
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
            if self.report:
                self.report(step, self.steps, seconds)
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
            prefix(fraction) + k: v.detach().to("cpu", copy=True).contiguous()
            for k, v in state.items()
        }
        with self._warn_once():
            write_bundle(self._kept(fraction), copies, {}, scratch=self.workspace)
        return copies

    def _kept(self, fraction: float) -> Path:
        return self.workspace / f"kept-{fraction:g}"

    def resume(
        self, keep: Mapping[float, int]
    ) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Tensor]] | None:
        """Read the last complete state and its record, with the networks kept until then."""
        for folder in sorted(self.workspace.glob("resume-*"), reverse=True):
            try:
                tensors, record = read_bundle(folder)
                snapshots: dict[str, Tensor] = {}
                for fraction, at in keep.items():
                    if at < record["step"]:
                        snapshots |= read_bundle(self._kept(fraction))[0]
            except (DamagedError, OSError) as error:
                warnings.warn(
                    f"{self.name} cannot go on from {folder}: {error}", StoreWarning, stacklevel=2
                )
                continue
            logger.info("%s goes on from step %d of %d", self.name, record["step"], self.steps)
            return tensors, record, snapshots
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


def prefix(fraction: float) -> str:
    """What the names of a kept network's tensors begin with."""
    return f"{fraction:g}/"
