"""Which layer of another network is this one? Layers matched across seeds by each measure.

The test of Kornblith et al. (2019): of two networks of one architecture and two seeds, take a layer
of the first and find the most similar layer of the second. A measure that sees what layers have in
common should name the layer at the same depth.

References
----------
Kornblith et al. 2019, section 6.1.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from svcca_lib import FourierSubspace, SampleSizeWarning
from svcca_lib.fourier.pairs import FourierLayers, pairwise_dft_cca
from svcca_lib.measures.registry import measure_named
from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.experiments.inputs import images_of
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.experiments.measures import NAMED, OVER_NEURONS
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.trained import TrainedNetwork

# Of a convolution, in the words of `svcca_lib.compare`: every pixel of every channel a neuron
# (Kornblith's), spatial means, or one frequency at a time.
Reading = Literal["pixels", "mean", "dft"]
# Similarities that differ by less share a hit, by as much as they are near: what is equal but for
# rounding, as CCA is for all layers where images are few, would else be decided by it.
TIE = 1e-3
MEASURES = ("CCA", OVER_NEURONS, "SVCCA", "PWCCA", "linear regression", "Procrustes", "CKA")
FOURIER_KEEP: Mapping[str, float] = MappingProxyType({"CCA": 1.0, "SVCCA": 0.99})  # those by DFT

Responses = Callable[[int], dict[str, Tensor]]  # of the layers of one of the networks


@dataclass(frozen=True, eq=False)
class Matching:
    """Similarities of the layers of several networks, all pairs of networks.

    Each table is (networks, networks, layers, layers): layer k of network i to layer l of network j
    is at [i, j, k, l].
    """

    tables: dict[str, np.ndarray]  # measure -> table
    layers: tuple[str, ...]
    n: int  # images

    def only(self, networks: Sequence[int]) -> Matching:
        """Return the same of some of the networks, by their positions."""
        at = np.ix_(networks, networks)
        return replace(self, tables={name: table[at] for name, table in self.tables.items()})

    def accuracy(self, measure: str, off: int = 0) -> np.ndarray:
        """Share of the layers that find their counterpart, one value an ordered pair of networks.

        Layers that tie for the most similar share the hit: where every similarity is 1, the share
        is that of guessing. `off` layers up or down still count as found. See `hits`.
        """
        tables = self.tables[measure]
        pairs = [(i, j) for i in range(len(tables)) for j in range(len(tables)) if i != j]
        return np.array([hits(tables[i, j], off) for i, j in pairs])

    def specificity(self, measure: str) -> np.ndarray:
        """Share of layers that another seed changes less than one layer up or down does.

        One value an ordered pair of networks (Ding et al. 2021: a measure should tell layers of one
        network apart before it tells seeds apart). A tie counts as half a layer.
        """
        tables, layers = self.tables[measure], len(self.layers)
        found = []
        for i in range(len(tables)):
            neighbours = [
                max(tables[i, i, k, m] for m in (k - 1, k + 1) if 0 <= m < layers)
                for k in range(layers)
            ]
            for j in range(len(tables)):
                if i != j:
                    ahead = tables[i, j].diagonal() - neighbours
                    found.append((0.5 + ahead / (2 * TIE)).clip(0, 1).mean())
        return np.array(found)

    def ranges(self, what: Literal["accuracy", "specificity"]) -> np.ndarray:
        """Mean, smallest and largest value over pairs of networks, (measures, 3); NaN: not read so.

        In the order of `MEASURES`.
        """
        found = np.full((len(MEASURES), 3), np.nan)
        for row, measure in zip(found, MEASURES, strict=True):
            if measure in self.tables:
                values = getattr(self, what)(measure)
                row[:] = values.mean(), values.min(), values.max()
        return found


def hits(table: np.ndarray, off: int = 0) -> float:
    """Share of rows whose largest value is at most `off` from the diagonal; equal ones share it.

    Values less than `TIE` below the largest have a share that falls to 0 there, so that no hit
    hangs on the last digits.

    Examples
    --------
    >>> import numpy as np
    >>> hits(np.array([[0.9, 0.1], [0.8, 0.7]])), hits(np.ones((4, 4)))
    (0.5, 0.25)
    """
    share = (1 - (table.max(axis=1, keepdims=True) - table) / TIE).clip(0)
    at = np.arange(len(table))
    near = np.abs(at[:, None] - at) <= off
    return float(((share * near).sum(axis=1) / share.sum(axis=1)).mean())


def match(
    runs: Sequence[TrainedNetwork],
    data: ImageData,
    store: Store,
    *,
    layers: Sequence[str],
    images: int,
    reading: Reading,
) -> Matching:
    """Compare the layers of all pairs of finished networks by all measures that the reading allows.

    The networks are of one architecture. Under "dft" there are CCA and SVCCA alone.
    """
    shown = images_of(data, images)

    def make() -> dict[str, np.ndarray]:
        networks = [run.network() for run in runs]

        def responses(i: int) -> dict[str, Tensor]:
            return shown.responses(networks[i], layers)

        if reading == "dft":
            return _by_frequency(len(runs), responses)
        return _by_measure(len(runs), responses, reading)

    config = {"layers": list(layers), "images": len(shown), "reading": reading}
    name = f"{runs[0].config.network.arch}-{data.name}-{reading}"
    tables = measured(store, "matching", runs, config, make, data=data, name=name)
    return Matching(tables, tuple(layers), len(shown))


def _by_frequency(networks: int, responses: Responses) -> dict[str, np.ndarray]:
    def gathered(i: int, keep: float) -> FourierLayers:
        layers = responses(i)
        return FourierLayers.gather(
            (name, FourierSubspace.fit(layers.pop(name), keep)) for name in list(layers)
        )

    return {
        name: _all_pairs(
            networks,
            lambda i, keep=keep: gathered(i, keep),  # type: ignore[misc]
            lambda left, right: pairwise_dft_cca(left, right)[0],
            symmetric=True,
        )
        for name, keep in FOURIER_KEEP.items()
    }


def _by_measure(networks: int, responses: Responses, reading: Reading) -> dict[str, np.ndarray]:
    # What no rotation changes is found in coordinates no wider than there are datapoints.
    widths, small = [], []
    for i in range(networks):
        layers = [_read(x, reading) for x in responses(i).values()]
        widths.append(np.array([layer.shape[1] for layer in layers]))
        small.append([coordinates(layer) for layer in layers])
    tables: dict[str, np.ndarray] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SampleSizeWarning)  # it is what is shown
        for name in MEASURES:
            # As many neurons as there were before the rotation: see below
            measure = measure_named(*NAMED["CCA" if name == OVER_NEURONS else name])
            rotates = "orthogonal" in measure.invariant_to

            def ready(i: int, measure: Any = measure, rotates: bool = rotates) -> list[Any]:
                layers = small[i] if rotates else [_read(x, reading) for x in responses(i).values()]
                return [measure.prepare(x, "layer") for x in layers]

            def table(left: list[Any], right: list[Any], measure: Any = measure) -> np.ndarray:
                return np.array([[measure.compare(a, b).similarity for b in right] for a in left])

            # Whole layers of all networks at once would be gigabytes.
            kept = [ready(i) for i in range(networks)] if rotates else None
            layers_of = kept.__getitem__ if kept else ready
            tables[name] = _all_pairs(networks, layers_of, table, symmetric=measure.symmetric)
            if name == OVER_NEURONS:
                ranks = np.array([[layer.rank for layer in layers] for layers in kept or ()])
                directions, neurons = (
                    np.minimum(of[:, None, :, None], of[None, :, None, :])
                    for of in (ranks, np.array(widths))
                )
                tables[name] = tables[name] * directions / neurons
    return tables


def _all_pairs(
    networks: int,
    layers_of: Callable[[int], Any],
    table: Callable[[Any, Any], np.ndarray],
    *,
    symmetric: bool,
) -> np.ndarray:
    """Compare all pairs, (networks, networks, layers, layers); two networks are held at once."""
    rows: dict[tuple[int, int], np.ndarray] = {}
    for i in range(networks):
        left = layers_of(i)
        rows[i, i] = table(left, left)
        for j in range(i + 1, networks):
            right = layers_of(j)
            rows[i, j] = table(left, right)
            rows[j, i] = rows[i, j].T if symmetric else table(right, left)
    everyone = range(networks)
    return np.array([[rows[i, j] for j in everyone] for i in everyone])


def _read(x: Tensor, reading: Reading) -> Tensor:
    """Turn a layer's responses (n, c, h, w) or (n, p) into rows, in float64."""
    if x.ndim == 4 and reading == "mean":
        return x.double().mean((2, 3))
    return x.flatten(1).double()


def coordinates(x: Tensor) -> Tensor:
    """Rotate a layer (n, p) into min(n, p) neurons; distances stay as they are.

    The result is centred where p > n.
    """
    if x.shape[1] <= len(x):
        return x
    # Not by the products of the rows: squared, what the layer does not have looks like a direction.
    triangle: Tensor = torch.linalg.qr((x - x.mean(0)).T, mode="r").R
    return triangle.T
