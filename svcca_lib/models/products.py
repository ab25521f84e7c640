"""Products of the coordinates of pairs of layers, summed up batch by batch.

Layers of one side lie side by side, by size, so that each layer of the other side meets all of them
in one product a frequency, only as wide as what was kept there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from svcca_lib.fourier.grid import shared_frequencies
from svcca_lib.measures.measure import Coordinates
from svcca_lib.pair_moments import Batch

Size: TypeAlias = tuple[int, ...]  # (h, w), or () of a layer without space
Pieces: TypeAlias = Sequence[Tensor]  # (rows, kept) at each frequency; one of a layer without space


@dataclass(frozen=True, eq=False)
class Frame:
    """Where the coordinates of a layer are taken from.

    Attributes
    ----------
    mean : Tensor, shape (..., p)
        Over all datapoints.
    weights : Tensor, shape (..., p, k), or None
        From centred responses to coordinates; None where these are the responses.
    counts : ndarray of int, shape (frequencies,)
    size : tuple of int
    lifted : bool
        Whether the squared length of a row is one coordinate more; see `Measure.lifted`.
    """

    mean: Tensor
    weights: Tensor | None
    counts: np.ndarray
    size: Size
    lifted: bool = False

    @classmethod
    def of(
        cls, mean: Tensor, coordinates: Coordinates | None, size: Size, *, lifted: bool = False
    ) -> Frame:
        """Frame of a layer, from what its measure sees of it."""
        if coordinates is None:
            counts = np.full(1 if mean.ndim == 1 else len(mean), mean.shape[-1] + lifted)
            return cls(mean, None, counts, size, lifted)
        return cls(mean, coordinates.weights, np.array(coordinates.counts), size)

    @property
    def row(self) -> int:
        """Bytes of the coordinates of a datapoint."""
        return int(self.counts.sum()) * self.mean.element_size()

    def pieces(self, batch: Batch) -> list[Tensor]:
        """Coordinates of a batch."""
        moved = (batch.mean - self.mean)[..., None, :]
        if self.weights is None:
            values = batch.centred + moved
            if self.lifted:
                values = torch.cat([values, values.square().sum(-1, keepdim=True)], -1)
        else:
            values = batch.centred @ self.weights
            values += moved @ self.weights
        if values.ndim == 2:
            return [values]
        return [part[:, :k] for part, k in zip(values, self.counts.tolist(), strict=True)]

    def spread(self, batch: Batch) -> Tensor:
        """Sum of squares about the mean, of every neuron (..., p)."""
        own = torch.linalg.vector_norm(batch.centred, dim=-2).square()
        total: Tensor = own + batch.n * (batch.mean - self.mean).abs().square()
        return total


def meeting(a: Size, b: Size) -> tuple[list[int], list[int]]:
    """Positions of the frequencies that layers of two sizes share."""
    return shared_frequencies((a[0], a[1]), (b[0], b[1]))[:2] if a else ([0], [0])


def pair_bytes(a: Frame, b: Frame) -> int:
    """Bytes of the product of two layers."""
    at_a, at_b = meeting(a.size, b.size)
    return int(a.counts[at_a] @ b.counts[at_b]) * a.mean.element_size()


def pair_work(a: Frame, b: Frame, n: int) -> float:
    """Multiplications and additions of a product over n rows and of its decomposition."""
    at_a, at_b = meeting(a.size, b.size)
    p, q = a.counts[at_a].astype(float), b.counts[at_b].astype(float)
    each = float((p * q * (n + 8 * np.minimum(p, q))).sum())
    return each * (4 if a.mean.is_complex() else 1)


def result_bytes(a: Frame, b: Frame) -> int:
    """Bytes of what a result holds: correlations, and how many directions each frequency kept."""
    at_a, at_b = meeting(a.size, b.size)
    widest = int(np.minimum(a.counts[at_a], b.counts[at_b]).max(initial=0))
    return len(at_a) * (8 * widest + 32) + 2000


class Group:
    """Layers of one size, side by side at every frequency."""

    def __init__(self, size: Size, frames: Mapping[str, Frame]) -> None:
        self.size, self.names = size, list(frames)
        self.counts = np.stack([frame.counts for frame in frames.values()])  # (layers, F)
        self.starts = np.vstack([np.zeros_like(self.counts[:1]), self.counts.cumsum(0)])

    def join(self, pieces: Mapping[str, Pieces]) -> list[Tensor]:
        """Coordinates of all layers at every frequency."""
        each = [pieces[name] for name in self.names]
        return [torch.cat(parts, dim=1) for parts in zip(*each, strict=True)]

    def of(self, joined: Pieces, name: str) -> list[Tensor]:
        """Coordinates of one of the layers."""
        i = self.names.index(name)
        edges = zip(self.starts[i].tolist(), self.starts[i + 1].tolist(), strict=True)
        return [part[:, a:b] for part, (a, b) in zip(joined, edges, strict=True)]


def grouped(frames: Mapping[str, Frame]) -> dict[Size, Group]:
    """Layers by size."""
    sizes = dict.fromkeys(frame.size for frame in frames.values())
    return {
        size: Group(size, {name: f for name, f in frames.items() if f.size == size})
        for size in sizes
    }


class _Block:
    """Products of one layer with a run of neighbours in a group of the other side."""

    def __init__(self, group: Group, first: int, last: int, right: Frame) -> None:
        self.group, self.first, self.last = group, first, last
        self.at_left, self.at_right = meeting(group.size, right.size)
        self.low = group.starts[first][self.at_left]
        self.rows = group.starts[last][self.at_left] - self.low
        self.columns = right.counts[self.at_right]
        ends = (self.rows * self.columns).cumsum()
        self.offsets = np.concatenate([[0], ends]).tolist()
        self.sums = torch.zeros(self.offsets[-1], dtype=right.mean.dtype, device=right.mean.device)

    def parts(self) -> Iterator[Tensor]:
        """The product at every shared frequency, (rows, columns), as views."""
        shapes = zip(self.rows.tolist(), self.columns.tolist(), strict=True)
        for start, (p, q) in zip(self.offsets, shapes, strict=False):
            yield self.sums[start : start + p * q].view(p, q)

    def add(self, left: Pieces, right: Pieces) -> None:
        edges = zip(self.low.tolist(), (self.low + self.rows).tolist(), strict=True)
        places = zip(self.parts(), self.at_left, self.at_right, edges, strict=True)
        for part, f, g, (low, high) in places:
            if part.numel():
                part.addmm_(left[f][:, low:high].mH, right[g])

    def apart(self) -> dict[str, Tensor]:
        """The product with each of the neighbours: (p, q), or (F, p, q) padded with zeros."""
        names = self.group.names[self.first : self.last]
        counts = self.group.counts[self.first : self.last]
        if not self.group.size:
            apart = torch.split(next(self.parts()), counts[:, 0].tolist())
            return dict(zip(names, apart, strict=True))
        widest = int(counts.max()), int(self.columns.max(initial=0))
        padded = self.sums.new_zeros(len(names), len(self.at_left), *widest)
        for i, (f, part) in enumerate(zip(self.at_left, self.parts(), strict=True)):
            if not part.numel():
                continue
            if counts[0, f] * len(names) == len(part) and (counts[:, f] == counts[0, f]).all():
                each = part.view(len(names), -1, part.shape[1])
                padded[:, i, : each.shape[1], : each.shape[2]] = each
            else:
                member = np.repeat(np.arange(len(names)), counts[:, f])
                row = np.concatenate([np.arange(k) for k in counts[:, f]])
                padded[member, i, row, : part.shape[1]] = part
        return {name: padded[i, :, : int(counts[i].max())] for i, name in enumerate(names)}


class Products:
    """Products of some layers of one side with some of the other.

    Parameters
    ----------
    left, right : dict of str to Frame
    cells : collection of (left name, right name)
        The pairs that are asked for.
    """

    def __init__(
        self,
        left: Mapping[str, Frame],
        right: Mapping[str, Frame],
        cells: Collection[tuple[str, str]],
    ) -> None:
        self.groups = grouped(left)
        self._blocks: dict[str, list[_Block]] = {
            name: [
                _Block(group, first, last, frame)
                for group in self.groups.values()
                for first, last in _runs([(other, name) in cells for other in group.names])
            ]
            for name, frame in right.items()
        }

    def add(self, left: Mapping[Size, Pieces], name: str, right: Pieces) -> None:
        """Add a batch: the groups of the left, and one layer of the right."""
        for block in self._blocks[name]:
            block.add(left[block.group.size], right)

    def take(self, name: str) -> dict[str, Tensor]:
        """Products of a layer of the right with those of the left; they are let go here."""
        found: dict[str, Tensor] = {}
        for block in self._blocks.pop(name):
            found |= block.apart()
        return found


def _runs(asked: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """First and last + 1 of each run of neighbours that are asked for."""
    edges = np.flatnonzero(np.diff([False, *asked, False]))
    return iter(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
