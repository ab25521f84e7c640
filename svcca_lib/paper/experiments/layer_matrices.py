r"""Layers during training against layers at its end: the matrices of the paper's Figure 4.

References
----------
Raghu et al. 2017, section 4.1, Figure 4, Appendix Figures 3 and 4.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from svcca_lib.fourier.pairs import FourierLayers, pairwise_dft_cca
from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.experiments.decomposed import decomposed
from svcca_lib.paper.experiments.inputs import images_of
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.trained import TrainedNetwork

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Matrices:
    """Similarity of the layers of one network, at several times, to those of a finished one."""

    fractions: tuple[float, ...]  # of training, ascending
    layers: tuple[str, ...]  # names, from the input upward
    labels: tuple[str, ...]  # what the paper calls them
    similarity: np.ndarray  # (t, layers, layers); row: at that time; column: finished
    chance: np.ndarray  # (t, layers, layers), what independent layers of these sizes would give
    n: int  # images

    def at(self, fraction: float) -> np.ndarray:
        """Return the matrix at one of `fractions`, shape (layers, layers)."""
        matrix: np.ndarray = self.similarity[self.fractions.index(fraction)]
        return matrix

    @property
    def own(self) -> np.ndarray:
        """Similarity of each layer to its own final state, shape (t, layers)."""
        return self.similarity.diagonal(axis1=1, axis2=2)


def layer_matrices(
    run: TrainedNetwork,
    data: ImageData,
    store: Store,
    *,
    images: int,
    fractions: Sequence[float] | None = None,
    final: TrainedNetwork | None = None,
    keep: float = 0.99,
) -> Matrices:
    """Compare every layer of a network on its way with every layer of a finished network.

    At all times that the run has kept, and with `run` itself at its end, by default. Each layer is
    decomposed once for each time, as `decomposed` says. The bases of two networks are in memory: at
    most 8 n h w c bytes a convolutional layer of c channels, less by what the cut leaves out.
    """
    final = final or run
    times = tuple(run.fractions if fractions is None else fractions)
    network, shown = run.network(times[-1]), images_of(data, images)

    def make() -> dict[str, np.ndarray]:
        columns = FourierLayers.gather(decomposed(final.network(), shown, keep))
        found = []
        for fraction in times:
            logger.info("layers of %s at %g of training", run.config.network.arch, fraction)
            if final is run and fraction == 1.0:
                found.append(pairwise_dft_cca(columns, columns))
            else:  # without a name: gone before those of the next time come
                rows = decomposed(run.network(fraction), shown, keep)
                found.append(pairwise_dft_cca(FourierLayers.gather(rows), columns))
        similarity, chance = map(np.stack, zip(*found, strict=True))
        return {"similarity": similarity, "chance": chance}

    found = measured(
        store,
        "layer-similarity",
        [run] if final is run else [run, final],
        {"images": len(shown), "fractions": times, "keep": keep},
        make,
        data=data,
    )
    return Matrices(times, network.layers, network.labels, **found, n=len(shown))
