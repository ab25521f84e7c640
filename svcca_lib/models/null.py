"""What the similarities of all pairs of layers would be if whole inputs were shuffled.

A permutation changes the products of pairs alone: the coordinates of every layer are held, and each
permutation, the same for all pairs, multiplies them anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from svcca_lib.measures.measure import Measure
from svcca_lib.models.cells import Cell, Cells, compared
from svcca_lib.models.layers import Layer
from svcca_lib.models.pairs import Plan, Reading
from svcca_lib.models.products import Frame, Pieces, Products, Size
from svcca_lib.models.rows import Reader
from svcca_lib.models.stream import Stream
from svcca_lib.permutations import members_of, orders_of


@dataclass
class Inputs:
    """Which rows come from one input, batch by batch, in the last reading of the data."""

    counts: list[int] = field(default_factory=list)  # inputs of each batch
    lengths: list[Tensor | None] = field(default_factory=list)  # rows of each, where they differ

    def add(self, count: int, lengths: Tensor | None) -> None:
        """Note a batch."""
        self.counts.append(count)
        self.lengths.append(lengths)

    def clear(self) -> None:
        """Begin another reading."""
        self.counts.clear()
        self.lengths.clear()

    def groups(self, rows: Sequence[int]) -> np.ndarray:
        """Return a label a row, of batches with so many rows.

        Raises
        ------
        ValueError
            If it is not known which rows belong together.
        """
        parts, first = [], 0
        for n, inputs, lengths in zip(rows, self.counts, self.lengths, strict=True):
            if lengths is not None and int(lengths.sum()) == n:
                repeats = lengths.cpu().numpy()
            elif n % inputs == 0:
                repeats = np.full(inputs, n // inputs)
            else:
                raise ValueError(
                    f"null= shuffles whole inputs, and {n} rows of a batch of {inputs} do not tell "
                    f"which belong together; read tokens by 'mean', 'first' or 'last'"
                )
            parts.append(np.repeat(np.arange(first, first + inputs), repeats))
            first += inputs
        return np.concatenate(parts)


def null_of(
    stream: Stream,
    reader: Reader,
    sides: Sequence[Mapping[str, Layer]],
    alive: Collection[Cell],
    cells: Cells,
    plan: Plan,
    measure: Measure[Any],
    inputs: Inputs,
    count: int,
    seed: int,
    progress: bool,
) -> dict[Cell, np.ndarray]:
    """Compare all pairs, and again after each of `count` permutations of whole inputs.

    Returns
    -------
    dict of (str, str) to array, shape (count,)
    """
    a, b = ({name: layer.prepared for name, layer in s.items()} for s in (sides[0], sides[-1]))
    asked = {plan.facing(cell) for cell in alive}
    null: dict[Cell, np.ndarray] = {}
    for i, share in enumerate(plan.shares, 1):
        reading = Reading(stream, reader, sides, plan, share)
        held, met, rows = _collected(reading, f"coordinates, {i} of {len(plan.shares)}")
        left, right = reading.frames(held=True), reading.frames(held=False)
        shuffled = list(orders_of(members_of(inputs.groups(rows), sum(rows)), count, seed))
        if plan.turned:  # those of the second model are shuffled, which are the ones held
            shuffled = [order.argsort() for order in shuffled]
        for name in tqdm(share.met, disable=not progress, unit="layer", desc="permutations"):
            pieces = met.pop(name)
            products = partial(_products, left, right[name], asked, held, name)
            cells.add(measure, a, b, [plan.cells(name, products(pieces))], weights=False)
            for j, order in enumerate(shuffled):
                again = plan.cells(name, products([part[order] for part in pieces]))
                for cell, result in compared(measure, a, b, again).items():
                    null.setdefault(cell, np.empty(count))[j] = result.similarity
    return null


def _products(
    left: Mapping[str, Frame],
    right: Frame,
    asked: Collection[Cell],
    held: Mapping[Size, Pieces],
    name: str,
    pieces: Pieces,
) -> dict[str, Tensor]:
    """Products of one layer with those held, over all rows."""
    sums = Products(left, {name: right}, asked)
    sums.add(held, name, pieces)
    return sums.take(name)


def _collected(
    reading: Reading, what: str
) -> tuple[dict[Size, list[Tensor]], dict[str, list[Tensor]], list[int]]:
    """Coordinates of all rows: of the groups held, of each layer that meets them; rows a block."""
    held: dict[Size, list[Pieces]] = {}
    met: dict[str, list[Pieces]] = {}
    rows: list[int] = []
    for joined, others in reading.blocks(what):
        for size, pieces in joined.items():
            held.setdefault(size, []).append(pieces)
        rows.append(len(next(iter(joined.values()))[0]))
        for name, pieces in others:
            met.setdefault(name, []).append([p.clone() for p in pieces])
    return (
        {size: _joined(held.pop(size)) for size in list(held)},
        {name: _joined(met.pop(name)) for name in list(met)},
        rows,
    )


def _joined(blocks: Sequence[Pieces]) -> list[Tensor]:
    return [torch.cat(parts) for parts in zip(*blocks, strict=True)]
