"""Matrices at every frequency: their products, decompositions and selections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from svcca_lib._linalg import add_complex


def products(x: Tensor, y: Tensor) -> Tensor:
    """``x^H y`` at every frequency, (F, n, p) and (F, n, q) -> (F, p, q)."""
    if x.is_cuda:
        return x.mH @ y
    out = torch.zeros(len(x), x.shape[2], y.shape[2], dtype=x.dtype)
    add_complex(out, x, y)
    return out


def by_field(decompose: Callable[[Tensor], Any], matrices: Tensor, real: int) -> Any:
    """Decompose a batch of matrices, the first `real` of them in real arithmetic.

    At its own conjugate a frequency of real images is real; in complex arithmetic, equal singular
    values could mix its directions into complex ones.
    """
    parts = [decompose(part) for part in (matrices[:real].real, matrices[real:]) if len(part)]
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    # Singular values (F, k) are real in either field, vectors (F, p, k) complex from here on.
    return tuple(
        torch.cat([t if t.ndim < 3 else t.to(matrices.dtype) for t in column])
        for column in zip(*parts, strict=True)
    )


def select(x: Tensor, at: list[int]) -> Tensor:
    """Entries of the first dimension; without a copy where these are all."""
    return x if at == list(range(len(x))) else x[at]
