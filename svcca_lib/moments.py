"""Means and cross-covariances of two layers, gathered batch by batch in constant memory.

CCA needs a layer only through its second moments, so a stream of any length can be compared: feed
batches to `Moments`, merge what several workers gathered, and give the result to `svcca`. Averaging
CCA over minibatches is a different, meaningless number (0.639 where the true value is 0.059).

Raw sums of products cancel catastrophically when the mean is large. Every batch is therefore
centred on its own mean, and two sets of moments are joined by the pairwise update of Chan, Golub
and LeVeque (1983), in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from svcca_lib._arrays import ArrayLike, as_tensor, same_rows
from svcca_lib._linalg import inner


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of one layer, ready to be added: sizes of the layer, centred values, their mean."""

    sizes: tuple[int, ...]
    centred: Tensor  # (..., n, p)
    mean: Tensor  # (..., p)

    @property
    def n(self) -> int:
        """Datapoints in the batch."""
        return self.centred.shape[-2]


class PairMoments:
    """What `Moments` and `svcca_lib.FourierMoments` share: how moments add up.

    Tensors may carry leading dimensions, one moment for each of their entries; values may be
    complex. A subclass turns a batch into such tensors and hands them to `_add`.
    """

    def __init__(self) -> None:
        self.n = 0
        self.numpy = False
        self.mean_x: Tensor | None = None  # (..., p)
        self.mean_y: Tensor | None = None  # (..., q)
        self.xx: Tensor | None = None  # (..., p, p)
        self.yy: Tensor | None = None  # (..., q, q)
        self.xy: Tensor | None = None  # (..., p, q)
        self._layout: tuple[int, ...] = ()  # sizes of both layers; empty before the first batch

    @property
    def paired(self) -> bool | None:
        """Whether these are moments of two layers; None before the first batch."""
        return self.yy is not None if self._layout else None

    def update(self, x: ArrayLike, y: ArrayLike | None = None) -> None:
        """Add a batch.

        Parameters
        ----------
        x : array_like, datapoints first
            Responses of the first layer, in the shape that the class takes.
        y : array_like, datapoints first, optional
            Responses of the second layer to the same datapoints.

        Raises
        ------
        TypeError, ValueError
            If a batch is not a finite real array of such a shape, the two differ in rows, or the
            sizes are not those of the batches before.
        """
        first = self._batch(x, "x")
        second = None if y is None else self._batch(y, "y")
        if second is not None:
            same_rows(first.n, second.n)
        missing = (0,) * len(first.sizes)
        self._match((*first.sizes, *(second.sizes if second else missing)), first.mean.device)
        self.numpy = isinstance(x, np.ndarray)
        self._add(first, second)

    def halves(self) -> tuple[Self, Self]:
        """Moments of each of the two layers alone; they share their memory with these."""
        halves = type(self)(), type(self)()
        sizes = len(self._layout) // 2
        sides = ((self.mean_x, self.xx), (self.mean_y, self.yy))
        for i, (half, (mean, scatter)) in enumerate(zip(halves, sides, strict=True)):
            half.n, half.numpy, half.mean_x, half.xx = self.n, self.numpy, mean, scatter
            half._layout = (*self._layout[i * sizes : (i + 1) * sizes], *[0] * sizes)
        return halves

    def merge(self, other: Self) -> None:
        """Add what another worker gathered; `other` is left as it is.

        Raises
        ------
        TypeError, ValueError
            If `other` is of another class, or holds layers of other sizes.
        """
        if type(other) is not type(self):
            raise TypeError(
                f"merge takes another {type(self).__name__}; got {type(other).__name__}"
            )
        if not other._layout:
            return
        self._match(other._layout, other.mean_x.device)
        self.numpy = other.numpy
        for mine, theirs in zip(self._scatters(), other._scatters(), strict=True):
            mine += theirs
        self._absorb(other.n, other.mean_x, other.mean_y)

    def all_reduce(self, group: dist.ProcessGroup | None = None) -> None:
        """Join the moments of every process of a torch.distributed group, in place on each.

        Works with any backend (gloo on CPUs, nccl on GPUs). A process that saw no data takes part
        too.

        Raises
        ------
        RuntimeError
            If torch.distributed has not been initialised.
        ValueError
            If the processes hold layers of different sizes.
        """
        if not dist.is_available() or not dist.is_initialized():
            raise RuntimeError(
                "all_reduce needs an initialised process group; "
                "call torch.distributed.init_process_group first"
            )
        device = torch.device("cpu")
        if dist.get_backend(group) == "nccl":
            device = torch.device("cuda", torch.cuda.current_device())
        # An empty process has no sizes of its own, so it must not pull the minimum down.
        blank = [0] * self._SIZES, [2**31] * self._SIZES
        largest, smallest = (
            torch.tensor([*(self._layout or b), int(self.numpy)], device=device) for b in blank
        )
        dist.all_reduce(largest, dist.ReduceOp.MAX, group)
        dist.all_reduce(smallest, dist.ReduceOp.MIN, group)
        *layout, numpy = largest.tolist()
        if not any(layout):
            return
        if layout != smallest.tolist()[:-1]:
            raise ValueError(
                f"every process must hold the same layers; sizes range from "
                f"{tuple(smallest.tolist()[:-1])} to {tuple(layout)}"
            )
        self._match(tuple(layout), device)
        self.numpy = bool(numpy)

        n = torch.tensor([self.n], dtype=torch.float64, device=device)
        own = self.n
        dist.all_reduce(n, dist.ReduceOp.SUM, group)
        self.n = int(n)
        means = []
        for mean in (self.mean_x, self.mean_y):
            means.append(None if mean is None else _sum(mean * (own / self.n), device, group))
        # Each process moves its scatters to the common mean; then they add up.
        deltas = (
            None if mean is None else old - mean
            for old, mean in zip((self.mean_x, self.mean_y), means, strict=True)
        )
        self._shift(*deltas, own)
        self.mean_x, self.mean_y = means
        for scatter in self._scatters():
            scatter.copy_(_sum(scatter, device, group))

    _SIZES: int  # how many sizes `_layout` holds

    @staticmethod
    def _batch(x: Any, name: str) -> Batch:
        """Check a batch of one layer and centre it."""
        raise NotImplementedError

    @staticmethod
    def _entries(sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Leading dimensions of the moments of a layer of these sizes."""
        return ()

    @staticmethod
    def _meeting(
        x: Tensor, y: Tensor, x_sizes: tuple[int, ...], y_sizes: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Select the entries of both layers that `xy` pairs."""
        return x, y

    _dtype = torch.float64

    def _allocate(self, layout: tuple[int, ...], device: torch.device) -> None:
        """Make the zeros that a first batch is added to."""
        half = len(layout) // 2
        (p, *_), (q, *_) = x_sizes, y_sizes = layout[:half], layout[half:]

        def zeros(sizes: tuple[int, ...], *shape: int) -> Tensor:
            return torch.zeros(*self._entries(sizes), *shape, dtype=self._dtype, device=device)

        self.mean_x, self.xx = zeros(x_sizes, p), zeros(x_sizes, p, p)
        if q:
            self.mean_y, self.yy = zeros(y_sizes, q), zeros(y_sizes, q, q)
            x, y = self._meeting(self.mean_x, self.mean_y, x_sizes, y_sizes)
            self.xy = x[..., None] * y[..., None, :]

    def _match(self, layout: tuple[int, ...], device: torch.device) -> None:
        """Allocate at the first batch; afterwards insist on the same sizes."""
        if not self._layout:
            self._allocate(layout, device)
            self._layout = layout
        elif layout != self._layout:
            raise ValueError(
                f"expected layers of sizes {self._layout} as in the batches before (0 for a "
                f"missing second layer); got {layout}"
            )

    def _add(self, first: Batch, second: Batch | None = None) -> None:
        accumulate(self.xx, first.centred, first.centred)
        if second is not None:
            accumulate(self.yy, second.centred, second.centred)
            accumulate(self.xy, *self._for_cross(first.centred, second.centred))
        self._absorb(first.n, first.mean, None if second is None else second.mean)

    def _for_cross(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        half = len(self._layout) // 2
        return self._meeting(x, y, self._layout[:half], self._layout[half:])

    def _absorb(self, n: int, mean_x: Tensor, mean_y: Tensor | None) -> None:
        """Account for `n` datapoints of other means whose scatter has been added (Chan et al.)."""
        dx = mean_x - self.mean_x
        dy = None if mean_y is None else mean_y - self.mean_y
        self._shift(dx, dy, self.n * n / (self.n + n))
        self.n += n
        self.mean_x = self.mean_x + dx * (n / self.n)
        if dy is not None:
            self.mean_y = self.mean_y + dy * (n / self.n)

    def _shift(self, dx: Tensor, dy: Tensor | None, weight: float) -> None:
        """Add ``weight * delta delta^H`` to the scatters."""
        if weight == 0:
            return
        dx = dx[..., None, :] * weight**0.5  # (..., 1, p): one weighted row more
        accumulate(self.xx, dx, dx)
        if dy is not None:
            dy = dy[..., None, :] * weight**0.5
            accumulate(self.yy, dy, dy)
            accumulate(self.xy, *self._for_cross(dx, dy))

    def _scatters(self) -> list[Tensor]:
        return [s for s in (self.xx, self.yy, self.xy) if s is not None]

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(n={self.n}, sizes={self._layout})" if self._layout else f"{name}(empty)"


# Rows from which on half a product is worth waking NumPy's threads beside the model's, torch's.
_LONG = 1024


def accumulate(out: Tensor, x: Tensor, y: Tensor) -> None:
    """``out += x^H y``."""
    if out.ndim == 2 and x is y and len(x) >= _LONG:
        out += inner(x)
    elif out.ndim == 2:
        out.addmm_(x.mH, y)
    elif x.is_cuda:
        out.baddbmm_(x.mH, y)
    else:  # the batched product would copy x to conjugate it
        for entry, a, b in zip(out, x, y, strict=True):
            entry.addmm_(a.mH, b)


def _sum(value: Tensor, device: torch.device, group: dist.ProcessGroup | None) -> Tensor:
    """Sum over the processes; gloo and nccl know no complex numbers, so these go as pairs."""
    moved = value.to(device, copy=True).contiguous()
    dist.all_reduce(
        torch.view_as_real(moved) if moved.is_complex() else moved, dist.ReduceOp.SUM, group
    )
    return moved.to(value.device)


class Moments(PairMoments):
    """Streaming first and second moments of one layer, or of a pair of layers.

    Feed either single layers (``update(x)``) or pairs (``update(x, y)``) of shape (batch, p) and
    (batch, q), never both to one object. Batches may have any size, one row included.

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

    _SIZES = 2  # p, q

    @staticmethod
    def _batch(x: Any, name: str) -> Batch:
        rows = as_tensor(x, name, ndim=2, min_rows=1).detach()
        mean = rows.mean(0)
        return Batch((rows.shape[1],), rows - mean, mean)
