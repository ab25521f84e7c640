"""How moments add up: batches, blocks of rows, what several workers gathered; of any layers.

Raw sums of products cancel catastrophically when the mean is large. Every batch is therefore
centred on its own mean, and two sets of moments are joined by the pairwise update of Chan, Golub
and LeVeque (1983), in float64. `svcca_lib.moments` and `svcca_lib.fourier.moments` say what a batch
of their layers is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
import torch.distributed as dist
from torch import Tensor

from svcca_lib._ambient import undisturbed
from svcca_lib._linalg import add_complex, add_inner, zeros
from svcca_lib.errors import same_rows
from svcca_lib.inputs import ArrayLike, Rows
from svcca_lib.lengths import Lengths


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of one layer, ready to be added.

    Attributes
    ----------
    sizes : tuple of int
        Of the layer.
    centred : Tensor, shape (..., n, p)
    mean : Tensor, shape (..., p)
    spare : Tensor, shape (..., n + 1, p), or None
        `centred` with room for one row more, that of `PairMoments.add`.
    rounding : float
        Relative error of the numbers as they came, see `svcca_lib.inputs.rounding_of`.
    """

    sizes: tuple[int, ...]
    centred: Tensor
    mean: Tensor
    spare: Tensor | None = None
    rounding: float = 0.0

    @property
    def n(self) -> int:
        """Datapoints in the batch."""
        return self.centred.shape[-2]


class Sums(NamedTuple):
    """What is gathered of one layer."""

    mean: Tensor  # (..., p)
    scatter: Tensor  # (..., p, p)


class PairMoments:
    """What `Moments` and `svcca_lib.FourierMoments` share: how moments add up.

    Tensors may carry leading dimensions, one moment for each of their entries; values may be
    complex. A subclass turns a batch into such tensors and hands them to `add`.
    """

    def __init__(self) -> None:
        self.n = 0
        self.numpy = False
        self.rounding = (0.0, 0.0)  # of the coarsest numbers of each layer, see `inputs`
        self.xy: Tensor | None = None  # (..., p, q)
        self._lengths: Lengths | None = None
        self._layers: tuple[Sums, ...] = ()  # two of a pair, none before the first batch
        self._layout: tuple[int, ...] = ()  # sizes of both layers; empty before the first batch

    @property
    def paired(self) -> bool | None:
        """Whether these are moments of two layers; None before the first batch."""
        return len(self._layers) == 2 if self._layout else None

    @property
    def mean_x(self) -> Tensor | None:
        """Mean of the first layer, shape (..., p); None before the first batch."""
        return self._layers[0].mean if self._layers else None

    @property
    def mean_y(self) -> Tensor | None:
        """Mean of the second layer, shape (..., q); None where there is none."""
        return self._layers[1].mean if self.paired else None

    @property
    def xx(self) -> Tensor | None:
        """Scatter matrix of the first layer, shape (..., p, p); None before the first batch."""
        return self._layers[0].scatter if self._layers else None

    @property
    def yy(self) -> Tensor | None:
        """Scatter matrix of the second layer, shape (..., q, q); None where there is none."""
        return self._layers[1].scatter if self.paired else None

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
        layers = [self._checked(x, "x")]
        if y is not None:
            layers.append(self._checked(y, "y"))
        same_rows(*map(len, layers), *[len(layers[0])] * (2 - len(layers)))
        if len(layers[0]) <= 2 * self._step(layers):  # worth no moments of their own
            self.sweep(layers, len(layers[0]))
            return
        part = type(self)()  # a NaN in the last of many blocks must leave no trace
        part.sweep(layers)
        self.merge(part)

    def sweep(self, layers: Sequence[Rows], step: int = 0) -> None:
        """Add the datapoints of checked layers, block by block; `step` of them at a time if told.

        Raises
        ------
        ValueError
            If a layer has a NaN or infinity, or the sizes are not those of the batches before.
        """
        n, step = len(layers[0]), step or self._step(layers)
        buffers: list[Tensor | None] = [None] * len(layers)
        for start in range(0, n, step):
            stop = min(start + step, n)
            batches = [
                self._block(layer, start, stop, buffer)
                for layer, buffer in zip(layers, buffers, strict=True)
            ]
            for layer, batch in zip(layers, batches, strict=True):
                if not torch.isfinite(batch.mean).all():
                    layer.largest(step)  # says so, or it was an overflow
            buffers = [batch.spare for batch in batches]
            sizes = [size for batch in batches for size in batch.sizes]
            self.match((*sizes, *[0] * (self._SIZES - len(sizes))), batches[0].mean.device)
            self.add(*batches)
        self.numpy = layers[0].numpy

    def squares(self) -> list[Tensor]:
        """Mean squares of the values of each layer, means included, (..., p)."""
        return [
            scatter.diagonal(dim1=-2, dim2=-1).abs() / self.n + mean.abs() ** 2
            for mean, scatter in self._layers
        ]

    def only(self, name: str) -> tuple[Sums]:
        """Return the sums of the one layer that these are the moments of.

        Raises
        ------
        ValueError
            If they are of no layer, of two, or of fewer than two datapoints.
        """
        kind = type(self).__name__
        if len(self._layers) != 1:
            raise ValueError(f"{name} must be {kind} of one layer (update(x)); got {self}")
        if self.n < 2:
            raise ValueError(f"{name} must hold at least 2 datapoints; got {self.n}")
        return self._layers

    def halves(self) -> tuple[Self, Self]:
        """Moments of each of the two layers alone; they share their memory with these.

        Raises
        ------
        ValueError
            If these are not moments of two layers.
        """
        if not self.paired:
            kind, what = type(self).__name__, "a single layer" if self.n else "nothing"
            raise ValueError(f"x must be {kind} of two layers (update(x, y)); it holds {what}")
        halves = type(self)(), type(self)()
        for i, (half, sizes) in enumerate(zip(halves, _halved(self._layout), strict=True)):
            half.n, half.numpy, half.rounding = self.n, self.numpy, (self.rounding[i], 0.0)
            half._layers = self._layers[i : i + 1]  # noqa: SLF001 (another of this class)
            half._lengths = self._lengths and self._lengths.of(i)  # noqa: SLF001
            half._layout = (*sizes, *[0] * len(sizes))  # noqa: SLF001
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
        self.match(other._layout, other.means[0].device)
        self.numpy = other.numpy
        if self._lengths is not None and other._lengths is not None:
            if not self.n:
                self._lengths = Lengths.about(other._lengths.pilots)
            self._lengths = self._lengths.joined(other.lengths_about(self._lengths.pilots))
        (a, b), (c, d) = self.rounding, other.rounding
        self.rounding = max(a, c), max(b, d)
        for mine, theirs in zip(self._scatters(), other._scatters(), strict=True):
            mine += theirs
        self._absorb(other.n, other.means)

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
            torch.tensor(
                [*(self._layout or b), int(self.numpy), *self.rounding],
                dtype=torch.float64,
                device=device,
            )
            for b in blank
        )
        dist.all_reduce(largest, dist.ReduceOp.MAX, group)
        dist.all_reduce(smallest, dist.ReduceOp.MIN, group)
        *sizes, numpy, of_x, of_y = largest.tolist()
        layout = [int(size) for size in sizes]
        if not any(layout):
            return
        least = [int(size) for size in smallest.tolist()[:-3]]
        if layout != least:
            raise ValueError(
                f"every process must hold the same layers; sizes range from "
                f"{tuple(least)} to {tuple(layout)}"
            )
        self.match(tuple(layout), device)
        self.numpy, self.rounding = bool(numpy), (of_x, of_y)

        n = torch.tensor([self.n], dtype=torch.float64, device=device)
        own = self.n
        dist.all_reduce(n, dist.ReduceOp.SUM, group)
        self.n = int(n)
        means = [summed(mean * (own / self.n), device, group) for mean in self.means]
        if self._lengths is not None:
            lengths = self._lengths_about(means, own)
            products, *vectors = (
                summed(t, device, group) for t in (lengths.products, *lengths.vectors)
            )
            self._lengths = Lengths(lengths.pilots, products, tuple(vectors))
        # Each process moves its scatters to the common means; then they add up.
        self._shift([old - mean for old, mean in zip(self.means, means, strict=True)], own)
        self._move(means)
        for scatter in self._scatters():
            scatter.copy_(summed(scatter, device, group))

    def lengths_about(self, pilots: Sequence[Tensor] | None = None) -> Lengths:
        """Sums of squared lengths of the rows, about some points or, by default, the means."""
        return self._lengths_about(self.means if pilots is None else pilots, self.n)

    def _lengths_about(self, pilots: Sequence[Tensor], n: int) -> Lengths:
        assert self._lengths is not None, "only of layers without space"

        def scatter(a: int, b: int) -> Tensor:
            if a == b or self.xy is None:
                return self._layers[a].scatter
            return self.xy if a < b else self.xy.T

        return self._lengths.moved(pilots, n, self.means, scatter)

    _SIZES: int  # how many sizes `_layout` holds

    @classmethod
    def batch(cls, x: Any, name: str) -> Batch:
        """Check a batch of one layer and centre it."""
        rows = cls._checked(x, name)
        found = cls._block(rows, 0, len(rows), None)
        if not torch.isfinite(found.mean).all():
            rows.finite()
        return found

    @staticmethod
    def _checked(x: Any, name: str) -> Rows:
        """Check a batch of one layer but for its values."""
        raise NotImplementedError

    @staticmethod
    def _step(layers: Sequence[Rows]) -> int:
        """How many datapoints are added at a time."""
        raise NotImplementedError

    @staticmethod
    def _block(rows: Rows, start: int, stop: int, buffer: Tensor | None) -> Batch:
        """Convert some of the datapoints and centre them; the buffer is of the block before."""
        raise NotImplementedError

    @staticmethod
    def _entries(sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Leading dimensions of the moments of a layer of these sizes."""
        return ()

    @staticmethod
    def meeting(
        x: Tensor, y: Tensor, x_sizes: tuple[int, ...], y_sizes: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Select the entries of both layers that `xy` pairs."""
        return x, y

    _dtype = torch.float64

    def _allocate(self, layout: tuple[int, ...], device: torch.device) -> None:
        """Make the zeros that a first batch is added to."""
        like = torch.empty(0, dtype=self._dtype, device=device)

        def sums(sizes: tuple[int, ...]) -> Sums:
            entries, p = self._entries(sizes), sizes[0]
            return Sums(zeros((*entries, p), like), zeros((*entries, p, p), like))

        sides = [sizes for sizes in _halved(layout) if any(sizes)]
        self._layers = tuple(map(sums, sides))
        if len(sides) == 2:
            x, y = self.means
            x, y = self.meeting(x, y, *sides)
            self.xy = zeros((*x.shape, y.shape[-1]), like)

    def match(self, layout: tuple[int, ...], device: torch.device) -> None:
        """Allocate at the first batch; afterwards insist on the same sizes."""
        if not self._layout:
            with undisturbed():  # what is added to may not belong to the caller's inference mode
                self._allocate(layout, device)
            self._layout = layout
        elif layout != self._layout:
            raise ValueError(
                f"expected layers of sizes {self._layout} as in the batches before (0 for a "
                f"missing second layer); got {layout}"
            )

    def add(self, *batches: Batch) -> None:
        """Add a checked batch of each layer, see `batch` and `match`."""
        (a, b), (c, d, *_) = self.rounding, [*(batch.rounding for batch in batches), 0.0]
        self.rounding = max(a, c), max(b, d)
        n, means = batches[0].n, [batch.mean for batch in batches]
        if self._lengths is not None:
            known = self._lengths if self.n else Lengths.about(means)
            self._lengths = known.plus([batch.centred for batch in batches], means)
        spares = [batch.spare for batch in batches if batch.spare is not None]
        if len(spares) < len(batches):
            self._accumulate([batch.centred for batch in batches])
            self._absorb(n, means)
            return
        # The shift of the means is one weighted row more, see `_shift`.
        weight = (self.n * n / (self.n + n)) ** 0.5
        for spare, mean, own in zip(spares, means, self.means, strict=True):
            spare[..., n, :] = (mean - own) * weight
        self._accumulate([spare[..., : n + 1, :] for spare in spares])
        self._join(n, means)

    def _accumulate(self, rows: Sequence[Tensor]) -> None:
        """Add the products of rows of each layer, (..., n, p) and (..., n, q), to the scatters."""
        for layer, x in zip(self._layers, rows, strict=True):
            accumulate(layer.scatter, x, x)
        if self.xy is not None:
            x, y = rows
            accumulate(self.xy, *self.meeting(x, y, *_halved(self._layout)))

    def _absorb(self, n: int, means: Sequence[Tensor]) -> None:
        """Account for `n` datapoints of other means whose scatter has been added (Chan et al.)."""
        deltas = [mean - own for mean, own in zip(means, self.means, strict=True)]
        self._shift(deltas, self.n * n / (self.n + n))
        self._join(n, means)

    def _join(self, n: int, means: Sequence[Tensor]) -> None:
        """Move the means to those of `n` datapoints more."""
        self.n += n
        moved = zip(self.means, means, strict=True)
        self._move([own + (mean - own) * (n / self.n) for own, mean in moved])

    def _shift(self, deltas: Sequence[Tensor], weight: float) -> None:
        """Add ``weight * delta delta^H`` to the scatters."""
        if weight:  # (..., 1, p): one weighted row more
            self._accumulate([delta[..., None, :] * weight**0.5 for delta in deltas])

    def _move(self, means: Sequence[Tensor]) -> None:
        layers = zip(self._layers, means, strict=True)
        self._layers = tuple(layer._replace(mean=mean) for layer, mean in layers)

    @property
    def means(self) -> list[Tensor]:
        """Means of the layers, one or two of shape (..., p)."""
        return [layer.mean for layer in self._layers]

    def _scatters(self) -> list[Tensor]:
        scatters = [layer.scatter for layer in self._layers]
        return scatters if self.xy is None else [*scatters, self.xy]

    @property
    def nbytes(self) -> int:
        """Memory that is held, which does not depend on how many datapoints were seen."""
        lengths = () if self._lengths is None else self._lengths.tensors
        return sum(t.nbytes for t in (*self.means, *self._scatters(), *lengths))

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(n={self.n}, sizes={self._layout})" if self._layout else f"{name}(empty)"


def _halved(layout: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes of the first layer and of the second."""
    half = len(layout) // 2
    return layout[:half], layout[half:]


# Rows from which on half a product is worth waking NumPy's threads beside the model's, torch's.
_LONG = 1024


# Numbers up to which a product may be held beside the sum that it is added to.
_SMALL = 2**22


def _worth(out: Tensor, x: Tensor, y: Tensor) -> bool:
    """Whether a product is for NumPy, which halves that of a layer with itself, but holds it."""
    return len(x) >= _LONG and (x is y or out.numel() <= _SMALL)


def accumulate(out: Tensor, x: Tensor, y: Tensor) -> None:
    """``out += x^H y``; the sum may be of wider numbers than the products."""
    if not x.is_cuda and out.ndim == 3:
        add_complex(out, x, y)
    elif out.ndim == 2 and (x.dtype != out.dtype or _worth(out, x, y)):
        add_inner(out, x, y)
    elif x.dtype != out.dtype:
        out += x.mH @ y
    elif out.ndim == 2:
        out.addmm_(x.mH, y)
    else:
        out.baddbmm_(x.mH, y)


def summed(value: Tensor, device: torch.device, group: dist.ProcessGroup | None) -> Tensor:
    """Sum over the processes; gloo and nccl know no complex numbers, so these go as pairs."""
    moved = value.to(device, copy=True).contiguous()
    dist.all_reduce(
        torch.view_as_real(moved) if moved.is_complex() else moved, dist.ReduceOp.SUM, group
    )
    return moved.to(value.device)
