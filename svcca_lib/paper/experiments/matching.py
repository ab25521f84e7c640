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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from svcca_lib import (
    FourierSubspace,
    SampleSizeWarning,
    capture,
)
from svcca_lib.fourier_pairs import FourierLayers, pairwise_dft_cca
from svcca_lib.paper.data.images import ImageData, spread
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.trained import TrainedNetwork
from svcca_lib.similarity import bound

Reading = Literal["flattened", "means"]
# Similarities that differ by less share a hit, by as much as they are near: what is equal but for
# rounding, as CCA is for all layers where images are few, would else be decided by it.
TIE = 1e-3
# Equation (1) divides by the neurons; this book's default divides by the directions kept.
OVER_NEURONS = "CCA, over neurons"
INDICES: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "CCA": ("cca", {}),
        OVER_NEURONS: ("svcca", {"keep": 1.0, "mean_over": "smaller_layer"}),
        "SVCCA": ("svcca", {}),
        "PWCCA": ("pwcca", {}),
        "linear regression": ("linear_regression", {}),
        "Procrustes": ("procrustes", {}),
        "CKA": ("cka", {}),
    }
)
FOURIER_KEEP: Mapping[str, float] = MappingProxyType({"CCA": 1.0, "SVCCA": 0.99})


@dataclass(frozen=True, eq=False)
class Matching:
    """Similarities of the layers of several networks, all pairs of networks.

    Attributes
    ----------
    tables : dict of str to array, shape (networks, networks, layers, layers)
        Index -> similarity of layer k of network i to layer l of network j.
    layers : tuple of str
    n : int
        Images.
    """

    tables: dict[str, np.ndarray]
    layers: tuple[str, ...]
    n: int

    def only(self, networks: Sequence[int]) -> Matching:
        """Return the same of some of the networks, by their positions."""
        at = np.ix_(networks, networks)
        return replace(self, tables={index: table[at] for index, table in self.tables.items()})

    def accuracy(self, index: str, off: int = 0) -> np.ndarray:
        """Share of the layers that find their counterpart, one value an ordered pair of networks.

        Layers that tie for the most similar share the hit: where every similarity is 1, the share
        is that of guessing. `off` layers up or down still count as found. See `hits`.
        """
        tables = self.tables[index]
        pairs = [(i, j) for i in range(len(tables)) for j in range(len(tables)) if i != j]
        return np.array([hits(tables[i, j], off) for i, j in pairs])

    def specificity(self, index: str) -> np.ndarray:
        """Share of layers that another seed changes less than one layer up or down does.

        One value an ordered pair of networks (Ding et al. 2021: a measure should tell layers of one
        network apart before it tells seeds apart). A tie counts as half a layer.
        """
        tables, layers = self.tables[index], len(self.layers)
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
    reading: Reading | Literal["dft"],
) -> Matching:
    """Compare the layers of all pairs of networks by every index that the reading allows.

    Parameters
    ----------
    runs : sequence of TrainedNetwork
        Finished networks of one architecture.
    data : ImageData
    store : Store
        Where the tables are kept.
    layers : sequence of str
    images : int
        Training images, at most.
    reading : {"flattened", "means", "dft"}
        Convolutional layers with every pixel of every channel a neuron (Kornblith's), by their
        spatial means, or one frequency at a time (CCA and SVCCA alone).

    Returns
    -------
    Matching
    """
    inputs = data.normalised(data.train_images[spread(len(data.train_images), images)])

    def make() -> tuple[dict[str, Tensor], dict[str, int]]:
        networks = [run.network() for run in runs]

        def responses(i: int) -> dict[str, Tensor]:
            return capture(networks[i], list(layers), inputs)

        if reading == "dft":
            tables = _by_frequency(len(runs), responses)
        else:
            tables = _by_index(len(runs), responses, reading)
        return {k: torch.from_numpy(v) for k, v in tables.items()}, {"n": len(inputs)}

    artefact = measured(
        store,
        "matching",
        runs,
        {
            "data": data.fingerprint,
            "layers": list(layers),
            "images": len(inputs),
            "reading": reading,
        },
        make,
        name=f"{runs[0].config.network.arch}-{data.name}-{reading}",
    )
    tables = {name: tensor.numpy() for name, tensor in artefact.tensors.items()}
    return Matching(tables, tuple(layers), artefact.meta["n"])


def _by_frequency(networks: int, responses: Any) -> dict[str, np.ndarray]:
    tables = {}
    for index, keep in FOURIER_KEEP.items():

        def gathered(i: int, keep: float = keep) -> FourierLayers:
            layers = responses(i)
            return FourierLayers.gather(
                (name, FourierSubspace.fit(layers.pop(name), keep)) for name in list(layers)
            )

        rows: dict[tuple[int, int], np.ndarray] = {}
        for i in range(networks):
            left = gathered(i)
            rows[i, i] = pairwise_dft_cca(left, left)[0]
            for j in range(i + 1, networks):
                rows[i, j] = pairwise_dft_cca(left, gathered(j))[0]
                rows[j, i] = rows[i, j].T
        tables[index] = _stacked(rows, networks)
    return tables


def _by_index(networks: int, responses: Any, reading: Reading) -> dict[str, np.ndarray]:
    tables: dict[str, np.ndarray] = {}
    # What no rotation changes is found in coordinates no wider than there are datapoints.
    widths, small = [], []
    for i in range(networks):
        layers = [_read(x, reading) for x in responses(i).values()]
        widths.append(np.array([layer.shape[1] for layer in layers]))
        small.append([coordinates(layer) for layer in layers])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SampleSizeWarning)  # it is what is shown
        for index, (measure, options) in INDICES.items():
            if index == OVER_NEURONS:  # as many as there were before the rotation: see below
                measure, options = INDICES["CCA"]
            chosen, prepare, compare = bound(measure, options)
            rotates = "orthogonal" in chosen.invariant_to

            def ready(i: int, prepare: Any = prepare, rotates: bool = rotates) -> list[Any]:
                layers = small[i] if rotates else [_read(x, reading) for x in responses(i).values()]
                return [prepare(x, "layer") for x in layers]

            # Whole layers of all networks at once would be gigabytes.
            kept = [ready(i) for i in range(networks)] if rotates else None
            rows: dict[tuple[int, int], np.ndarray] = {}
            for i in range(networks):
                left = kept[i] if kept else ready(i)
                rows[i, i] = _table(left, left, compare)
                for j in range(i + 1, networks):
                    right = kept[j] if kept else ready(j)
                    rows[i, j] = _table(left, right, compare)
                    rows[j, i] = rows[i, j].T if chosen.symmetric else _table(right, left, compare)
            if index == OVER_NEURONS:
                ranks = [np.array([layer.rank for layer in layers]) for layers in kept or ()]
                for i, j in rows:
                    directions = np.minimum.outer(ranks[i], ranks[j])
                    rows[i, j] = rows[i, j] * directions / np.minimum.outer(widths[i], widths[j])
            tables[index] = _stacked(rows, networks)
    return tables


def _table(left: list[Any], right: list[Any], compare: Any) -> np.ndarray:
    return np.array([[compare(a, b).similarity for b in right] for a in left])


def _stacked(rows: Mapping[tuple[int, int], np.ndarray], networks: int) -> np.ndarray:
    return np.stack([np.stack([rows[i, j] for j in range(networks)]) for i in range(networks)])


def _read(x: Tensor, reading: Reading) -> Tensor:
    """Turn a layer's responses (n, c, h, w) or (n, p) into rows, in float64."""
    if x.ndim == 2:
        return x.double()
    return x.double().mean((2, 3)) if reading == "means" else x.flatten(1).double()


def coordinates(x: Tensor) -> Tensor:
    """Rotate a layer into as few neurons as it has dimensions; distances stay as they are.

    Parameters
    ----------
    x : Tensor, shape (n, p)

    Returns
    -------
    Tensor, shape (n, min(n, p))
        Centred where p > n.
    """
    if x.shape[1] <= len(x):
        return x
    # Not by the products of the rows: squared, what the layer does not have looks like a direction.
    triangle: Tensor = torch.linalg.qr((x - x.mean(0)).T, mode="r").R
    return triangle.T
