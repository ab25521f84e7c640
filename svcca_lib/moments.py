"""Means and cross-covariances of two layers, gathered batch by batch in constant memory.

CCA needs a layer only through its second moments, so a stream of any length can be compared: feed
batches to `Moments`, merge what several workers gathered, and give the result to `svcca`. Averaging
CCA over minibatches is a different, meaningless number (0.639 where the true value is 0.059).

Raw sums of products cancel catastrophically when the mean is large. Every batch is therefore
centred on its own mean, and two sets of moments are joined by the pairwise update of Chan, Golub
and LeVeque (1983), in float64.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from svcca_lib._arrays import ArrayLike, as_tensor, same_rows


class Moments:
    """Streaming first and second moments of one layer, or of a pair of layers.

    Feed either single layers (``update(x)``) or pairs (``update(x, y)``), never both to one object.
    Batches may have any size, one row included.

    Attributes
    ----------
    n : int
        Datapoints seen so far.
    mean_x, mean_y : Tensor, shape (p,) and (q,)
        Means over the datapoints, float64.
    xx, yy, xy : Tensor, shape (p, p), (q, q) and (p, q)
        Scatter matrices ``sum_i (x_i - mean_x) (y_i - mean_y)^T``, float64; divide by ``n - 1`` for
        covariances. `yy` and `xy` are None for a single layer.

    Notes
    -----
    Squaring the data squares its condition number: from moments, directions whose singular value is
    below about 1e-7 of the largest cannot be told from rounding and are cut. After SVCCA's cut at
    99 % of the variance this never matters; for raw CCA of an ill-conditioned layer give the arrays
    themselves to `cca`.

    References
    ----------
    Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American
    Statistician 37 (1983).

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import Moments, svcca
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(900, 5)); y = x @ rng.normal(size=(5, 4))
    >>> m = Moments()
    >>> for rows in np.split(np.arange(900), 9):
    ...     m.update(x[rows], y[rows])
    >>> abs(svcca(m).similarity - svcca(x, y).similarity) < 1e-12
    True
    """

    def __init__(self) -> None:
        self.n = 0
        self.paired: bool | None = None
        self.numpy = False
        self._mean: Tensor | None = None  # (p,) or, for a pair, (p + q,)
        self._p = 0
        self.xx: Tensor | None = None
        self.yy: Tensor | None = None
        self.xy: Tensor | None = None

    @property
    def mean_x(self) -> Tensor | None:
        """Mean of the first layer, shape (p,); None before the first batch."""
        return None if self._mean is None else self._mean[: self._p]

    @property
    def mean_y(self) -> Tensor | None:
        """Mean of the second layer, shape (q,); None for a single layer."""
        return self._mean[self._p :] if self._mean is not None and self.paired else None

    def update(self, x: ArrayLike, y: ArrayLike | None = None) -> None:
        """Add a batch.

        Parameters
        ----------
        x : array_like, shape (batch, p)
            Responses of the first layer.
        y : array_like, shape (batch, q), optional
            Responses of the second layer to the same datapoints.

        Raises
        ------
        TypeError, ValueError
            If a batch is not a finite real matrix, the two differ in rows, or the widths are not
            those of the batches before.
        """
        xs = as_tensor(x, "x", ndim=2, min_rows=1).detach()
        ys = None if y is None else as_tensor(y, "y", ndim=2, min_rows=1).detach()
        if ys is not None:
            same_rows(len(xs), len(ys))
        p, q = xs.shape[1], 0 if ys is None else ys.shape[1]
        self._match(p, q, xs.device)
        self.numpy = isinstance(x, np.ndarray)

        mean = xs.mean(0) if ys is None else torch.cat([xs.mean(0), ys.mean(0)])
        xs = xs - mean[:p]
        self.xx.addmm_(xs.T, xs)
        if ys is not None:
            ys = ys - mean[p:]
            self.yy.addmm_(ys.T, ys)
            self.xy.addmm_(xs.T, ys)
        self._absorb(len(xs), mean)

    def merge(self, other: Moments) -> None:
        """Add what another worker gathered; `other` is left as it is.

        Raises
        ------
        TypeError, ValueError
            If `other` is not a Moments, or holds layers of other widths.
        """
        if not isinstance(other, Moments):
            raise TypeError(f"merge takes another Moments; got {type(other).__name__}")
        if other._mean is None:
            return
        self._match(other._p, len(other._mean) - other._p, other._mean.device)
        self.numpy = other.numpy
        for mine, theirs in zip(self._scatters(), other._scatters(), strict=True):
            mine += theirs
        self._absorb(other.n, other._mean)

    def all_reduce(self, group: dist.ProcessGroup | None = None) -> None:
        """Join the moments of every process of a torch.distributed group, in place on each.

        Works with any backend (gloo on CPUs, nccl on GPUs). A process that saw no data takes part
        too.

        Raises
        ------
        RuntimeError
            If torch.distributed has not been initialised.
        ValueError
            If the processes hold layers of different widths.
        """
        if not dist.is_available() or not dist.is_initialized():
            raise RuntimeError(
                "all_reduce needs an initialised process group; "
                "call torch.distributed.init_process_group first"
            )
        device = torch.device("cpu")
        if dist.get_backend(group) == "nccl":
            device = torch.device("cuda", torch.cuda.current_device())
        q = 0 if self._mean is None else len(self._mean) - self._p
        empty = self._mean is None
        widest = torch.tensor([self._p, q, int(self.numpy)], device=device)
        # An empty process has no width of its own, so it must not pull the minimum down.
        narrowest = torch.tensor([2**31, 2**31] if empty else [self._p, q], device=device)
        dist.all_reduce(widest, dist.ReduceOp.MAX, group)
        dist.all_reduce(narrowest, dist.ReduceOp.MIN, group)
        p, q, numpy = (int(v) for v in widest)
        if p == 0:
            return
        if [p, q] != narrowest.tolist():
            raise ValueError(
                f"every process must hold the same layers; widths range from "
                f"{tuple(narrowest.tolist())} to {(p, q)}"
            )
        self._match(p, q, device)
        self.numpy = bool(numpy)
        n = torch.tensor([self.n], device=device, dtype=torch.float64)
        total = self._mean * n
        own = self.n
        dist.all_reduce(n, dist.ReduceOp.SUM, group)
        if n == 0:
            return
        dist.all_reduce(total, dist.ReduceOp.SUM, group)
        mean = total / n
        self._shift(self._mean - mean, own)
        for scatter in self._scatters():
            dist.all_reduce(scatter, dist.ReduceOp.SUM, group)
        self.n, self._mean = int(n), mean

    def _match(self, p: int, q: int, device: torch.device) -> None:
        """Allocate at the first batch; afterwards insist on the same widths."""
        if self._mean is None:
            self.paired, self._p = q > 0, p
            self._mean = torch.zeros(p + q, dtype=torch.float64, device=device)
            self.xx = self._mean.new_zeros(p, p)
            if q:
                self.yy, self.xy = self._mean.new_zeros(q, q), self._mean.new_zeros(p, q)
            return
        have = (self._p, len(self._mean) - self._p)
        if (p, q) != have:
            raise ValueError(
                f"expected widths (p, q) = {have} as in the batches before (q = 0 for a single "
                f"layer); got {(p, q)}"
            )

    def _absorb(self, n: int, mean: Tensor) -> None:
        """Account for `n` datapoints of another mean whose scatter has been added (Chan et al.)."""
        delta = mean - self._mean
        self._shift(delta, self.n * n / (self.n + n))
        self.n += n
        self._mean = self._mean + delta * (n / self.n)

    def _shift(self, delta: Tensor, weight: float) -> None:
        """Add ``weight * delta delta^T`` to the scatters."""
        dx, dy = delta[: self._p], delta[self._p :]
        self.xx.addr_(dx, dx, alpha=weight)
        if self.paired:
            self.yy.addr_(dy, dy, alpha=weight)
            self.xy.addr_(dx, dy, alpha=weight)

    def _scatters(self) -> list[Tensor]:
        return [s for s in (self.xx, self.yy, self.xy) if s is not None]

    def __repr__(self) -> str:
        if self._mean is None:
            return "Moments(empty)"
        q = f", q={len(self._mean) - self._p}" if self.paired else ""
        return f"Moments(n={self.n}, p={self._p}{q})"
