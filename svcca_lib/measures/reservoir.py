"""A stream of any length becomes a sample of its rows, for measures that need rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from svcca_lib.errors import is_whole, same_rows
from svcca_lib.inputs import ArrayLike, as_tensor
from svcca_lib.outputs import handed_out


class Reservoir:
    """A uniform sample of the rows of one layer, or of a pair of layers, from a stream.

    Every row draws a random key, and the rows of the smallest keys stay. Which rows these are
    depends on the seed and on their place in the stream alone: not on the batches, nor on the
    layer, so that reservoirs of one seed hold the same datapoints of every layer they were fed
    with. What several workers sampled merges into a uniform sample of all they saw.

    Parameters
    ----------
    size : int, default 2048
        Rows kept; all of them while fewer were seen.
    seed : int, default 0
        The same seed keeps the same rows. Workers whose reservoirs will be merged need one each.

    Attributes
    ----------
    n : int
        Rows seen so far.

    Notes
    -----
    A measure of the sample scatters around that of all rows, and says in ``n`` how many rows it
    saw. Neighbourhoods are of the sample: with the rows k neighbours grow apart or closer, so that
    only samples of one size compare.

    References
    ----------
    Efraimidis and Spirakis, "Weighted random sampling with a reservoir", Information Processing
    Letters 97 (2006), with equal weights.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import Reservoir, mutual_knn
    >>> rng = np.random.default_rng(0)
    >>> r = Reservoir(200)
    >>> for _ in range(20):
    ...     x = rng.normal(size=(100, 4))
    ...     r.update(x, x + 0.1 * rng.normal(size=(100, 4)))
    >>> found = mutual_knn(r)
    >>> r.n, found.n, found.similarity > 0.5
    (2000, 200, True)
    """

    def __init__(self, size: int = 2048, seed: int = 0) -> None:
        if not is_whole(size) or size < 2:
            raise ValueError(f"size must be a whole number of rows, at least 2; got {size!r}")
        self.size = int(size)
        self.n = 0
        self.numpy = False
        self._random = np.random.default_rng(seed)
        self._seeds = {seed}
        self._keys = np.empty(0)
        self._layers: list[Tensor] = []

    def update(self, x: ArrayLike, y: ArrayLike | None = None) -> None:
        """Add a batch.

        Parameters
        ----------
        x : array_like, shape (batch, p) or (batch, c, h, w)
            Responses of the first layer.
        y : array_like, datapoints first, optional
            Responses of the second layer to the same datapoints.

        Raises
        ------
        TypeError, ValueError
            If a batch is not a finite real array of such a shape, the two differ in rows, or the
            sizes are not those of the batches before.
        """
        batch = [_checked(x, "x")]
        if y is not None:
            batch.append(_checked(y, "y"))
            same_rows(*map(len, batch))
        self._match(batch)
        self.numpy = isinstance(x, np.ndarray)
        self._keep(self._random.random(len(batch[0])), batch)
        self.n += len(batch[0])

    def merge(self, other: Reservoir) -> None:
        """Add what another worker sampled; `other` is left as it is.

        Raises
        ------
        TypeError, ValueError
            If `other` is no reservoir, has another size or the same seed, or holds layers of other
            sizes.
        """
        if not isinstance(other, Reservoir):
            raise TypeError(f"merge takes another Reservoir; got {type(other).__name__}")
        if other.size != self.size:
            raise ValueError(f"both reservoirs must be of one size; got {self.size}, {other.size}")
        if shared := self._seeds & other._seeds:
            raise ValueError(
                f"rows of one seed are chosen together: give each worker its own; both have "
                f"{min(shared)}"
            )
        self._seeds |= other._seeds
        if not other.n:
            return
        self._match(other._layers)
        self.numpy = other.numpy
        self._keep(other._keys, other._layers)
        self.n += other.n

    @property
    def paired(self) -> bool | None:
        """Whether this samples two layers; None before the first batch."""
        return len(self._layers) == 2 if self._layers else None

    @property
    def x(self) -> Any:
        """Rows of the first layer, shape (min(n, size), ...); None before the first batch."""
        return handed_out(self._layers[0], numpy=self.numpy) if self._layers else None

    @property
    def y(self) -> Any:
        """Rows of the second layer; None where there is none."""
        return handed_out(self._layers[1], numpy=self.numpy) if self.paired else None

    def both(self) -> tuple[Any, Any]:
        """Return the rows of both layers.

        Raises
        ------
        ValueError
            If there is a single layer, or none.
        """
        if not self.paired:
            what = "a single layer" if self.n else "nothing"
            raise ValueError(f"x must be a Reservoir of two layers (update(x, y)); it holds {what}")
        return self.x, self.y

    @property
    def nbytes(self) -> int:
        """Memory that is held."""
        return sum(layer.nbytes for layer in self._layers) + self._keys.nbytes

    def _match(self, batch: list[Tensor]) -> None:
        shapes = [tuple(layer.shape[1:]) for layer in batch]
        if not self._layers:
            self._layers = [layer[:0].clone() for layer in batch]
        before = [tuple(layer.shape[1:]) for layer in self._layers]
        if shapes != before:
            raise ValueError(
                f"expected layers of shapes {before} as in the batches before; got {shapes}"
            )

    def _keep(self, keys: np.ndarray, batch: list[Tensor]) -> None:
        """Keep the rows of the smallest keys, in the order of their keys."""
        if len(self._keys) == self.size:
            chosen = np.flatnonzero(keys < self._keys[-1])
            keys, batch = keys[chosen], [_rows(layer, chosen) for layer in batch]
        joined = np.concatenate([self._keys, keys])
        order = np.argsort(joined, kind="stable")[: self.size]
        self._keys = joined[order]
        self._layers = [
            _rows(torch.cat([held, new.to(held)]), order)
            for held, new in zip(self._layers, batch, strict=True)
        ]

    def __repr__(self) -> str:
        if not self._layers:
            return f"Reservoir(empty, size={self.size})"
        sizes = ", ".join(str(tuple(layer.shape[1:])) for layer in self._layers)
        return f"Reservoir({len(self._keys)} of {self.n} rows, layers of {sizes})"


def _checked(x: Any, name: str) -> Tensor:
    """Check a batch and keep the precision it came in."""
    tensor = as_tensor(x, name, ndim=(2, 4), min_rows=1).detach()
    kept = x.dtype if isinstance(x, Tensor) else getattr(torch, str(x.dtype), torch.float64)
    return tensor.to(kept if kept.is_floating_point else torch.float64)


def _rows(layer: Tensor, chosen: np.ndarray) -> Tensor:
    return layer[torch.from_numpy(chosen).to(layer.device)]
