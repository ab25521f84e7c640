"""The toy targets: regression from one number to four."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from svcca_lib.paper.data.fingerprint import fingerprint

TOY_TARGETS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: 3 * torch.sin(1.5 * x),
    lambda x: x**2 / 4 - 2 + torch.sin(4 * x) / 2,
    lambda x: 3 * torch.cos(3 * x) * torch.exp(-(x**2) / 6),
    lambda x: 3 * torch.tanh(x) - torch.sin(2 * x),
)


@dataclass(frozen=True, eq=False)
class ToyData:
    """Regression from one number to four: x (n, 1) in [-4, 4] and y (n, 4), float32."""

    kind: ClassVar[Literal["toy"]] = "toy"
    name: str
    label: str
    x: Tensor
    y: Tensor
    fingerprint: str

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of what a network takes."""
        return (self.x.shape[1],)

    @property
    def outputs(self) -> int:
        """How many numbers a network gives."""
        return self.y.shape[1]


def toy(n: int) -> ToyData:
    """Four smooth targets of one variable, sampled at `n` places, evenly on [-4, 4].

    The paper takes 200,000 and does not state its targets; these four are ours: a sine, a parabola
    with a ripple, a wave packet and a step with a ripple, all within [-4, 4] as in its Figure 3.
    """
    if n < 2:
        raise ValueError(f"n must be at least 2; got {n}")
    x = torch.linspace(-4, 4, n, dtype=torch.float64)
    y = torch.stack([target(x) for target in TOY_TARGETS], dim=1).float()
    x = x[:, None].float()
    # rounding makes the fingerprint the same where the last bit of a sine is not
    rounded = torch.cat([x, y], dim=1).double().mul(1e4).round().long()
    return ToyData("toy", f"toy regression, {n} points", x, y, fingerprint([rounded], ()))
