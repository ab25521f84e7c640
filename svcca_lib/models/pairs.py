"""The second reading: only the kept directions' products, of as many pairs as the budget holds."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from torch import Tensor

from svcca_lib.inputs import rounding_of
from svcca_lib.models.budget import in_words
from svcca_lib.models.cells import Cell
from svcca_lib.models.layers import Layer
from svcca_lib.models.products import (
    Frame,
    Pieces,
    Products,
    Size,
    grouped,
    pair_bytes,
    pair_work,
    result_bytes,
)
from svcca_lib.models.rows import Reader
from svcca_lib.models.stream import Outputs, Stream
from svcca_lib.pair_moments import Batch

_log = logging.getLogger(__name__)

_Others: TypeAlias = Iterator[tuple[str, Pieces]]
SAME = 1e-4  # by how much, of its variance, a layer may differ between two readings of the data


@dataclass(frozen=True)
class Share:
    """Pairs of layers whose products are gathered in one reading.

    Attributes
    ----------
    held, met : tuple of str
        Layers of one side, which lie side by side, and those of the other that meet them.
    products, coordinates, outputs : int
        Bytes of the products; of the coordinates of a block of rows; of the outputs of a batch.
    """

    held: tuple[str, ...]
    met: tuple[str, ...]
    products: int
    coordinates: int
    outputs: int

    @property
    def bytes(self) -> int:
        """Bytes while it is gathered."""
        return self.products + self.coordinates + self.outputs


@dataclass(frozen=True)
class Plan:
    """How the products of all pairs are gathered.

    Attributes
    ----------
    shares : tuple of Share
        One reading of the data each.
    turned : bool
        Whether the layers held are those of the second model.
    block : int
        Rows whose coordinates are held at a time.
    beside : int
        Bytes that are held all the time: bases, results, rows.
    work : float
        Multiplications and additions of the products and their decompositions.
    weights : bool
        Whether there is room for what canonical weights are computed from.
    """

    shares: tuple[Share, ...]
    turned: bool
    block: int
    beside: int
    work: float
    weights: bool

    def facing(self, cell: Cell) -> Cell:
        """A pair as (layer held, layer that meets it)."""
        return cell[::-1] if self.turned else cell

    def cells(self, met: str, found: Mapping[str, Tensor]) -> dict[Cell, Tensor]:
        """Products of one layer, by pairs of a layer of the first model and one of the second."""
        if self.turned:
            return {(met, held): product.mH for held, product in found.items()}
        return {(held, met): product for held, product in found.items()}

    @property
    def bytes(self) -> int:
        """Most bytes that are held at a time."""
        return self.beside + max((share.bytes for share in self.shares), default=0)

    @property
    def products(self) -> int:
        """Bytes of the products of all pairs."""
        return sum(share.products for share in self.shares)


def planned(
    sides: Sequence[Mapping[str, Layer]],
    cells: Collection[Cell],
    budget: int,
    beside: int,
    *,
    rereads: bool,
    rows: int | None = None,
) -> Plan:
    """Divide pairs of layers into as few readings of the data as the budget allows.

    Parameters
    ----------
    sides : sequence of dict of str to Layer
        One side of a model with itself, else two.
    cells : collection of (str, str)
        Pairs that are asked for, of layers that vary.
    budget, beside : int
        Bytes, and those that are held already.
    rereads : bool
        Whether outputs of a batch are held meanwhile.
    rows : int, optional
        Hold the coordinates of this many rows, of both sides, rather than of a block of one.

    Raises
    ------
    ValueError
        If one pair alone does not fit.
    """
    both = sides[0], sides[-1]
    frames = [_frames(side) for side in both]
    names = [list(dict.fromkeys(cell[i] for cell in cells)) for i in (0, 1)]
    per_row = [np.array([frames[i][n].row for n in names[i]], dtype=np.int64) for i in (0, 1)]
    # The lighter side is read anew for every share of the other.
    turned = bool(len(sides) == 2 and per_row[1].sum() < per_row[0].sum())
    held, met = (1, 0) if turned else (0, 1)
    size = np.zeros((len(names[held]), len(names[met])), dtype=np.int64)
    places = [{name: i for i, name in enumerate(own)} for own in names]
    n, work = max((layer.n for side in sides for layer in side.values()), default=0), 0.0
    for cell in cells:
        a, b = (frames[i][cell[i]] for i in (held, met))
        size[places[held][cell[held]], places[met][cell[met]]] = pair_bytes(a, b)
        work += pair_work(a, b, n)
        beside += result_bytes(a, b)
    shapes = [[both[i][name].shape for name in names[i]] for i in (0, 1)]
    everything = [shape for own in shapes for shape in own]
    batch = max((s.rows for s in everything), default=1)
    widest = max((s.batch // s.rows for s in everything), default=0)
    output = [np.array([s.output * rereads for s in own], dtype=np.int64) for own in shapes]
    room = budget - beside
    block = rows or min(batch, max(16, room // 8 // max(1, int(per_row[held].sum()))))
    fixed = widest * (batch if rows else block)

    def share(some: Sequence[int], others: Sequence[int]) -> Share:
        products = size[np.ix_(some, others)].sum(0)
        coordinates = per_row[held][some].sum() * block * (1 if rows else 2)
        if rows:  # those of the other side as well, and one layer of it once more, permuted
            coordinates += rows * (per_row[met][others].sum() + per_row[met][others].max())
        outputs = output[held][some].sum() + output[met][others].sum()
        if len(sides) == 1:
            shared = {names[held][i] for i in some} & {names[met][j] for j in others}
            outputs -= sum(output[met][j] for j in others if names[met][j] in shared)
        return Share(
            held=tuple(names[held][i] for i in some),
            met=tuple(names[met][j] for j in others),
            products=int(products.max() if rows else products.sum()),
            coordinates=int(coordinates + fixed),
            outputs=int(outputs),
        )

    def heaviest(some: Sequence[int]) -> Share:
        """These beside the layer of the other side that takes most."""
        each = size[some].sum(0) + output[met] + per_row[met] * 2 * (rows or 0)
        return share(some, [int(each.argmax())])

    parts: list[list[int]] = []
    for i in range(len(names[held])):
        if parts and heaviest([*parts[-1], i]).bytes <= room:
            parts[-1].append(i)
            continue
        parts.append([i])
        if (worst := heaviest([i])).bytes > room:
            raise ValueError(
                f"layers {worst.held[0]!r} and {worst.met[0]!r} take {in_words(worst.bytes)} "
                f"together, and memory={in_words(budget)} leaves {in_words(max(room, 0))} beside "
                f"what all layers need; give more, smaller batches, or a reading with fewer neurons"
            )
    shares: list[Share] = []
    for part in parts:
        others = [int(j) for j in np.flatnonzero(size[part].any(0))]
        while others:
            k = 1
            while k < len(others) and share(part, others[: k + 1]).bytes <= room:
                k += 1
            shares.append(share(part, others[:k]))
            others = others[k:]
    plan = Plan(tuple(shares), turned, block, beside, work, weights=False)
    # Results hold their part of the products, padded to one width at all frequencies.
    fits = len(shares) == 1 and plan.bytes + 2 * plan.products <= budget
    return replace(plan, weights=fits)


def _frames(side: Mapping[str, Layer]) -> dict[str, Frame]:
    return {name: layer.frame for name, layer in side.items() if layer.frame is not None}


class Reading:
    """One more reading of the data, for the coordinates of the layers of a share."""

    def __init__(
        self,
        stream: Stream,
        reader: Reader,
        sides: Sequence[Mapping[str, Layer]],
        plan: Plan,
        share: Share,
    ) -> None:
        self._stream, self._reader, self._sides, self._plan = stream, reader, sides, plan
        self.share, self.groups = share, grouped({n: self._frame(True, n) for n in share.held})
        self._check = _SameData(sides)

    def _side(self, held: bool) -> int:
        return 0 if len(self._sides) == 1 or held != self._plan.turned else 1

    def _frame(self, held: bool, name: str) -> Frame:
        frame = self._sides[self._side(held)][name].frame
        assert frame is not None
        return frame

    def frames(self, *, held: bool) -> dict[str, Frame]:
        """Frames of the layers held, or of those that meet them."""
        return {n: self._frame(held, n) for n in (self.share.held if held else self.share.met)}

    def blocks(self, what: str) -> Iterator[tuple[dict[Size, Pieces], _Others]]:
        """Coordinates of the groups held, and one by one of the layers that meet them.

        Raises
        ------
        ValueError
            If the data are not those of the first reading.
        """
        wanted: list[set[str]] = [set() for _ in self._sides]
        for held, names in ((True, self.share.held), (False, self.share.met)):
            wanted[self._side(held)].update(names)
        for outputs in self._stream(what, tuple(wanted)):
            for rows in self._cut(outputs):
                own = {n: self._pieces(outputs, rows, True, n) for n in self.share.held}
                joined: dict[Size, Pieces] = {
                    size: group.join(own) for size, group in self.groups.items()
                }
                del own
                yield joined, self._others(outputs, rows, joined)
        if self._stream.rereads:
            self._check.done()

    def _cut(self, outputs: Outputs) -> Iterator[slice]:
        lengths = {len(output) for side in outputs for output in side.values()}
        name, one = next(iter(next(filter(None, outputs)).items()))
        inputs = max(1, self._plan.block // len(self._reader(one[:1], name)))
        if len(lengths) > 1:  # tokens are rows already, images are not: no cut fits both
            inputs = max(lengths)
        return (slice(start, start + inputs) for start in range(0, max(lengths), inputs))

    def _pieces(self, outputs: Outputs, rows: slice, held: bool, name: str) -> Pieces:
        side, frame = self._side(held), self._frame(held, name)
        output = outputs[side][name][rows]
        batch = self._reader.batch(self._reader(output, name), name, rounding_of(output))
        if self._stream.rereads:
            self._check.see(side, name, frame, batch)
        return frame.pieces(batch)

    def _others(
        self, outputs: Outputs, rows: slice, joined: Mapping[Size, Pieces]
    ) -> Iterator[tuple[str, Pieces]]:
        own = {n: group for group in self.groups.values() for n in group.names}
        for name in self.share.met:
            if len(self._sides) == 1 and name in own:
                yield name, own[name].of(joined[own[name].size], name)
            else:
                yield name, self._pieces(outputs, rows, False, name)


class _SameData:
    """Holds a second reading of the data against the first one."""

    def __init__(self, sides: Sequence[Mapping[str, Layer]]) -> None:
        self._sides = sides
        self._spread: dict[tuple[int, str], Tensor] = {}
        self._rows: dict[tuple[int, str], int] = {}

    def see(self, side: int, name: str, frame: Frame, batch: Batch) -> None:
        key, spread = (side, name), frame.spread(batch)
        self._spread[key] = self._spread[key] + spread if key in self._spread else spread
        self._rows[key] = self._rows.get(key, 0) + batch.n

    def done(self) -> None:
        for (side, name), spread in self._spread.items():
            layer, rows = self._sides[side][name], self._rows[side, name]
            if rows != layer.n:
                raise ValueError(
                    f"loader gave {layer.n} rows when it was read first and {rows} when it was "
                    f"read again; give one that can be read twice: a list, a tensor, a DataLoader"
                )
            apart = float((spread - layer.spread).norm() / layer.spread.norm())
            if not apart < SAME:
                raise ValueError(
                    f"layer {name!r} is not the same when the data are read again: its variances "
                    f"differ by {apart:.1g}; every reading must give the same data (no random "
                    f"augmentation, no dropout), in any order"
                )


def products_of(
    stream: Stream,
    reader: Reader,
    sides: Sequence[Mapping[str, Layer]],
    cells: Collection[Cell],
    plan: Plan,
) -> Iterator[dict[Cell, Tensor]]:
    """Products of the coordinates of each pair, those of one layer with all it meets at a time.

    Raises
    ------
    ValueError
        If the data are not those of the first reading.
    """
    for i, share in enumerate(plan.shares, 1):
        reading = Reading(stream, reader, sides, plan, share)
        left, right = reading.frames(held=True), reading.frames(held=False)
        products = Products(left, right, {plan.facing(cell) for cell in cells})
        for joined, others in reading.blocks(f"products of pairs, {i} of {len(plan.shares)}"):
            for name, pieces in others:
                products.add(joined, name, pieces)
        for name in share.met:
            yield plan.cells(name, products.take(name))
