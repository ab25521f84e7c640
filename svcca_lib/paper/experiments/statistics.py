"""How far a number is known: Student's intervals, and deciding many claims at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95  # coverage of an interval where nothing else is said


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval, from `n` values."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}], n = {self.n}"


def student(
    values: Sequence[float] | np.ndarray, level: float = LEVEL, resolution: float = 0.0
) -> Interval:
    """Estimate a mean by Student's t, from one value a seed, a draw or a pair; at least two.

    Values that come in steps of `resolution`, such as one test image of an accuracy, and happen to
    fall on one step are not known exactly: each carries the variance of its rounding, a twelfth of
    the squared step. ValueError for fewer than 2 values.

    Notes
    -----
    With few values the interval is wide because it has to be: at n = 3 Student's factor is 4.3
    (for 95 %), not 1.96, and the values are assumed normal, which three of them cannot show.

    Examples
    --------
    >>> print(student([0.0, 1.0, 2.0]))
    +1.000 [-1.484, +3.484], n = 3
    >>> print(student([1.0, 1.0, 1.0], resolution=1.0))
    +1.000 [+0.283, +1.717], n = 3
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2:
        raise ValueError(f"an interval needs at least 2 values, one a seed; got {array.shape}")
    mean, half = float(array.mean()), float(half_widths(array, level, resolution))
    return Interval(mean, mean - half, mean + half, len(array))


def half_widths(
    values: np.ndarray, level: float = LEVEL, resolution: float = 0.0
) -> np.ndarray | np.float64:
    """Return half of Student's interval of each mean over the first dimension; see `student`.

    Of a single value nothing is known: NaN.
    """
    n = len(values)
    if n < 2:
        return np.full(np.shape(values)[1:], np.nan)
    deviation = np.sqrt(values.var(0, ddof=1) + resolution**2 / 12)
    factor = float(stats.t.ppf((1 + level) / 2, n - 1))
    half: np.ndarray | np.float64 = factor * deviation / math.sqrt(n)
    return half


def paired_interval(
    first: np.ndarray, second: np.ndarray, level: float = LEVEL, resolution: float = 0.0
) -> Interval:
    """Estimate the mean of ``second - first`` over pairs; see `student`. Shapes must be the same.

    Examples
    --------
    >>> print(paired_interval(np.zeros(3), np.array([0.0, 1.0, 2.0])))
    +1.000 [-1.484, +3.484], n = 3
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(
            f"expected two equally long lists of values, one a pair; got shapes {np.shape(first)} "
            f"and {np.shape(second)}"
        )
    return student(np.asarray(second) - np.asarray(first), level, resolution)


def benjamini_hochberg(p: Sequence[float], rate: float = 1 - LEVEL) -> list[bool]:
    """Say which of many decisions stand if a share of at most `rate` of those may be wrong.

    `p` is the level at which each decision would no longer be made, `rate` the false discovery rate
    (Benjamini and Hochberg 1995).

    Examples
    --------
    >>> benjamini_hochberg([0.001, 0.04, 0.03, 0.5])
    [True, False, False, False]
    """
    order = np.argsort(p, kind="stable")
    passed = np.asarray(p)[order] <= rate * np.arange(1, len(order) + 1) / max(len(order), 1)
    count = int(passed.nonzero()[0].max()) + 1 if passed.any() else 0
    stands = np.zeros(len(order), dtype=bool)
    stands[order[:count]] = True
    return stands.tolist()
