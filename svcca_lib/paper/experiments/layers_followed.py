r"""The layers of a network followed to their own ends: when each has come to its final state.

The cells are those of the matrices of Figure 4, without the many that say nothing of it.

References
----------
Raghu et al. 2017, section 4.1, Appendix Figure 3.
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
class Followed:
    """The layers of one network, each against its own end, and all pairs of them at the end."""

    fractions: tuple[float, ...]  # of training, ascending, the last being 1
    labels: tuple[str, ...]  # what the paper calls the layers, from the input upward
    own: np.ndarray  # (t, layers), similarity of each layer to its own final state
    end: np.ndarray  # (layers, layers), all pairs of layers of the finished network
    chance: np.ndarray  # (layers, layers), of independent layers
    n: int  # images


def follow(
    run: TrainedNetwork,
    data: ImageData,
    store: Store,
    *,
    images: int,
    fractions: Sequence[float],
    keep: float = 0.99,
) -> Followed:
    """Compare every layer with its own end, and all layers with each other only at the end.

    Arguments are as of `layer_matrices.layer_matrices`. ValueError if the last time is not 1.
    """
    times = tuple(fractions)
    if times[-1] != 1:
        raise ValueError(f"layers are followed to the end of training, 1; got {times[-1]:g}")
    shown = images_of(data, images)

    def make() -> dict[str, np.ndarray]:
        final = FourierLayers.gather(decomposed(run.network(), shown, keep))
        end, chance = pairwise_dft_cca(final, final)
        own = []
        for fraction in times[:-1]:
            logger.info("layers of %s at %g of training", run.config.network.arch, fraction)
            layers = decomposed(run.network(fraction), shown, keep)
            own.append(
                [
                    pairwise_dft_cca(FourierLayers.gather([(name, layer)]), final.only(name))[0][
                        0, 0
                    ]
                    for name, layer in layers
                ]
            )
        return {"own": np.array([*own, end.diagonal()]), "end": end, "chance": chance}

    found = measured(
        store,
        "layers-followed",
        [run],
        {"images": len(shown), "fractions": times, "keep": keep},
        make,
        data=data,
    )
    return Followed(times, run.network().labels, **found, n=len(shown))
