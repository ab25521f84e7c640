r"""The six ways to read the paper's definition, on the same networks: what each makes of them.

What 99 % is of: the variance (section 2) or the sum of the singular values (Appendix A). What the
sum of the correlations is divided by: the directions kept (which gives a diagonal of 1, as in the
paper's Figure 4), the neurons of the smaller layer (equation 1), or a weighting (the colour bar of
Figure 4; the paper defines none, ours weighs by explained variance).

References
----------
Raghu et al. 2017, section 2, equation (1), Appendix A, Figure 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from svcca_lib import FourierSubspace, dft_cca
from svcca_lib.measures.canonical import MeanOver
from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.experiments.crossings import settling_times
from svcca_lib.paper.experiments.inputs import Images, images_of
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.experiments.ranks import (
    RankCorrelation,
    depth_correlation,
    matrix_correlation,
    nearness,
)
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.trained import TrainedNetwork
from svcca_lib.subspace import Energy

ENERGIES: tuple[Energy, ...] = ("variance", "singular_values")
MEANS: tuple[MeanOver, ...] = ("kept", "smaller_layer", "weighted")
DEFINITIONS = tuple(product(ENERGIES, MEANS))  # the first is this book's


@dataclass(frozen=True, eq=False)
class Defined:
    """Similarities by the six definitions, in the order of `DEFINITIONS`.

    Attributes
    ----------
    own : array, shape (6, times, layers)
        Each layer during training against itself at the end (Appendix Figure 3).
    seeds, chance : array, shape (6, layers)
        Each layer at the end against the same layer of another network (Appendix Figure 4), and
        what independent layers that keep as many directions would score.
    layers : array, shape (6, layers, layers)
        All pairs of layers at the end (Figure 4, 100 %).
    kept : array, shape (2, layers)
        Directions kept at the end, for each of `ENERGIES`; of a convolution, of all frequencies.
    """

    own: np.ndarray
    seeds: np.ndarray
    chance: np.ndarray
    layers: np.ndarray
    kept: np.ndarray
    neurons: np.ndarray  # (layers,)
    n: int  # images

    @property
    def widest_ratio(self) -> float:
        """Directions that one kind of 99 % keeps for each of the other, in the extreme layer."""
        return float((self.kept.max(axis=0) / self.kept.min(axis=0).clip(1)).max())

    def bottom_up(self, fractions: Sequence[float], threshold: float) -> list[RankCorrelation]:
        """Correlate depth and settling time by every definition, without the last layer.

        A layer has settled where its similarity to the end stays above `threshold` of what it is
        at the end: over neurons, a layer is not 1 with itself.
        """
        return [
            depth_correlation(settling_times(fractions, own / own[-1], threshold)[:-1])
            for own in self.own
        ]

    def orders(self) -> np.ndarray:
        """Rank correlation of each definition's matrix of layers with that of the first, (6,)."""
        return np.array([matrix_correlation(m, self.layers[0], draws=1).rho for m in self.layers])

    @property
    def depth_alone(self) -> float:
        """The same for a matrix that knows nothing but that near layers are alike."""
        near = nearness(self.layers.shape[1])
        return matrix_correlation(near, self.layers[0], draws=1).rho


def six_definitions(
    run: TrainedNetwork,
    other: TrainedNetwork,
    data: ImageData,
    store: Store,
    *,
    layers: Sequence[str],
    fractions: Sequence[float],
    images: int,
) -> Defined:
    """Compare layers in time, across seeds and with each other by all six definitions.

    `run` and `other` differ in their seed; the last fraction is 1. Convolutional layers go through
    the DFT (`svcca_lib.dft_cca`), as in the chapter on dynamics.
    """
    shown = images_of(data, images)

    def make() -> dict[str, np.ndarray]:
        own = np.ones((len(DEFINITIONS), len(fractions), len(layers)))
        seeds, chance = np.ones((2, len(DEFINITIONS), len(layers)))
        between = np.ones((len(DEFINITIONS), len(layers), len(layers)))
        kept = np.zeros((len(ENERGIES), len(layers)))
        end = _fits(run, 1.0, layers, shown)
        for state, fraction in ((other, 1.0), *((run, f) for f in fractions[:-1])):
            for j, both in enumerate(_fits(state, fraction, layers, shown)):
                found = [_compared(a, b) for a, b in zip(both, end[j], strict=True)]
                similarities, by_chance = np.concatenate(found, axis=1)
                if state is other:
                    seeds[:, j], chance[:, j] = similarities, by_chance
                else:
                    own[:, fractions.index(fraction), j] = similarities
        for e in range(len(ENERGIES)):
            at = slice(len(MEANS) * e, len(MEANS) * (e + 1))
            for j in range(len(layers)):
                layer = end[j][e]
                kept[e, j] = np.asarray(layer.counts) @ np.asarray(layer.multiplicities)
                for i in range(j + 1):
                    between[at, i, j] = between[at, j, i] = _compared(end[i][e], layer)[0]
        own[:, -1] = between.diagonal(axis1=1, axis2=2)
        neurons = [layer[0].channels * layer[0].size[0] * layer[0].size[1] for layer in end]
        arrays = {"own": own, "seeds": seeds, "chance": chance, "layers": between, "kept": kept}
        return arrays | {"neurons": np.array(neurons, dtype=np.float64)}

    found = measured(
        store,
        "forks",
        [run, other],
        {"layers": list(layers), "fractions": list(fractions), "images": len(shown)},
        make,
        data=data,
    )
    return Defined(**found, n=len(shown))


def _fits(
    run: TrainedNetwork, fraction: float, layers: Sequence[str], shown: Images
) -> list[list[FourierSubspace]]:
    """Decompose each layer of a network, once for each of `ENERGIES`."""
    responses = shown.responses(run.network(fraction), layers)
    found = []
    for layer in layers:
        x = responses.pop(layer)
        found.append([FourierSubspace.fit(x, 0.99, energy) for energy in ENERGIES])
    return found


def _compared(a: FourierSubspace, b: FourierSubspace) -> np.ndarray:
    """Similarity and chance of two layers, of one decomposition for all `MEANS`: (2, 3)."""
    found = dft_cca(a, b, mean_over="weighted")
    directions = min(found.x_kept or 0, found.y_kept or 0)
    total = float(np.asarray(found.multiplicities) @ np.asarray(found.correlations).sum(axis=1))
    neurons = min(layer.channels * layer.size[0] * layer.size[1] for layer in (a, b))
    similarities = {
        "kept": min(1.0, total / max(directions, 1)),
        "smaller_layer": total / neurons,
        "weighted": found.similarity,
    }
    chance = found.chance or 0.0
    # What is not kept is a correlation of 0; weights that know nothing of each other leave the mean
    by_chance = {"smaller_layer": chance * directions / neurons}
    return np.array(
        [[similarities[mean] for mean in MEANS], [by_chance.get(mean, chance) for mean in MEANS]]
    )
