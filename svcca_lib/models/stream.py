"""Outputs of layers, batch by batch, as often as they are needed.

What was read once is kept while it is small: the rows of all layers, or the batches of a loader
that can be read only once. Else the loader is read again and the models run again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from svcca_lib.models.budget import in_words

Outputs: TypeAlias = tuple[dict[str, Tensor], ...]  # of one model, or of two
Wanted: TypeAlias = tuple[Collection[str], ...] | None


class Stream:
    """The layers of one model or of two over a data set.

    Parameters
    ----------
    outputs : callable
        ``outputs(what, wanted)`` reads the loader once and gives the outputs of every batch.
    keep : int
        Bytes of rows that are kept for the next time.
    """

    def __init__(self, outputs: Callable[[str, Wanted], Iterator[Outputs]], keep: int) -> None:
        self._outputs = outputs
        self._keep = keep
        self._kept: list[list[dict[str, Tensor]]] = []
        self._whole = False  # whether what is kept is everything
        self.held = 0

    @property
    def rereads(self) -> bool:
        """Whether the next reading runs the models again."""
        return not self._whole

    def __call__(self, what: str, wanted: Wanted = None) -> Iterator[Outputs]:
        """Outputs of each batch; those that are read may be taken out of the dicts."""
        if not self._whole:
            yield from self._outputs(what, wanted)
            return
        for sides in self._kept:
            yield tuple(
                {name: side[name] for name in names}
                for side, names in zip(sides, wanted or sides, strict=True)
            )

    def keep(self, sides: list[dict[str, Tensor]]) -> None:
        """Keep the rows of a batch, unless they become too many."""
        self.held += sum(t.nbytes for side in sides for t in side.values())
        self._kept.append(sides)
        if self.held > self._keep:
            self.drop()

    def of_side(self, side: int) -> Stream:
        """The kept rows of one of the models alone, apart from this stream."""
        alone = Stream(_gone, self._keep)  # not self: it would hold its own past, and so on
        for sides in self._kept:
            alone.keep([sides[side]])
        alone.done()
        return alone

    def drop(self) -> None:
        """Keep nothing."""
        self._kept, self._keep, self.held = [], -1, 0

    @property
    def room(self) -> int:
        """Bytes that rows may take."""
        return max(self._keep, 0)

    @property
    def keeps(self) -> bool:
        """Whether rows are still being kept."""
        return self._keep >= 0

    def done(self) -> None:
        """Say that all batches were kept."""
        self._whole = self.keeps


def _gone(what: str, wanted: Wanted) -> Iterator[Outputs]:
    raise AssertionError("these rows are kept, and nothing can be read again")


class Held:
    """Batches of a loader that can be read only once, held to be read again.

    Parameters
    ----------
    source : iterator
    limit : float
        Bytes.
    """

    def __init__(self, source: Iterator[Any], limit: float) -> None:
        self.source = source
        self._limit = limit
        self._held: list[Any] = []
        self._bytes = 0

    def __iter__(self) -> Iterator[Any]:
        yield from self._held
        for batch in self.source:
            self._bytes += _size(batch)
            if self._bytes > self._limit:
                raise ValueError(
                    f"loader can be read only once, its batches take more than the "
                    f"{in_words(self._limit)} of memory= that there are to hold them, and the "
                    f"products of all layers at full width do not fit either; give a list, a "
                    f"tensor or a DataLoader, which can be read twice, or more memory="
                )
            if self._limit < math.inf:
                self._held.append(batch)
            yield batch

    def let_go(self) -> None:
        """Hold nothing: the loader is read once."""
        self._held, self._limit = [], math.inf


def _size(batch: Any) -> int:
    if isinstance(batch, (Tensor, np.ndarray)):
        return int(batch.nbytes)
    if isinstance(batch, Mapping):
        return sum(map(_size, batch.values()))
    if isinstance(batch, Iterable) and not isinstance(batch, (str, bytes, torch.nn.Module)):
        return sum(map(_size, batch)) if isinstance(batch, (tuple, list)) else 0
    return 64
