"""Where a curve crosses a level: when a layer has settled, how many directions are enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def holds_from(condition: Sequence[bool] | np.ndarray) -> int | None:
    """Return the first position from which on a condition holds to the end; None: it does not.

    Examples
    --------
    >>> holds_from([True, False, True, True]), holds_from([True, False])
    (2, None)
    """
    failing = np.flatnonzero(~np.asarray(condition))
    first = int(failing[-1]) + 1 if len(failing) else 0
    return first if first < len(condition) else None


def settling_times(
    fractions: Sequence[float], own: np.ndarray, threshold: float = 0.8
) -> np.ndarray:
    """Fraction of training at which each layer has come, for good, close to its final state.

    From the similarity of each layer to its own final state, (t, layers), at ascending fractions:
    the last crossing of the threshold from below, between two times by straight line; 0 for a layer
    that is never below it. ValueError if one ends below it.
    """
    own = np.asarray(own)
    if (own[-1] < threshold).any():
        raise ValueError(
            f"expected layers that end at {threshold} or above; got {own[-1].min():.3f} at the end"
        )
    times = np.zeros(own.shape[1])
    for layer, curve in enumerate(own.T):
        below = np.flatnonzero(curve < threshold)
        if len(below):
            a = below[-1]
            step = (threshold - curve[a]) / (curve[a + 1] - curve[a])
            times[layer] = fractions[a] + step * (fractions[a + 1] - fractions[a])
    return times


@dataclass(frozen=True)
class Needed:
    """How many directions or neurons an accuracy takes."""

    count: float  # interpolated between two counts
    reached: bool = True  # False where the largest count, then a lower bound, was not enough

    def __str__(self) -> str:
        return f"{self.count:.1f}" if self.reached else f"not reached by {self.count:g}"


def enough(counts: np.ndarray, accuracies: np.ndarray, wanted: float) -> Needed:
    """Return where an accuracy first reaches `wanted`, interpolated between two counts.

    Examples
    --------
    >>> print(enough([10, 20], [0.7, 0.9], 0.8), enough([10, 20], [0.7, 0.9], 0.95), sep="; ")
    15.0; not reached by 20
    """
    reached = np.flatnonzero(np.asarray(accuracies) >= wanted)
    if not len(reached):
        return Needed(float(counts[-1]), reached=False)
    i = reached[0]
    if i == 0:
        return Needed(float(counts[0]))
    return Needed(float(np.interp(wanted, accuracies[i - 1 : i + 1], counts[i - 1 : i + 1])))


def times_as_many(neurons: Needed, directions: Needed, width: int) -> float:
    """How many times as many neurons as directions a layer needs, or a lower bound of it.

    Neurons that were never enough count as many as were tried; directions that never were count as
    the whole width of the layer, which is enough by definition.

    Examples
    --------
    >>> times_as_many(Needed(30), Needed(10), 50), times_as_many(Needed(30), Needed(10, False), 50)
    (3.0, 0.6)
    """
    return neurons.count / (directions.count if directions.reached else width)
