r"""Measures of neighbourhoods: whether both layers call the same datapoints near.

Only who is nearest counts, not how far the rest is, so that a few directions of great variance
decide less than in CKA. A layer is summed up as the neighbours of each datapoint, found block by
block: of the n x n similarities no more than a block is held.

Equally near datapoints share the places that are left for them: where two compete for the last of
k, each is a neighbour by half. What is no further apart than rounding is equally near. Two layers
then share as much of a neighbour as the smaller of their parts, and no number depends on the order
of the datapoints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import scipy  # its parts are loaded when used: the import stays fast
import torch
from torch import Tensor

from svcca_lib.errors import is_whole, some_variance
from svcca_lib.inputs import Precision, rows_of
from svcca_lib.layer import centre
from svcca_lib.measures.measure import Measure, function
from svcca_lib.measures.similarity import Expected, Similarity

Metric: TypeAlias = Literal["cosine", "euclidean"]

_BLOCK = 2**22  # similarities held at a time


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The neighbours of each datapoint of a layer; m is k, and more where some are equally near.

    Attributes
    ----------
    nearest : Tensor of int, shape (n, m)
    shares : Tensor, shape (n, m)
        To which part each of them is a neighbour; they sum to k.
    products : Tensor, shape (n, m)
        Inner products of the centred rows with those of the neighbours; 1 where nothing needs them.
    """

    nearest: Tensor
    shares: Tensor
    products: Tensor

    @property
    def n(self) -> int:
        """Datapoints."""
        return len(self.nearest)

    @property
    def sample(self) -> Tensor:
        """A tensor of the layer's precision and device."""
        return self.shares

    @property
    def size(self) -> float:
        """Sum of the squared products of all neighbours."""
        return float((self.shares * self.products**2).sum())

    def primed(self) -> Neighbours:
        """The layer itself: comparisons need no more."""
        return self

    def reordered(self, order: Tensor) -> Neighbours:
        """The same layer with its datapoints in another order."""
        order = order.to(self.nearest.device)
        place = torch.empty_like(order)
        place[order] = torch.arange(self.n, device=order.device)
        return Neighbours(place[self.nearest[order]], self.shares[order], self.products[order])

    def met(self, other: Neighbours) -> tuple[Tensor, Tensor]:
        """What the neighbours of `other` are here.

        Returns
        -------
        Tensor, shape (n, m)
            To which part each of them is a neighbour in both layers.
        Tensor, shape (n, m)
            Its product in this layer, 0 where it is no neighbour.
        """
        both, products = torch.empty_like(other.shares), torch.empty_like(other.shares)
        for rows in blocks_of(self.n):
            dense = self.shares.new_zeros((rows.stop - rows.start, self.n))
            own, wanted = self.nearest[rows], other.nearest[rows]
            shares = dense.scatter_add(1, own, self.shares[rows]).gather(1, wanted)
            both[rows] = torch.minimum(shares, other.shares[rows])
            here = self.products[rows] * (self.shares[rows] > 0)
            products[rows] = dense.scatter_add_(1, own, here).gather(1, wanted)
        return both, products

    def common(self, other: Neighbours) -> Tensor:
        """Neighbours of each datapoint that are neighbours in both layers, shape (n,)."""
        return self.met(other)[0].sum(1)


def by_chance(a: Neighbours, b: Neighbours) -> float:
    """Expected sum, over all pairs of datapoints, of common neighbours times both products.

    Over random pairings of the datapoints every ordered pair of one layer meets every one of the
    other equally often, so that the expectation is a mean over all of them. The part they share is
    ``min(v, w) = int [v >= t] [w >= t] dt``, which separates the two layers.
    """
    levels = torch.cat([a.shares.flatten(), b.shares.flatten()]).sort().values
    above = []
    for layer in (a, b):
        shares, order = layer.shares.flatten().sort()
        below = torch.nn.functional.pad(layer.products.flatten()[order].cumsum(0), (1, 0))
        above.append(below[-1] - below[torch.searchsorted(shares, levels)])
    steps = levels.diff(prepend=levels.new_zeros(1))
    return float((steps * above[0] * above[1]).sum()) / (a.n * (a.n - 1))


def blocks_of(n: int) -> list[slice]:
    """Blocks of rows whose similarities with all n datapoints are held at a time."""
    step = max(1, _BLOCK // n)
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def neighbours_of(rows: Tensor, k: int, metric: Metric, *, weighed: bool) -> Neighbours:
    """Find the k nearest of each datapoint.

    Parameters
    ----------
    rows : Tensor, shape (n, p)
        Of unit norm for the cosine; centred for the Euclidean distance.
    k : int
    metric : {"cosine", "euclidean"}
    weighed : bool
        Whether the products of neighbours are wanted.
    """
    n, p = rows.shape
    eps = torch.finfo(rows.dtype).eps
    squares = (rows**2).sum(1)
    found: list[tuple[Tensor, Tensor]] = []
    for block in blocks_of(n):
        near = rows[block] @ rows.T
        if metric == "euclidean":
            near = 2 * near - squares[block, None] - squares
        own = torch.arange(block.start, block.stop, device=rows.device)[:, None]
        near.scatter_(1, own, -torch.inf)
        last = near.topk(k, dim=1).values[:, -1:]
        # Sums of p products are rounded by about sqrt(p) eps of what they sum up.
        size = torch.ones_like(last)
        if metric == "euclidean":
            size = 4 * (squares[block, None] + last.abs())
        rounding = 8 * math.sqrt(p) * eps * size
        nearer = (near > last + rounding).sum(1, keepdim=True)
        many = (near >= last - rounding).sum(1, keepdim=True)
        values, nearest = near.topk(int(many.max()), dim=1)
        part = (k - nearer) / (many - nearer)
        shares = torch.where(values > last + rounding, 1.0, part.to(values.dtype))
        found.append((nearest, shares.masked_fill(values < last - rounding, 0.0)))
    wide = max(nearest.shape[1] for nearest, _ in found)
    nearest, shares = (
        torch.cat([torch.nn.functional.pad(part, (0, wide - part.shape[1])) for part in parts])
        for parts in zip(*found, strict=True)
    )
    products = torch.ones_like(shares)
    centred = rows - rows.mean(0)
    for block in blocks_of(n) if weighed else ():
        products[block] = (centred[block] @ centred.T).gather(1, nearest[block])
    return Neighbours(nearest, shares, products)


@dataclass(frozen=True, kw_only=True)
class _OfNeighbours(Measure[Similarity]):
    """What the measures of this module share: a layer prepared as the neighbours it calls near."""

    k: int = 10
    metric: Metric = "cosine"
    precision: Precision = "float64"

    symmetric: ClassVar[bool] = True
    invariant_to: ClassVar[frozenset[str]] = frozenset({"orthogonal", "isotropic"})
    weighed: ClassVar[bool] = False
    layers: ClassVar[str] = """\
x, y : array_like, shape (n, p) and (n, q)
    Two layers on the same datapoints, or a `Reservoir` of both as the only argument."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_whole(self.k) or self.k < 1:
            raise ValueError(f"k must be a whole number of neighbours, at least 1; got {self.k!r}")

    @property
    def of_rows(self) -> bool:
        return True

    def prepare(self, x: Any, name: str) -> Neighbours:
        if isinstance(x, Neighbours):
            return x
        self.needs_rows(x, name)
        rows = rows_of(x, name, self.precision).values.detach()
        centred, _ = centre(rows)
        some_variance((centred**2).sum(), name, tuple(rows.shape))
        if self.k >= len(rows):
            raise ValueError(
                f"k must be below the number of datapoints; got k={self.k} and {len(rows)} rows "
                f"in {name}"
            )
        if self.metric == "cosine":  # a row of zeros is at right angles to all others
            tiny = torch.finfo(rows.dtype).tiny
            rows = rows / rows.abs().amax(1, keepdim=True).clamp(min=tiny)
            rows = rows / rows.norm(dim=1, keepdim=True).clamp(min=tiny)
        else:
            rows = centred / centred.abs().max()
        return neighbours_of(rows, self.k, self.metric, weighed=self.weighed)


@dataclass(frozen=True, kw_only=True)
class MutualKNN(_OfNeighbours):
    r"""Share of the k nearest neighbours that both layers have in common (Huh et al. 2024).

    The mean over datapoints of :math:`|N_x(i) \cap N_y(i)| / k`.

    Parameters
    ----------
    k : int, default 10
        Neighbours of each datapoint, itself not counted; fewer than the datapoints.
    metric : {"cosine", "euclidean"}
        What is near: by the angle between responses as they come, not centred, as Huh et al. do; or
        by their distance, which no translation changes.
    precision : {"float64", "float32"}

    Notes
    -----
    ``chance`` is exact: k / (n - 1) where no two datapoints are equally near. Equally near ones, up
    to rounding, share the places left for them (other code takes the first of them, the same in
    both layers, and finds neighbours in common that are not there).

    Depends on n as on k: among more datapoints the k nearest are nearer. Under the cosine a large
    common mean makes all angles small and alike.

    References
    ----------
    Huh, Cheung, Wang, Isola, "The Platonic Representation Hypothesis", ICML 2024, appendix A.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import mutual_knn
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> round(mutual_knn(x, -3 * x).similarity, 6)
    1.0
    >>> r = mutual_knn(x, rng.normal(size=(200, 5)))
    >>> abs(r.similarity - r.chance) < 0.02, round(r.chance, 4)
    (True, 0.0503)
    """

    name: ClassVar[str] = "mutual_knn"

    def compare(self, a: Neighbours, b: Neighbours, cross: Tensor | None = None) -> Similarity:
        value = float(a.common(b).mean()) / self.k
        chance = by_chance(a, b) / (a.n * self.k)
        return Similarity(self.name, min(1.0, value), a.n, independent=Expected(chance))


@dataclass(frozen=True, kw_only=True)
class Jaccard(_OfNeighbours):
    r"""Mean Jaccard index of the k nearest neighbours in both layers.

    The mean over datapoints of
    :math:`|N_x(i) \cap N_y(i)| / |N_x(i) \cup N_y(i)|`.

    Parameters
    ----------
    k, metric, precision
        As in `mutual_knn`.

    Notes
    -----
    With m common neighbours a datapoint counts m / (2 k - m): less than in `mutual_knn`, where it
    counts m / k, unless all or none are in common. ``chance`` is the mean of that over the
    hypergeometric law of m, which is exact where no two datapoints are equally near.

    References
    ----------
    Wang et al., "Towards understanding the instability of network embedding", IEEE TKDE 34 (2022).

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import jaccard
    >>> x = np.random.default_rng(0).normal(size=(100, 4))
    >>> round(jaccard(x, x @ np.linalg.qr(np.ones((4, 4)) + np.eye(4))[0]).similarity, 6)
    1.0
    """

    name: ClassVar[str] = "jaccard"

    def compare(self, a: Neighbours, b: Neighbours, cross: Tensor | None = None) -> Similarity:
        common = a.common(b)
        value = float((common / (2 * self.k - common)).mean())
        chance = HypergeometricChance(self.k, a.n)
        return Similarity(self.name, min(1.0, value), a.n, independent=chance)


@dataclass(frozen=True, kw_only=True)
class CKNNA(_OfNeighbours):
    r"""CKA restricted to common neighbours: centred kernel nearest-neighbour alignment.

    :math:`A(K, L) / \sqrt{A(K, K)\, A(L, L)}` with
    :math:`A(K, L) = \sum_i \sum_{j \in N_x(i) \cap N_y(i)} \bar K_{ij} \bar L_{ij}` and the
    centred kernels of the responses: of their angles for ``metric="cosine"``, of the responses
    themselves for ``"euclidean"``.

    Parameters
    ----------
    k, metric, precision
        As in `mutual_knn`.

    Notes
    -----
    The kernels are centred over all datapoints before they are restricted, as the paper defines it
    and as makes it linear CKA (without the diagonal) at k = n - 1; the paper's code restricts
    first. Falls below 0 where common neighbours point to different sides of the centre. ``chance``
    is exact, over random pairings of the datapoints.

    References
    ----------
    Huh, Cheung, Wang, Isola, "The Platonic Representation Hypothesis", ICML 2024, appendix A.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import cknna
    >>> x = np.random.default_rng(0).normal(size=(100, 4))
    >>> round(cknna(x, 2 * x).similarity, 6)
    1.0
    """

    name: ClassVar[str] = "cknna"
    lowest: ClassVar[float] = -1.0
    weighed: ClassVar[bool] = True

    def prepare(self, x: Any, name: str) -> Neighbours:
        layer = super().prepare(x, name)
        if not layer.size > layer.n * self.k * (8 * torch.finfo(layer.shares.dtype).eps) ** 2:
            raise ValueError(
                f"{name} gives no CKNNA: near datapoints lie in the centre of all, or all of them "
                f"in one direction"
            )
        return layer

    def compare(self, a: Neighbours, b: Neighbours, cross: Tensor | None = None) -> Similarity:
        both, products = a.met(b)
        norm = math.sqrt(a.size * b.size)
        value = float((both * products * b.products).sum()) / norm
        chance = Expected(by_chance(a, b) / norm)
        return Similarity(self.name, max(-1.0, min(1.0, value)), a.n, independent=chance)


@dataclass(frozen=True)
class HypergeometricChance:
    """Mean Jaccard index of two random sets of k among n - 1, computed when asked for."""

    k: int
    n: int

    def __call__(self) -> float:
        common = np.arange(max(0, 2 * self.k - self.n + 1), self.k + 1)
        law = scipy.stats.hypergeom(self.n - 1, self.k, self.k).pmf(common)
        return float((law * common / (2 * self.k - common)).sum())


mutual_knn = function(MutualKNN)
jaccard = function(Jaccard)
cknna = function(CKNNA)
