"""What a measure finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True, eq=False)
class Similarity:
    """What a measure found.

    Attributes
    ----------
    measure : str
        Name of the measure.
    similarity : float
        In [0, 1]; 1 for layers that the measure cannot tell apart. (Debiased CKA, an unbiased
        estimate, scatters around 0 for independent layers and can fall just below it.)
    n : int
        Datapoints.
    correlations : array, shape (k,), or None
        Canonical correlations, descending, in [0, 1]; ``k = min(x_kept, y_kept)``. None for
        measures that have none.
    x_kept, y_kept : int or None
        Directions of each layer that entered the comparison.
    x_weights, y_weights : array, shape (p, k) and (q, k), or None
        ``(x - x.mean(0)) @ x_weights`` are the canonical variates of `x`: orthonormal columns, in
        the order of `correlations`. Computed when asked for.
    chance : float or None
        Expected similarity of *independent* layers of these sizes: what the number would be with
        nothing to find. None where no closed form is known (use `svcca_lib.permutation_test`).
    weights, independent : callable or None
        What computes the weights and `chance` when they are asked for.

    Notes
    -----
    A similarity means something only by its distance from `chance`. With n datapoints and k kept
    directions a side, independent layers have ``sum(rho**2) = k * k / (n - 1)``.
    """

    measure: str
    similarity: float
    n: int
    correlations: Any = None
    x_kept: int | None = None
    y_kept: int | None = None
    weights: Callable[[], tuple[Any, Any]] | None = field(default=None, repr=False)
    independent: Callable[[], float] | None = field(default=None, repr=False)

    @cached_property
    def _both_weights(self) -> tuple[Any, Any]:
        return (None, None) if self.weights is None else self.weights()

    @property
    def x_weights(self) -> Any:
        """Weights of the canonical variates of `x`, shape (p, k)."""
        return self._both_weights[0]

    @property
    def y_weights(self) -> Any:
        """Weights of the canonical variates of `y`, shape (q, k)."""
        return self._both_weights[1]

    @cached_property
    def chance(self) -> float | None:
        """Expected similarity of independent layers of these sizes."""
        return None if self.independent is None else self.independent()
