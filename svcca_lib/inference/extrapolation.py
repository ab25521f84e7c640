r"""What endless data would give: similarities of halves, extrapolated.

A similarity that contains a maximum is too high, by a bias that falls with the number of
datapoints n. How fast depends on what is not known: a canonical correlation well above zero is too
high by about a / n, one that is zero in truth by about :math:`b / \sqrt n`. The bias of their mean
lies between these two laws. Half of the data shows how fast it grows, and each law says where it
ends: with :math:`D = \bar\theta_{n/2} - \hat\theta_n`,

.. math:: \hat\theta_n - (1 + \sqrt 2)\, D \;\lesssim\; \theta \;\lesssim\; \hat\theta_n - D.

A measure that is a smooth function of the moments has only the first law, and one end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Extrapolated:
    """Numbers of all datapoints and of halves, and what endless data would give.

    Attributes
    ----------
    whole : array, shape (...)
    halves : array, shape (pairs, 2, ...)
        Each pair is of two halves without a common datapoint.
    ratio : float
        Datapoints of the whole over those of a half.
    smooth : bool
        Whether the bias is known to fall as 1/n.
    """

    whole: Any
    halves: np.ndarray
    ratio: float = 2.0
    smooth: bool = False

    @property
    def values(self) -> np.ndarray:
        r"""What each law says, shape (laws, ...): first 1/n, then :math:`1/\sqrt n`."""
        bias = self.halves.mean((0, 1)) - self.whole
        return np.stack([self.whole - step * bias for step in self._steps])

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of `values`.

        Two halves share nothing, so their difference has the variance of a half twice, and that of
        the whole four times. To it comes the error of the bias: how much the mean of two halves
        wanders from pair to pair. The two are added as they are; they are not independent.
        """
        first, second = self.halves[:, 0], self.halves[:, 1]
        spread = np.sqrt(((first - second) ** 2).mean(0)) / 2
        wander = self.halves.mean(1).std(0, ddof=1) * math.sqrt(1 + 1 / len(self.halves))
        return np.stack([spread + step * wander for step in self._steps])

    def bounds(self, factor: float) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest value within `factor` standard errors of either law."""
        reach = factor * self.errors
        return (self.values - reach).min(0), (self.values + reach).max(0)

    @property
    def _steps(self) -> list[float]:
        laws = [self.ratio - 1] if self.smooth else [self.ratio - 1, math.sqrt(self.ratio) - 1]
        return [1 / law for law in laws]
