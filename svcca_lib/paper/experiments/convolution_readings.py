r"""What a similarity of convolutional layers says under each reading of a convolution.

The readings are those of `svcca_lib.compare` (its ``conv``), and the DFT without a cut.

References
----------
Raghu et al. 2017, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from svcca_lib import channels_as_neurons, dft_cca, pixels_as_neurons, svcca
from svcca_lib.paper.experiments.inputs import shuffled

READINGS: Mapping[str, str] = MappingProxyType(
    {
        "dft": "DFT, 99 % of the layer (this chapter)",
        "dft-uncut": "DFT, nothing cut",
        "channels": "channels are neurons, pixels datapoints",
        "mean": "spatial means",
        "pixels": "every pixel a neuron",
    }
)


@dataclass(frozen=True)
class Reading:
    """What one reading of two layers gives, and what independent layers would; None: impossible."""

    similarity: float | None
    chance: float | None

    @property
    def possible(self) -> bool:
        """Whether the two layers can be read so."""
        return self.similarity is not None


def readings(x: Tensor, y: Tensor, keep: float = 0.99, seed: int = 0) -> dict[str, Reading]:
    """Compare two layers, (n, c, h, w) or (n, c), under each of `READINGS`.

    Pixels can be datapoints only if both layers have the same height and width, and neurons only if
    there are more images than neurons. Where pixels are datapoints, chance is taken from shuffled
    images: pixels of one image are not independent, and a closed form would be far too low.
    """
    pooled = [layer.double().mean((2, 3)) if layer.ndim == 4 else layer for layer in (x, y)]
    flat = [pixels_as_neurons(layer) if layer.ndim == 4 else layer for layer in (x, y)]
    results = {
        "dft": dft_cca(x, y, keep=keep),
        "dft-uncut": dft_cca(x, y, keep=1.0),
        "mean": svcca(*pooled, keep=keep),
    }
    if max(layer.shape[1] for layer in flat) + 1 < len(x):
        results["pixels"] = svcca(*flat, keep=keep)
    found = dict.fromkeys(READINGS, Reading(None, None))
    found |= {name: Reading(result.similarity, result.chance) for name, result in results.items()}
    if x.ndim == y.ndim == 4 and x.shape[2:] == y.shape[2:]:
        value, floor = (
            svcca(channels_as_neurons(x), channels_as_neurons(other), keep=keep).similarity
            for other in (y, shuffled(y, seed))
        )
        found["channels"] = Reading(value, floor)
    return found
