"""Representational similarity analysis: whether both layers call the same pairs alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from svcca_lib.errors import some_variance
from svcca_lib.inputs import rows_of
from svcca_lib.layer import centre
from svcca_lib.measures.measure import Measure, function
from svcca_lib.measures.similarity import Expected, Similarity

Distance: TypeAlias = Literal["correlation", "euclidean"]
Correlation: TypeAlias = Literal["spearman", "pearson"]


@dataclass(frozen=True, eq=False)
class Dissimilarities:
    """Of a layer its dissimilarities of all pairs of datapoints, or their ranks."""

    matrix: Tensor  # (n, n), of mean 0 and norm 1 off the diagonal, and 0 on it

    @property
    def n(self) -> int:
        """Datapoints."""
        return len(self.matrix)

    @property
    def sample(self) -> Tensor:
        """A tensor of the layer's precision and device."""
        return self.matrix

    def primed(self) -> Dissimilarities:
        """The layer itself: comparisons need no more."""
        return self

    def reordered(self, order: Tensor) -> Dissimilarities:
        """The same layer with its datapoints in another order."""
        return Dissimilarities(self.matrix[order][:, order])


@dataclass(frozen=True, kw_only=True)
class RSA(Measure[Similarity]):
    """Representational similarity analysis (Kriegeskorte et al. 2008).

    The correlation, over all pairs of datapoints, of how dissimilar either layer finds them.

    Parameters
    ----------
    distance : {"correlation", "euclidean"}
        Dissimilarity of two datapoints: 1 minus the correlation of their responses over the
        neurons, or the distance of the responses.
    by : {"spearman", "pearson"}
        Correlation of the ranks of the dissimilarities, or of the dissimilarities themselves.
        Dissimilarities no further apart than rounding have one rank.

    Notes
    -----
    From -1 to 1; 0 in expectation for independent layers, exactly so over random pairings of the
    datapoints. With ``distance="correlation"`` responses enter as they come, not centred over the
    datapoints: neurons of a large mean make all datapoints alike, and a translation changes the
    number. A datapoint to which all neurons respond the same correlates with no other (0).

    Holds an n x n matrix of each layer.

    References
    ----------
    Kriegeskorte, Mur, Bandettini, "Representational similarity analysis: connecting the branches of
    systems neuroscience", Frontiers in Systems Neuroscience 2 (2008).

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import rsa
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 8))
    >>> round(rsa(x, 5 * x[:, ::-1]).similarity, 6)
    1.0
    >>> abs(rsa(x, rng.normal(size=(60, 8))).similarity) < 0.1
    True
    """

    distance: Distance = "correlation"
    by: Correlation = "spearman"

    name: ClassVar[str] = "rsa"
    symmetric: ClassVar[bool] = True
    invariant_to: ClassVar[frozenset[str]] = frozenset({"permutation", "isotropic"})
    lowest: ClassVar[float] = -1.0
    layers: ClassVar[str] = """\
x, y : array_like, shape (n, p) and (n, q)
    Two layers on the same datapoints, or a `Reservoir` of both as the only argument."""

    @property
    def of_rows(self) -> bool:
        return True

    def prepare(self, x: Any, name: str) -> Dissimilarities:
        if isinstance(x, Dissimilarities):
            return x
        self.needs_rows(x, name)
        rows = rows_of(x, name).values.detach()
        centred, _ = centre(rows)
        some_variance((centred**2).sum(), name, tuple(rows.shape))
        n, p = rows.shape
        if self.distance == "euclidean":
            centred = centred / centred.abs().max()
            values = torch.cdist(centred, centred, compute_mode="donot_use_mm_for_euclid_dist")
        else:
            patterns, _ = centre((rows / rows.abs().max()).T)  # over the neurons of each datapoint
            norms = patterns.norm(dim=0)
            patterns = patterns / norms.clamp(min=torch.finfo(norms.dtype).tiny)
            values = 1 - patterns.T @ patterns
        rounding = 8 * p**0.5 * torch.finfo(values.dtype).eps * float(values.max())
        first, second = torch.triu_indices(n, n, 1, device=values.device)
        pairs = values[first, second]
        pairs = _ranks(pairs, rounding) if self.by == "spearman" else pairs
        pairs = pairs - pairs.mean()
        if not len(pairs) or float(pairs.abs().max()) <= rounding:
            raise ValueError(
                f"{name} gives no dissimilarities to correlate: all {len(pairs)} pairs of its "
                f"{n} datapoints are equally far apart"
            )
        matrix = values.new_zeros((n, n))
        matrix[first, second] = pairs / (2**0.5 * pairs.norm())
        return Dissimilarities(matrix + matrix.T)

    def compare(
        self, a: Dissimilarities, b: Dissimilarities, cross: Tensor | None = None
    ) -> Similarity:
        value = float((a.matrix * b.matrix).sum())
        value = max(-1.0, min(1.0, value))
        return Similarity(self.name, value, a.n, independent=Expected(0.0))


def _ranks(values: Tensor, rounding: float) -> Tensor:
    """Ranks from 0, their mean where values are no further apart than rounding."""
    ordered, order = values.sort()
    group = torch.nn.functional.pad((ordered.diff() > rounding).cumsum(0), (1, 0))
    sizes = torch.bincount(group)
    means = sizes.cumsum(0) - (sizes + 1) / 2
    ranks = torch.empty_like(values)
    ranks[order] = means.to(values.dtype)[group]
    return ranks


rsa = function(RSA)
