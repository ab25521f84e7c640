r"""Many ways to compute a cell of the paper's Figure 4, from few sums of each comparison.

The paper does not say how its convolutional layers entered, what exactly was cut, or what its
"weighted SVCCA scale" weighs. Here every pair of layers is compared under several readings of a
convolution and several cuts, and from what is kept of each comparison (the sums of the canonical
correlations and of their squares, and how many directions met) follow all scores that one might
take. Each is set against the paper's cells by rank and by value.

References
----------
Raghu et al. 2017, section 4.1, Figure 4. The cells of the published image are `published.figure_4`.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from svcca_lib import Subspace, capture, chance_correlation, positions_as_neurons
from svcca_lib._linalg import inner, one_thread_each, singular_values
from svcca_lib.fourier.convolutions import AROUND_THE_CENTRE
from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.experiments.inputs import Images, images_of
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.trained import TrainedNetwork

logger = logging.getLogger(__name__)

Places: TypeAlias = tuple[tuple[float, float], ...]
Divisor: TypeAlias = Literal["fewer kept", "more kept", "their mean"]

PERCENTS = (0, 35, 75, 100)  # of training: the panels of the figure
SUMS = ("correlations", "squares", "kept")  # of `Sums`


def _grid(side: int) -> Places:
    """Middles of a grid of equal fields."""
    middles = [(2 * i + 1) / (2 * side) for i in range(side)]
    return tuple((y, x) for y in middles for x in middles)


# Where a convolution is read: its channels at these places are the neurons; none: spatial means.
READINGS: Mapping[str, Places] = MappingProxyType(
    {
        "spatial means": (),
        "centre": ((0.5, 0.5),),
        "4 places around the centre": AROUND_THE_CENTRE,
        "4 places near the corners": (
            (1 / 8, 1 / 8),
            (1 / 8, 7 / 8),
            (7 / 8, 1 / 8),
            (7 / 8, 7 / 8),
        ),
        "16 places": _grid(4),
    }
)
# (keep, energy) of `Subspace.fit`
CUTS: Mapping[str, tuple[float, Literal["variance", "singular_values"]]] = MappingProxyType(
    {
        "99 % of the variance": (0.99, "variance"),
        "99 % of the singular values": (0.99, "singular_values"),
        "nothing cut": (1.0, "variance"),
    }
)


@dataclass(frozen=True)
class Score:
    """What is made of the correlations of two layers.

    Attributes
    ----------
    squared : bool
        Whether the squared correlations are summed.
    divisor : str
        What the sum is divided by: the directions kept of the layer with fewer, of the one with
        more, or the mean of both.
    less_chance : bool
        Whether the sum is moved so that independent layers score 0, and equal ones what they did.
    """

    squared: bool
    divisor: Divisor
    less_chance: bool

    @property
    def summed(self) -> str:
        """What is summed, in words."""
        power = "squares" if self.squared else "correlations"
        return f"{power}{', less chance' if self.less_chance else ''}"

    def __str__(self) -> str:
        return f"{self.summed}, over {self.divisor}"


@dataclass(frozen=True)
class Sums:
    """What comparisons of all layers leave, at each time, under one reading and one cut.

    Attributes
    ----------
    n : int
        Images.
    correlations, squares : array, shape (t, layers, layers)
        Sums of the canonical correlations, and of their squares; row: at that time, column: end.
    kept : array of int, shape (t, layers)
        Directions kept.
    """

    n: int
    correlations: np.ndarray
    squares: np.ndarray
    kept: np.ndarray

    def scored(self, score: Score) -> np.ndarray:
        """Return the matrices under a score, (t, layers, layers)."""
        rows, columns = self.kept[:, :, None], self.kept[-1][None, None, :]
        fewer, more = np.minimum(rows, columns), np.maximum(rows, columns)
        total = self.squares if score.squared else self.correlations
        if score.less_chance:
            chance = _chance(rows, columns, self.n, squared=score.squared)
            room = np.maximum(fewer - chance, np.finfo(float).tiny)  # none: any layers are equal
            total = np.where(chance < fewer, fewer * (total - chance) / room, 0.0)
        of = {"fewer kept": fewer, "more kept": more, "their mean": (fewer + more) / 2}
        scored: np.ndarray = total / of[score.divisor]
        return scored


def _chance(rows: np.ndarray, columns: np.ndarray, n: int, *, squared: bool) -> np.ndarray:
    """Sums of the correlations of independent layers, or of their squares."""

    @functools.cache
    def of(p: int, q: int) -> float:
        return min(p, q) * chance_correlation(p, q, n, squared=squared)

    found: np.ndarray = np.vectorize(of, otypes=[float])(*np.broadcast_arrays(rows, columns))
    return found


def read(layers: Mapping[str, Tensor], places: Places) -> dict[str, Tensor]:
    """Read layers as neurons: the input whole, convolutions at places, vectors as they are.

    Parameters
    ----------
    layers : mapping of str to Tensor, shape (n, c, h, w) or (n, p)
        From the input upward.
    places : sequence of (float, float)
        As in `svcca_lib.positions_as_neurons`; none for spatial means.
    """

    def neurons(i: int, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return x
        if i == 0:
            return x.flatten(1)
        read: Tensor = positions_as_neurons(x, places) if places else x.double().mean((2, 3))
        return read

    return {name: neurons(i, x) for i, (name, x) in enumerate(layers.items())}


def scan(
    run: TrainedNetwork,
    data: ImageData,
    store: Store,
    *,
    images: int,
    part: Literal["train", "test"] = "test",
    readings: Sequence[str] = tuple(READINGS),
    cuts: Sequence[str] = tuple(CUTS),
) -> dict[tuple[str, str], Sums]:
    """Compare all layers at the times of the figure with all layers at the end, in many ways.

    Parameters
    ----------
    run : TrainedNetwork
        With checkpoints at these times.
    data, store
        What it learnt from, and where the measurements are kept.
    images : int
        It is shown at most so many.
    part : {"test", "train"}
        Of the data.
    readings, cuts : sequence of str
        Of `READINGS` and `CUTS`.

    Returns
    -------
    dict of (reading, cut) to Sums, at `PERCENTS`
    """
    shown = images_of(data, images, part)
    ways = list(itertools.product(readings, cuts))

    def make() -> dict[str, np.ndarray]:
        neurons = [_neurons(run, shown, percent, readings) for percent in PERCENTS]
        found: dict[str, np.ndarray] = {}
        for at, (reading, cut) in enumerate(ways):
            logger.info("reading %s, %s", reading, cut)
            sums = _compared([layers[reading] for layers in neurons], cut)
            found |= {f"{at}-{part}": array for part, array in sums.items()}
        return found

    config = {"images": len(shown), "part": part, "readings": list(readings), "cuts": list(cuts)}
    found = measured(store, "figure-4-readings", [run], config, make, data=data)
    return {
        way: Sums(len(shown), *(found[f"{at}-{sums}"] for sums in SUMS))
        for at, way in enumerate(ways)
    }


def _neurons(
    run: TrainedNetwork, images: Images, percent: int, readings: Sequence[str]
) -> dict[str, list[Tensor]]:
    """Layers of a network under each reading, read batch by batch: no layer is held whole."""
    network = run.network(percent / 100)
    batches = [
        {reading: list(read(layers, READINGS[reading]).values()) for reading in readings}
        for layers in (capture(network, network.layers, batch) for batch in images.batches())
    ]
    return {
        reading: [torch.cat(parts) for parts in zip(*(b[reading] for b in batches), strict=True)]
        for reading in readings
    }


def _compared(times: Sequence[Sequence[Tensor]], cut: str) -> dict[str, np.ndarray]:
    """Sums of the correlations of all layers at each time with those at the last, by `SUMS`."""
    keep, energy = CUTS[cut]

    def basis(x: Tensor) -> Tensor:
        found: Tensor = Subspace.fit(x, keep, energy).basis
        return found

    end = one_thread_each(basis, times[-1])
    found: dict[str, list[np.ndarray]] = {name: [] for name in SUMS}
    for layers in times:
        rows = end if layers is times[-1] else one_thread_each(basis, layers)

        def sums(pair: tuple[Tensor, Tensor]) -> tuple[float, float]:
            rho = singular_values(inner(*pair)).clamp(max=1.0)
            return float(rho.sum()), float((rho**2).sum())

        cells = np.array(one_thread_each(sums, list(itertools.product(rows, end))))
        shape = len(rows), len(end)
        found["correlations"].append(cells[:, 0].reshape(shape))
        found["squares"].append(cells[:, 1].reshape(shape))
        found["kept"].append(np.array([b.shape[1] for b in rows]))
    return {name: np.stack(arrays) for name, arrays in found.items()}
