"""Matrices at every frequency: their products, decompositions and selections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from svcca_lib._linalg import inner


def products(x: Tensor, y: Tensor) -> Tensor:
    """``x^H y`` at every frequency, (F, n, p) and (F, n, q) -> (F, p, q)."""
    if x.is_cuda:
        return x.mH @ y
    # On a CPU as real layers of twice the width, (re, im, re, im, ...): the batched complex product
    # would copy x to conjugate it, and knows of no symmetry.
    p, q = x.shape[2], y.shape[2]
    products = torch.empty(len(x), p, q, dtype=x.dtype)
    for product, a, b in zip(products, x, y, strict=True):
        parts = inner(*(torch.view_as_real(t).flatten(1) for t in (a, b)))
        parts = parts.view(p, 2, q, 2)
        product.real = parts[:, 0, :, 0] + parts[:, 1, :, 1]
        product.imag = parts[:, 0, :, 1] - parts[:, 1, :, 0]
    return products


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
