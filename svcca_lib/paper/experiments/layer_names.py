"""Layers by what the paper calls them: which counts once, and where skip connections meet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def is_batch_norm(label: str) -> bool:
    """Say whether a layer is a batch norm of the layer below it and nothing more."""
    # "err" is the ResNet's first batch norm; "bn_cv" has a ReLU and a convolution behind its own.
    return label == "err" or (label.startswith("bn") and "_" not in label)


def batch_norm_pairs(labels: Sequence[str]) -> list[tuple[int, int]]:
    """Positions of each batch norm and of the layer below it."""
    return [(i, i - 1) for i, label in enumerate(labels) if is_batch_norm(label)]


def blocks(labels: Sequence[str]) -> list[tuple[int, ...]]:
    """Group the positions of layers so that each layer counts once.

    A batch norm scales and shifts every channel of the layer below, which no CCA sees: uncut, the
    two are one layer, and at a cut nearly so. Where layers are the units of a rank correlation, the
    two are one unit.

    Examples
    --------
    >>> blocks(["in", "c1", "c2", "bn1", "p1"])
    [(0,), (1,), (2, 3), (4,)]
    """
    found: list[tuple[int, ...]] = []
    for i, label in enumerate(labels):
        if found and is_batch_norm(label):
            found[-1] += (i,)
        else:
            found.append((i,))
    return found


def collapse(
    matrix: np.ndarray, rows: Sequence[Sequence[int]], columns: Sequence[Sequence[int]]
) -> np.ndarray:
    """Average the cells of each of the `blocks` of rows and columns: (len(rows), len(columns))."""
    return np.array([[matrix[np.ix_(a, b)].mean() for b in columns] for a in rows])


def named_layers(labels: Sequence[str]) -> dict[int, str]:
    """Choose the layers to name beside a matrix, by position: all, or those where a ResNet changes.

    The residual units are counted: "unit 6" is its sum.
    """
    sums = [i for i, label in enumerate(labels) if label == "res"]
    if not sums:
        return dict(enumerate(labels))
    per_stage = len(sums) // 3
    chosen = [sums[0], *(sums[k * per_stage - 1] for k in (1, 2, 3))]
    units = {i: f"unit {sums.index(i) + 1}" for i in chosen}
    return {0: labels[0], **units, len(labels) - 1: labels[-1]}


def stripe_contrast(labels: Sequence[str], matrix: np.ndarray) -> float:
    """How much closer residual sums are to each other than to the branch between them.

    For consecutive sums of a ResNet: similarity of the upper to the lower one, less its similarity
    to the first convolution of the branch, which is nearer to it; averaged. The skip connection
    shows as a stripe where this is positive.
    """
    sums = [i for i, label in enumerate(labels) if label == "res"]
    return float(np.mean([matrix[b, a] - matrix[b, a + 1] for a, b in pairwise(sums)]))
