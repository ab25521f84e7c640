"""Products of pairs of layers become similarities, and these a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from svcca_lib._linalg import on_cpu, one_thread_each
from svcca_lib.measures.dft_cca import FourierSimilarity
from svcca_lib.measures.measure import Measure
from svcca_lib.measures.pairwise import warn_once
from svcca_lib.measures.similarity import Similarity
from svcca_lib.models.table import LayerTable

Cell: TypeAlias = tuple[str, str]

# Where memory is short all the same.
ADVICE = "choose fewer layers, conv='mean' for convolutions, a smaller batch_size, or less memory="


@dataclass(frozen=True)
class Turned:
    """Canonical weights of two layers that trade places."""

    weights: Callable[[], tuple[Any, Any]]

    def __call__(self) -> tuple[Any, Any]:
        """Return the weights of x, and those of y."""
        x, y = self.weights()
        return y, x


@dataclass(frozen=True)
class NoWeights:
    """Stands for canonical weights that a table had no memory for."""

    def __call__(self) -> tuple[Any, Any]:
        """Say what to do.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(
            "canonical weights of all pairs did not fit the memory of this table; compare these "
            "two layers alone, give more memory=, or call svcca on what `capture` gives"
        )


def compared(
    measure: Measure[Any], a: Mapping[str, Any], b: Mapping[str, Any], found: Mapping[Cell, Tensor]
) -> dict[Cell, Similarity]:
    """Compare pairs of prepared layers, of which the products are known.

    Small decompositions are worth no more than a thread: the pairs share the threads.
    """
    items = list(found.items())

    def one(item: tuple[Cell, Tensor]) -> Similarity:
        (x, y), product = item
        result: Similarity = measure.compare(a[x], b[y], product)
        return result

    many = len(items) >= 2 * torch.get_num_threads() > 2 and on_cpu(items[0][1])
    results = one_thread_each(one, items) if many else list(map(one, items))
    return dict(zip(found, results, strict=True))


def turned(result: Similarity) -> Similarity:
    """The result of a symmetric measure for the same two layers in the other order."""
    if isinstance(result, FourierSimilarity):
        result = replace(result, sizes=(result.sizes[1], result.sizes[0]))
    return replace(
        result,
        x_kept=result.y_kept,
        y_kept=result.x_kept,
        weights=result.weights and Turned(result.weights),
    )


def without_weights(result: Similarity) -> Similarity:
    """The result without what its canonical weights would be computed from."""
    return result if result.weights is None else replace(result, weights=NoWeights())


class Cells:
    """Results of the pairs of a table, as they come.

    Parameters
    ----------
    names : pair of sequences of str
        Layers of both models.
    mirrored : bool
        One model with itself by a symmetric measure: half of the pairs tell the others.
    asked : collection of (str, str), optional
        The pairs that are asked for; all by default.
    """

    def __init__(
        self,
        names: tuple[Sequence[str], Sequence[str]],
        *,
        mirrored: bool,
        asked: Collection[Cell] | None = None,
    ) -> None:
        self.names, self.mirrored = names, mirrored
        self.asked = dict.fromkeys(asked or [(a, b) for a in names[0] for b in names[1]])
        self.results: dict[Cell, Similarity] = {}
        self.cautions: dict[str, str | None] = {}

    def missing(self) -> list[Cell]:
        """Pairs to be compared."""
        if not self.mirrored:
            return list(self.asked)
        place = {name: i for i, name in enumerate(self.names[0])}
        ordered = (sorted(cell, key=place.__getitem__) for cell in self.asked)
        return list(dict.fromkeys((a, b) for a, b in ordered))

    def add(
        self,
        measure: Measure[Any],
        a: Mapping[str, Any],
        b: Mapping[str, Any],
        found: Iterable[Mapping[Cell, Tensor]],
        *,
        weights: bool = True,
    ) -> None:
        """Compare pairs as their products come."""
        for products in found:
            for (x, y), result in compared(measure, a, b, products).items():
                caution = measure.caution(result, a[x], b[y])
                self.cautions[f"{x!r} with {y!r}"] = caution
                self.results[x, y] = result if weights else without_weights(result)

    def of(self, cell: Cell, measure: str, n: int) -> Similarity:
        """The result of a pair; NaN of layers that are constant."""
        if cell in self.results:
            return self.results[cell]
        if self.mirrored and cell[::-1] in self.results:
            return turned(self.results[cell[::-1]])
        return Similarity(measure, math.nan, n)

    def warn(self, stacklevel: int) -> None:
        """Warn once of pairs with too few datapoints."""
        ordered = {f"{a!r} with {b!r}": None for a, b in self.missing()}
        known = {pair: self.cautions[pair] for pair in ordered if pair in self.cautions}
        warn_once(known, stacklevel + 1)

    def table(
        self,
        measure: str,
        n: int,
        reading: str,
        readings: Mapping[str, str],
        null: Mapping[Cell, np.ndarray] | None = None,
    ) -> LayerTable:
        """All results as a table."""
        every = [(a, b) for a in self.names[0] for b in self.names[1]]
        results = [self.of(cell, measure, n) for cell in every]
        shape = len(self.names[0]), len(self.names[1])
        shuffled = None
        if null is not None:
            count = len(next(iter(null.values()), ()))
            nothing = np.full(count, math.nan)
            if self.mirrored:
                null = {cell[::-1]: values for cell, values in null.items()} | dict(null)
            each = [null.get(cell, nothing) for cell in every]
            shuffled = np.array(each).T.reshape(count, *shape)
        return LayerTable(
            matrix=np.array([r.similarity for r in results]).reshape(shape),
            layers_a=tuple(self.names[0]),
            layers_b=tuple(self.names[1]),
            n=n,
            measure=measure,
            reading=reading,
            readings=dict(readings),
            results=results,
            null=shuffled,
        )
