"""What a measure finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from svcca_lib._ambient import undisturbed
from svcca_lib.outputs import HandedOut, Value, copied


@dataclass(frozen=True, eq=False, repr=False)
class Similarity(Value):
    """What a measure found: a value, which pickles, and hands out copies of its arrays.

    Attributes
    ----------
    measure : str
        Name of the measure.
    similarity : float
        In [0, 1]; 1 for layers that the measure cannot tell apart. (Correlations of all pairs, as
        of `rsa`, go down to -1. Debiased CKA, an unbiased estimate, scatters around 0 for
        independent layers and can fall just below it.)
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
        What computes the weights and `chance` when they are asked for: small objects that pickle.

    Notes
    -----
    A similarity means something only by its distance from `chance`. With n datapoints and k kept
    directions a side, independent layers have ``sum(rho**2) = k * k / (n - 1)``.
    """

    measure: str
    similarity: float
    n: int
    correlations: Any = HandedOut()
    x_kept: int | None = None
    y_kept: int | None = None
    weights: Callable[[], tuple[Any, Any]] | None = field(default=None, repr=False)
    independent: Callable[[], float] | None = field(default=None, repr=False)

    @cached_property
    def _both_weights(self) -> tuple[Any, Any]:
        with undisturbed():
            return (None, None) if self.weights is None else self.weights()

    @property
    def x_weights(self) -> Any:
        """Weights of the canonical variates of `x`, shape (p, k)."""
        return copied(self._both_weights[0])

    @property
    def y_weights(self) -> Any:
        """Weights of the canonical variates of `y`, shape (q, k)."""
        return copied(self._both_weights[1])

    @cached_property
    def chance(self) -> float | None:
        """Expected similarity of independent layers of these sizes."""
        with undisturbed():
            return None if self.independent is None else self.independent()

    def __repr__(self) -> str:
        parts = [f"{self.measure} {self.similarity:.4f}"]
        if not getattr(self.independent, "costly", False) and self.chance is not None:
            parts.append(f"chance {self.chance:.4f}")
        if self.x_kept is not None:
            parts.append(f"kept {self.x_kept} and {self.y_kept}")
        return f"{type(self).__name__}({', '.join(parts)}, n={self.n})"


@dataclass(frozen=True)
class Expected:
    """A chance level that is known already."""

    value: float

    def __call__(self) -> float:
        return self.value
