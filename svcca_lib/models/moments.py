"""Moments of all layers of two networks, and of all pairs of layers, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor

from svcca_lib.inputs import rounding_of
from svcca_lib.measures.measure import Measure
from svcca_lib.models.cells import Cells
from svcca_lib.models.layers import prepared_layer
from svcca_lib.models.readings import Conv, Reading, Tokens
from svcca_lib.models.rows import Reader
from svcca_lib.models.table import LayerTable
from svcca_lib.pair_moments import Batch, PairMoments, accumulate, summed

Size: TypeAlias = tuple[int, ...]  # (h, w), or () of a layer without space
_Place: TypeAlias = tuple[Size, slice]  # which group, which columns of it


class NetworkMoments:
    """Streaming moments of all layers of one or two networks, and of all pairs of layers.

    Parameters
    ----------
    conv, tokens
        How layers are read, as in `compare`.

    Attributes
    ----------
    n : int
        Rows seen so far.
    readings : dict of str to str
        What the output of each layer was taken for, in words, if the layers were recorded.

    Notes
    -----
    Layers of one size are put side by side, so that each batch costs one matrix product for all
    pairs of them.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import NetworkMoments
    >>> rng = np.random.default_rng(0)
    >>> m = NetworkMoments()
    >>> for _ in range(3):
    ...     x = rng.normal(size=(50, 4))
    ...     m.update({"a": x, "b": x[:, :2]}, {"c": -x})
    >>> m.table("cca").matrix.round(6).tolist()
    [[1.0], [1.0]]
    """

    def __init__(self, *, conv: Conv = "dft", tokens: Tokens | None = None) -> None:
        self.reader = Reader(Reading(conv, tokens))
        self.readings: dict[str, str] = {}
        self._left: dict[str, PairMoments] = {}
        self._right: dict[str, PairMoments] | None = None
        # For each pair of sizes, layers side by side: (..., channels of left, channels of right).
        self._cross: dict[tuple[Size, Size], Tensor] = {}
        self._places: tuple[dict[str, _Place], dict[str, _Place]] = ({}, {})

    @property
    def reading(self) -> Reading:
        """How layers are read."""
        return self.reader.reading

    @property
    def n(self) -> int:
        """Rows seen so far."""
        return next((m.n for m in self._left.values()), 0)

    @property
    def nbytes(self) -> int:
        """Memory that is held, which does not depend on how many rows were seen."""
        singles = [*self._left.values(), *(self._right or {}).values()]
        return sum(m.nbytes for m in singles) + sum(t.nbytes for t in self._cross.values())

    def update(self, xs: Mapping[str, Any], ys: Mapping[str, Any] | None = None) -> None:
        """Add a batch of all layers.

        Parameters
        ----------
        xs, ys : dict of str to array_like, first dimension the batch
            Outputs of the layers of the first and second network: (batch, p), (batch, c, h, w) or
            (batch, tokens, d). `ys` left out, every time, means `xs` against itself.

        Raises
        ------
        TypeError, ValueError
            If a layer cannot be read as asked, layers differ in their number of datapoints, or a
            layer differs from the batches before.
        """
        if not xs or ys == {}:
            raise ValueError("a batch needs at least one layer of each network; got none")
        if not self._left:
            self.reader.meet(xs, ys or {})
            self._left = {name: self.reader.kind() for name in xs}
            self._right = None if ys is None else {name: self.reader.kind() for name in ys}
        if list(xs) != list(self._left) or (ys and list(ys)) != (self._right and list(self._right)):
            raise ValueError("every batch must hold the same layers, in the same order")

        left = {name: self._batch(x, name) for name, x in xs.items()}
        right = left
        if ys is not None:
            right = {name: self._batch(y, name) for name, y in ys.items()}
        self.reader.same_rows([(name, m.n) for side in (left, right) for name, m in side.items()])
        n, new = self.n, next(iter(left.values())).n
        # Chan's update needs the means before the batch.
        shift = (n * new / (n + new)) ** 0.5
        sides = [self._side(self._left, left, shift)]
        sides.append(sides[0] if self._right is None else self._side(self._right, right, shift))
        self._places = (sides[0].places, sides[1].places)
        for a, rows_a in sides[0].groups.items():
            for b, rows_b in sides[1].groups.items():
                x, y = self.reader.kind.meeting(rows_a, rows_b, (0, *a), (0, *b))
                if (a, b) not in self._cross:
                    self._cross[a, b] = (x[..., :1, :].mH @ y[..., :1, :]).zero_()
                accumulate(self._cross[a, b], x, y)
        for singles, batches in ((self._left, left), (self._right or {}, right)):
            for name, single in singles.items():
                single.add(batches[name])

    def all_reduce(self, group: dist.ProcessGroup | None = None) -> None:
        """Join the moments of every process of a torch.distributed group, in place on each.

        Works with any backend (gloo on CPUs, nccl on GPUs). Every process takes part, with at least
        one batch of its own.

        Raises
        ------
        RuntimeError
            If torch.distributed has not been initialised.
        ValueError
            If the processes hold other layers, or one holds none.
        """
        if not dist.is_available() or not dist.is_initialized():
            raise RuntimeError(
                "all_reduce needs an initialised process group; "
                "call torch.distributed.init_process_group first"
            )
        mine = [list(self._left), list(self._right or ()), list(self._cross)]
        found: list[Any] = [None] * dist.get_world_size(group)
        dist.all_gather_object(found, mine, group)
        if not self.n or any(other != found[0] for other in found):
            raise ValueError(
                "every process must hold the same layers, of at least one batch; "
                f"they hold {', '.join(str(len(left)) for left, *_ in found)} of the first model"
            )
        device = torch.device("cpu")
        if dist.get_backend(group) == "nccl":
            device = torch.device("cuda", torch.cuda.current_device())
        own = self.n
        sides = [self._left] if self._right is None else [self._left, self._right]
        before = [{name: m.means[0] for name, m in side.items()} for side in sides]
        for side in sides:
            for single in side.values():
                single.all_reduce(group)
        # As the scatters of single layers: each process moves its own to the common means.
        shifts: list[dict[Size, Tensor]] = []
        for side, means in zip(sides, before, strict=True):
            columns: dict[Size, list[Tensor]] = {}
            for name, single in side.items():
                size, _ = self._places[len(shifts)][name]
                columns.setdefault(size, []).append((means[name] - single.means[0])[..., None, :])
            shifts.append({size: torch.cat(parts, dim=-1) for size, parts in columns.items()})
        for (a, b), cross in self._cross.items():
            x, y = self.reader.kind.meeting(shifts[0][a], shifts[-1][b], (0, *a), (0, *b))
            accumulate(cross, x * own, y)
            cross.copy_(summed(cross, device, group))

    def table(self, measure: str = "svcca", **options: Any) -> LayerTable:
        """Compare all pairs of layers by one measure.

        Parameters
        ----------
        measure, **options
            As in `compare`.

        Returns
        -------
        LayerTable

        Raises
        ------
        TypeError, ValueError
            As `compare`, or if fewer than 2 rows were seen.
        """
        return self.tabulate(measure, options, stacklevel=3)

    def tabulate(
        self, measure: str, options: Mapping[str, Any], *, stacklevel: int = 2
    ) -> LayerTable:
        """As `table`, with the measure's options in a mapping; warnings name the caller's line."""
        if self.n < 2:
            raise ValueError(f"a comparison needs at least 2 rows (datapoints); got {self.n}")
        chosen = self.reader.measure(measure, options)
        left = {name: prepared_layer(chosen, m, name) for name, m in self._left.items()}
        right = left
        if self._right is not None:
            right = {name: prepared_layer(chosen, m, name) for name, m in self._right.items()}
        mirrored = self._right is None and chosen.symmetric
        cells = Cells((tuple(left), tuple(right)), mirrored=mirrored)
        alive = [c for c in cells.missing() if left[c[0]] is not None and right[c[1]] is not None]
        cells.add(
            chosen,
            left,
            right,
            ({(a, b): chosen.condensed(left[a], right[b], self._between(a, b))} for a, b in alive),
        )
        cells.warn(stacklevel)
        return cells.table(measure, self.n, str(self.reader.reading), self.readings)

    def measure(self, measure: str, options: Mapping[str, Any]) -> Measure[Any]:
        """Return the measure that compares layers read in this way; see `Reader.measure`."""
        return self.reader.measure(measure, options)

    def _batch(self, x: Any, name: str) -> Batch:
        return self.reader.batch(self.reader(x, name), name, rounding_of(x))

    def _side(
        self, singles: Mapping[str, PairMoments], batches: Mapping[str, Batch], shift: float
    ) -> _Side:
        """Put the layers of each size side by side, and the move of their means below."""
        columns: dict[Size, list[Tensor]] = {}
        places: dict[str, _Place] = {}
        for name, batch in batches.items():
            single = singles[name]
            single.match((*batch.sizes, *(0,) * len(batch.sizes)), batch.mean.device)
            single.numpy = True
            width, *size = batch.sizes
            group = columns.setdefault(tuple(size), [])
            start = sum(part.shape[-1] for part in group)
            places[name] = (tuple(size), slice(start, start + width))
            moved = (batch.mean - single.means[0])[..., None, :] * shift
            group.append(torch.cat([batch.centred, moved], dim=-2))
        return _Side(places, {size: torch.cat(parts, -1) for size, parts in columns.items()})

    def _between(self, a: str, b: str) -> Tensor:
        """Cross-scatter of two layers."""
        (size_a, columns_a), (size_b, columns_b) = self._places[0][a], self._places[1][b]
        return self._cross[size_a, size_b][..., columns_a, columns_b]


@dataclass(frozen=True, eq=False)
class _Side:
    """A batch of one network: where each layer is, and for each size the rows of its layers."""

    places: dict[str, _Place]
    groups: dict[Size, Tensor]
