"""Noise that is optimised until it scores high, and what it then holds of a layer.

Cloos et al. start from Gaussian noise of the shape of a layer and follow the gradient of a
similarity. On the way they ask which principal components of the layer the noise holds by now, and
what can be decoded from it. A measure under which noise scores high without either says little by
its score.

References
----------
Cloos, Li, Siegel, Brincat, Miller, Yang, Cueva 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from svcca_lib import Subspace
from svcca_lib.paper.experiments.linear_probe import probe

KEEP = 0.99  # share of the variance whose components are counted
HELD = 0.5  # R squared from which a component counts as held
RATE = 0.02  # of Adam, in standard deviations of the noise
MOST = 2000  # steps

Score = Callable[[Tensor], Tensor]


def cka_with(x: Tensor) -> Score:
    """Return the linear CKA with a centred layer (n, p), to be differentiated."""
    norm = (x.T @ x).norm()

    def score(y: Tensor) -> Tensor:
        found: Tensor = (x.T @ y).norm() ** 2 / (norm * (y.T @ y).norm())
        return found

    return score


def procrustes_with(x: Tensor) -> Score:
    """Return the Procrustes similarity with a centred layer (n, p), to be differentiated."""
    norm = x.norm()

    def score(y: Tensor) -> Tensor:
        found: Tensor = torch.linalg.matrix_norm(x.T @ y, ord="nuc") / (norm * y.norm())
        return found

    return score


def svcca_with(x: Tensor) -> Score:
    """Return the mean correlation with the directions that hold 99 % of a centred layer (n, p).

    The noise itself is not cut: where a cut falls has no gradient.
    """
    basis = Subspace.fit(x, keep=KEEP).basis

    def score(y: Tensor) -> Tensor:
        lower = torch.linalg.cholesky(y.T @ y)
        white = torch.linalg.solve_triangular(lower, y.T @ basis, upper=False)
        found: Tensor = torch.linalg.matrix_norm(white, ord="nuc") / basis.shape[1]
        return found

    return score


MEASURES: Mapping[str, Callable[[Tensor], Score]] = MappingProxyType(
    {"SVCCA": svcca_with, "Procrustes": procrustes_with, "CKA": cka_with}
)


@dataclass(frozen=True, eq=False)
class Optimised:
    """What noise holds of a layer when its score first reaches some levels."""

    held: np.ndarray  # (levels,), share of the layer's components
    accuracy: np.ndarray  # (levels,), of a linear probe for the classes
    noise: Tensor  # (n, p), at the last level


def optimise(
    layer: Tensor, labels: np.ndarray, measure: str, levels: Sequence[float], seed: int
) -> Optimised:
    """Optimise noise of the shape of a layer, (n, p) float64, by a measure of `MEASURES`.

    Levels ascend. RuntimeError if one of them is not reached in `MOST` steps.
    """
    x = layer - layer.mean(dim=0)
    score = MEASURES[measure](x)
    components = Subspace.fit(x, keep=KEEP).basis
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).requires_grad_()
    adam = torch.optim.Adam([noise], lr=RATE)
    held: list[float] = []
    accuracy: list[float] = []
    for _ in range(MOST):
        now = score(noise - noise.mean(dim=0))
        while len(held) < len(levels) and now.item() >= levels[len(held)]:
            held.append(share_held(components, noise.detach()))
            accuracy.append(decoded(noise.detach().numpy(), labels))
        if len(held) == len(levels):
            return Optimised(np.array(held), np.array(accuracy), noise.detach())
        adam.zero_grad()
        (-now).backward()  # type: ignore[no-untyped-call]
        adam.step()
    raise RuntimeError(
        f"expected noise to reach {levels[len(held)]} by {measure} in {MOST} steps; it came to "
        f"{now.item():.3f}: ask for a lower level"
    )


def share_held(components: Tensor, y: Tensor) -> float:
    """Share of directions (n, k), orthonormal, that are half explained by neurons (n, p)."""
    q = Subspace.fit(y, keep=1).basis
    explained = ((q.T @ components) ** 2).sum(dim=0)  # R squared of each
    return float((explained >= HELD).double().mean())


def decoded(y: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy of a linear probe, fitted on every other row of (n, p), on the rest."""
    return probe(y[::2], labels[::2], y[1::2], labels[1::2])
