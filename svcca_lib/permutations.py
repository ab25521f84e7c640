"""Which rows trade places where datapoints are shuffled: groups, each with one of its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Groups: TypeAlias = np.ndarray | Tensor | Sequence[Any]


def members_of(groups: Groups | None, n: int) -> list[np.ndarray]:
    """Rows of each group, in the order they came.

    Parameters
    ----------
    groups : array_like of n labels, or None
        Which rows belong together; None for each alone.
    n : int

    Raises
    ------
    ValueError
        If there is not one label a row.
    """
    if groups is None:
        return list(np.arange(n)[:, None])
    labels = groups.cpu().numpy() if isinstance(groups, Tensor) else np.asarray(groups)
    if labels.shape != (n,):
        raise ValueError(f"groups must hold one label for each of {n} rows; got {labels.shape}")
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1])


def orders_of(groups: Sequence[np.ndarray], count: int, seed: int) -> Iterator[Tensor]:
    """Random orders of rows, in which groups trade places with others of their size.

    Parameters
    ----------
    groups : sequence of array of int
        Rows of each group, as `members_of` gives them.
    count : int
        How many orders.
    seed : int
        The same seed gives the same orders.

    Yields
    ------
    Tensor of int, shape (rows,)

    Raises
    ------
    ValueError
        If no two groups can trade places.
    """
    by_size: dict[int, list[np.ndarray]] = {}
    for rows in groups:
        by_size.setdefault(len(rows), []).append(rows)
    blocks = [np.stack(same) for same in by_size.values() if len(same) > 1]
    if not blocks:
        raise ValueError(
            f"groups can only trade places with others of their size; "
            f"no two of {len(groups)} have the same"
        )
    rng = np.random.default_rng(seed)
    return (_drawn(blocks, sum(map(len, groups)), rng) for _ in range(count))


def _drawn(blocks: Sequence[np.ndarray], n: int, rng: np.random.Generator) -> Tensor:
    order = np.arange(n)
    for block in blocks:
        order[block] = rng.permutation(block)
    return torch.from_numpy(order)
