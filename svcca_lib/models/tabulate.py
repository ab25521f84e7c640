"""Two readings make a table: the moments of each layer, then the products of what was kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from svcca_lib.measures.measure import Measure
from svcca_lib.models.budget import SPEED, duration, in_words
from svcca_lib.models.cells import Cell, Cells
from svcca_lib.models.layers import Layer, gathered, nbytes
from svcca_lib.models.null import Inputs, null_of
from svcca_lib.models.pairs import Plan, planned, products_of
from svcca_lib.models.rows import Reader
from svcca_lib.models.stream import Stream

_log = logging.getLogger(__name__)


@dataclass
class Comparison:
    """Layers of one model, or of two, compared as their outputs come.

    Attributes
    ----------
    stream : Stream
    reader : Reader
    measure : str
    options : mapping
        Of the measure.
    budget : int
        Bytes.
    null, seed : int
        Permutations, and what they are drawn from.
    inputs : Inputs
        Which rows come from one input.
    progress : bool
    """

    stream: Stream
    reader: Reader
    measure: str
    options: Mapping[str, Any]
    budget: int
    null: int = 0
    seed: int = 0
    inputs: Inputs = field(default_factory=Inputs)
    progress: bool = True

    def chosen(self) -> Measure[Any]:
        """Return the measure, once it is known how layers are read."""
        return self.reader.measure(self.measure, self.options)

    def layers(self, known: Sequence[Mapping[str, Layer]] = ()) -> tuple[dict[str, Layer], ...]:
        """Prepare the layers of each side; those of the last ones may be known already."""
        began = time.perf_counter()
        sides = gathered(self.stream, self.reader, self.chosen, self.budget, known)
        self._seconds = time.perf_counter() - began
        return sides

    def cells(
        self, sides: Sequence[Mapping[str, Layer]], asked: Collection[Cell] | None = None
    ) -> tuple[Cells, dict[Cell, np.ndarray] | None]:
        """Compare pairs of layers, and again after permutations if any are asked for."""
        measure = self.chosen()
        left, right = (
            {name: layer.prepared for name, layer in side.items()} for side in (sides[0], sides[-1])
        )
        mirrored = len(sides) == 1 and measure.symmetric
        cells = Cells((tuple(left), tuple(right)), mirrored=mirrored, asked=asked)
        alive = [c for c in cells.missing() if left[c[0]] is not None and right[c[1]] is not None]
        plan = self.plan(sides, alive)
        if self.null:
            null = null_of(
                self.stream,
                self.reader,
                sides,
                alive,
                cells,
                plan,
                measure,
                self.inputs,
                self.null,
                self.seed,
                self.progress,
            )
            return cells, null
        found = products_of(self.stream, self.reader, sides, alive, plan)
        cells.add(measure, left, right, found, weights=plan.weights)
        return cells, None

    def plan(self, sides: Sequence[Mapping[str, Layer]], alive: Collection[Cell]) -> Plan:
        """Divide the pairs into readings, and say what they will take."""
        n = next(layer.n for side in sides for layer in side.values())
        plan = planned(
            sides,
            alive,
            self.budget,
            self.stream.held + sum(nbytes(layer.prepared) for s in sides for layer in s.values()),
            rereads=self.stream.rereads,
            rows=n if self.null else None,
        )
        readings = sum(share.outputs for share in plan.shares) / max(1, self._outputs(sides))
        seconds = readings * self._seconds + plan.work * (1 + self.null) / SPEED
        _log.info(
            "%d pairs of layers: products of %s, the data read %d more time(s), %s of memory at "
            "most (memory=%s), about %s",
            len(alive),
            in_words(plan.products),
            len(plan.shares),
            in_words(plan.bytes),
            in_words(self.budget),
            duration(seconds),
        )
        return plan

    @staticmethod
    def _outputs(sides: Sequence[Mapping[str, Layer]]) -> int:
        return sum(layer.shape.output for side in sides for layer in side.values())
