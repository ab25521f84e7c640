"""A layer whose rows are at hand, or were streamed, as moments; and its rows where asked for.

The second of the four stages, with `svcca_lib.moments`, which sums up: `moments_of` takes a layer
through it, in blocks. Neither a converted nor a centred copy of all rows is made, unless a gradient
is asked for, or there are fewer datapoints than neurons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from svcca_lib._linalg import difference, empty, inner, product
from svcca_lib.errors import same_rows, some_variance
from svcca_lib.inputs import Rows
from svcca_lib.moments import BLOCK, Moments, Swept
from svcca_lib.pair_moments import PairMoments

M = TypeVar("M", bound=PairMoments)


class Centred:
    """The centred responses of a layer, made when asked for: all of them, or a block at a time."""

    def __init__(self, rows: Rows, mean: Tensor, varies: Tensor) -> None:
        self._rows, self._mean = rows, mean.to(rows.dtype)
        self._varies = varies
        self.shape = rows.shape

    def __call__(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Centred responses to some of the datapoints, by default to all, shape (n, p)."""
        stop = len(self._rows) if stop is None else stop
        block = difference(self._rows.block(start, stop), self._mean)
        return block if self._varies.all() else block.mul_(self._varies)

    def to(self, dtype: torch.dtype) -> Centred:
        """The same in another precision."""
        other = replace(self._rows, dtype=dtype)
        return Centred(other, self._mean, self._varies)

    def times(self, weights: Tensor) -> Tensor:
        """Responses times weights (p, k), shape (n, k)."""
        out = empty((self.shape[0], weights.shape[1]), weights)
        for start in range(0, self.shape[0], BLOCK):
            stop = min(start + BLOCK, self.shape[0])
            product(self(start, stop), weights, out[start:stop])
        return out


class Known:
    """Centred responses that are at hand, with what `Centred` offers."""

    def __init__(self, responses: Tensor) -> None:
        self._responses = responses
        self.shape = tuple(responses.shape)

    def __call__(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Centred responses to some of the datapoints, by default to all, shape (n, p)."""
        return self._responses[start:stop]

    def to(self, dtype: torch.dtype) -> Known:
        """The same in another precision."""
        return Known(self._responses.to(dtype))

    def times(self, weights: Tensor) -> Tensor:
        """Responses times weights (p, k), shape (n, k)."""
        return self._responses @ weights


Responses = Centred | Known


@dataclass(frozen=True, eq=False)
class LayerMoments:
    """One layer, summed up.

    Attributes
    ----------
    name : str
        For errors.
    n : int
        Datapoints.
    mean : Tensor, shape (p,)
    varies : Tensor of bool, shape (p,)
        Which neurons are not constant.
    gram : Tensor, shape (p, p) or (n, n)
        Inner products along the shorter side: the scatter matrix of the neurons, or that of the
        datapoints where these are fewer.
    squares : Tensor, shape (p,)
        Mean square of each neuron, its mean included: what rounding was relative to.
    rows : Centred, Known or None
        Centred responses; None of a layer that was streamed.
    numpy : bool
        Whether the layer came as NumPy, and its results go back as such.
    rounding : float
        Relative error of the numbers as they came, see `svcca_lib.inputs.rounding_of`.
    scale : float
        The power of two that the layer was multiplied by before all else.
    """

    name: str
    n: int
    mean: Tensor
    varies: Tensor
    gram: Tensor
    squares: Tensor
    rows: Responses | None
    numpy: bool
    rounding: float
    scale: float = 1.0

    @property
    def dual(self) -> bool:
        """Whether `gram` is that of the datapoints."""
        return self.rows is not None and self.n < len(self.mean)

    def to(self, dtype: torch.dtype) -> LayerMoments:
        """The same in another precision."""
        if dtype == self.gram.dtype:
            return self
        mean, gram, squares = (t.to(dtype) for t in (self.mean, self.gram, self.squares))
        return replace(self, mean=mean, gram=gram, squares=squares)


def products(x: Responses, y: Responses) -> Tensor:
    """``x^T y`` of two layers (n, p) and (n, q), in blocks where a layer is not at hand."""
    n, step = x.shape[0], BLOCK
    if isinstance(x, Known) and isinstance(y, Known):
        return inner(x(), y())
    first = inner(x(0, min(step, n)), y(0, min(step, n)))
    for start in range(step, n, step):
        first += inner(x(start, min(start + step, n)), y(start, min(start + step, n)))
    return first


def moments_of(layer: Rows | Moments, name: str) -> LayerMoments:
    """Sum up a layer.

    Parameters
    ----------
    layer : Rows, or Moments of one layer
    name : str
        The argument's name, for errors.

    Raises
    ------
    ValueError
        If `layer` holds moments of no layer, of two, or of fewer than two datapoints, has a NaN or
        infinity, or no neuron varies.
    """
    if isinstance(layer, Moments):
        return _of_sums(layer, name)
    if not _in_blocks(layer):
        return _at_once(layer)
    gathered, (rows,) = swept(Swept, layer)
    return _of_sums(gathered, name, rows)


def joint_moments_of(x: Rows, y: Rows) -> tuple[LayerMoments, LayerMoments, Tensor | None]:
    """Sum up two layers in one sweep, and their products (p, q) where both take part in it.

    Raises
    ------
    ValueError
        If they differ in datapoints or device; as `moments_of`.
    """
    same_rows(len(x), len(y))
    if not (_in_blocks(x) and _in_blocks(y)):
        return moments_of(x, x.name), moments_of(y, y.name), None
    gathered, rows = swept(Swept, x, y)
    halves = zip(gathered.halves(), rows, strict=True)
    a, b = (_of_sums(half, z.name, z) for half, z in halves)
    return a, b, None if gathered.xy is None else gathered.xy.to(x.dtype)


def _in_blocks(layer: Rows) -> bool:
    """Whether a layer is summed up in blocks: more datapoints than neurons, in this memory."""
    return layer.device.type == "cpu" and not layer.requires_grad and len(layer) >= layer.shape[1]


def swept(kind: type[M], *layers: Rows) -> tuple[M, list[Rows]]:
    """Sum layers up, a second time where the values of one are too large or small to be squared.

    Returns
    -------
    moments : of the kind asked for
    layers : list of Rows
        In the units that the moments are in.
    """
    moments = kind()
    moments.sweep(layers)
    rows = [in_range(z, s) for z, s in zip(layers, moments.squares(), strict=True)]
    if any(new is not old for new, old in zip(rows, layers, strict=True)):
        moments = kind()
        moments.sweep(rows)
    return moments, rows


# Squares keep this distance from both ends of the range of their type.
_ROOM = 2.0**40


def in_range(layer: Rows, squares: Tensor) -> Rows:
    """The layer, times a power of two, which is exact, where the squares of its values are not.

    Raises
    ------
    ValueError
        If it has a NaN or infinity.
    """
    kind, largest = torch.finfo(layer.dtype), float(squares.max())
    if kind.tiny * _ROOM**2 < largest < kind.max / _ROOM:
        return layer
    extreme = layer.largest(BLOCK)
    if extreme == 0:
        return layer
    return replace(layer, scale=2.0 ** -max(-1022, math.frexp(extreme)[1]))


def _at_once(layer: Rows) -> LayerMoments:
    """Sum up a layer on a GPU, one with a gradient, or one of fewer datapoints than neurons."""
    rows, mean = centre(layer.block(0, len(layer)))
    n, p = rows.shape
    squares = (rows.detach() ** 2).mean(0) + mean.detach() ** 2
    if in_range(layer, squares) is not layer:
        return _at_once(in_range(layer, squares))
    gram = inner(rows if n >= p else rows.T)  # 15 times faster than the SVD of a tall layer
    varies = gram.diagonal() > 0 if n >= p else rows.any(dim=0)
    return LayerMoments(
        layer.name, n, mean, varies, gram, squares, Known(rows), layer.numpy, layer.rounding,
        layer.scale,
    )  # fmt: skip


def _of_sums(moments: Moments, name: str, layer: Rows | None = None) -> LayerMoments:
    """Moments of one layer; of its rows, where there are any."""
    ((mean, scatter),) = moments.only(name)
    eps = torch.finfo(scatter.dtype if layer is None else layer.dtype).eps
    # What is left of a constant neuron is rounding of the means of blocks.
    constant = scatter.diagonal() <= moments.n * (8 * eps * mean) ** 2
    if layer is None:
        _not_too_small(scatter.diagonal(), mean, name)
    some_variance(scatter.diagonal()[~constant].sum(), name, (moments.n, len(mean)))
    if bool(constant.any()):
        scatter = scatter.masked_fill(constant | constant[:, None], 0.0)
    squares = scatter.diagonal() / moments.n + mean**2
    rows = None if layer is None else Centred(layer, mean, ~constant)
    scale = 1.0 if layer is None else layer.scale
    found = LayerMoments(
        name, moments.n, mean, ~constant, scatter, squares, rows, moments.numpy,
        moments.rounding[0] if layer is None else layer.rounding, scale,
    )  # fmt: skip
    return found if layer is None else found.to(layer.dtype)


def _not_too_small(scatter: Tensor, mean: Tensor, name: str) -> None:
    """Raise where the squares of a stream vanished: it may vary, and nobody can tell.

    Raises
    ------
    ValueError
        If they did.
    """
    kind = torch.finfo(scatter.dtype)
    largest = float(mean.abs().max())
    if float(scatter.max()) < kind.tiny * _ROOM and 0 < largest < kind.tiny**0.5 * _ROOM:
        raise ValueError(
            f"{name} is too small to be squared in {scatter.dtype} (means up to {largest:.0e}); "
            f"multiply the batches by one power of two"
        )


def centre(x: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract the mean over datapoints (dimension 0); return the centred data and the mean.

    A neuron that strays from its mean by no more than rounding is constant and becomes exactly
    zero: a layer of constants would otherwise take what is left for signal.
    """
    mean = x.mean(dim=0)
    centred = difference(x, mean)
    rounding = 4 * torch.finfo(x.dtype).eps * mean.abs()
    # Two rows tell of most neurons that they vary; only the others are looked at in full.
    still = (centred[[0, -1]].abs() <= rounding).all(dim=0).nonzero()[:, 0]
    still = still[(centred[:, still].abs() <= rounding[still]).all(dim=0)]
    if len(still):
        centred = centred.index_fill(1, still, 0.0)
    return centred, mean
