"""Directions of two networks side by side, as Figure 1 of the paper shows them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Pairs:
    """Responses of two networks, column i of the one beside column i of the other."""

    net_1: np.ndarray  # (n, r), each column with mean 0 and variance 1
    net_2: np.ndarray  # the same
    correlations: np.ndarray  # (r,), Pearson's, of each pair

    def at(self, index: np.ndarray) -> Pairs:
        """Return some datapoints, for drawing; the correlations stay those of all."""
        return Pairs(self.net_1[index], self.net_2[index], self.correlations)


def side_by_side(x: np.ndarray, y: np.ndarray, *, signed: bool = True) -> Pairs:
    """Put columns of equal rank beside each other, (n, r) both, most important first.

    The sign of a neuron means something, that of a singular or canonical direction does not:
    without `signed`, the largest value of each column of `x` is made positive, and columns of `y`
    are turned towards those of `x`. ValueError if the shapes differ or a column does not vary.
    """
    x, y = (np.asarray(columns, dtype=np.float64) for columns in (x, y))
    if x.shape != y.shape or x.ndim != 2:
        raise ValueError(f"expected two arrays of one shape (n, r); got {x.shape} and {y.shape}")
    x, y = _standardised(x), _standardised(y)
    if not signed:
        x = x * np.sign(np.take_along_axis(x, np.abs(x).argmax(axis=0)[None], axis=0))
        y = y * np.where((x * y).sum(axis=0) < 0, -1.0, 1.0)
    return Pairs(x, y, (x * y).mean(axis=0))


def _standardised(columns: np.ndarray) -> np.ndarray:
    deviation = columns.std(axis=0)
    if not deviation.all():
        dead = int(np.argmin(deviation != 0))
        raise ValueError(f"expected columns that vary; column {dead} does not: choose another")
    standardised: np.ndarray = (columns - columns.mean(axis=0)) / deviation
    return standardised
