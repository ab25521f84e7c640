r"""What things cost by the clock: CCA of convolutional layers, flat and in the Fourier basis.

Appendix C of the paper gives, for k channels of n x n pixels, :math:`(k n^2)^{2.5}` for the CCA of
the flat layers and :math:`k n \log n + n^2 k^{2.5}` for DFT-CCA. Times depend on the machine and on
what else runs there; how they grow does so much less.

References
----------
Raghu et al. 2017, Appendix C.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from svcca_lib import cca, dft_cca, pixels_as_neurons


@dataclass(frozen=True)
class Cost:
    """Seconds that one comparison of two layers, (images, channels, side, side), took."""

    images: int
    channels: int
    side: int
    flat: float  # CCA of the flat layers
    fourier: float  # DFT-CCA


def cost(images: int, channels: int, side: int, *, repeats: int = 3, seed: int = 0) -> Cost:
    """Time both on independent noise, the best of some repeats.

    ValueError without more images than neurons, ``channels * side**2``: there is no flat CCA then.
    """
    neurons = channels * side**2
    if images <= neurons + 1:
        raise ValueError(f"a flat CCA of {neurons} neurons needs more images; got {images}")
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, images, channels, side, side, dtype=torch.float64, generator=generator)
    flat_x, flat_y = pixels_as_neurons(x), pixels_as_neurons(y)
    return Cost(
        images,
        channels,
        side,
        **seconds(
            {
                "flat": lambda: cca(flat_x, flat_y).correlations,
                "fourier": lambda: dft_cca(x, y).correlations,
            },
            repeats,
        ),
    )


def predicted(channels: int, side: int) -> tuple[float, float]:
    """Return the operations of flat and of Fourier CCA by Appendix C, up to constants."""
    k, n = float(channels), float(side)
    return (k * n**2) ** 2.5, k * n * np.log(n) + n**2 * k**2.5


def slope(sizes: np.ndarray, values: np.ndarray) -> float:
    """Exponent of the power law that fits best, in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def seconds(
    works: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 0
) -> dict[str, float]:
    """Time pieces of work, after some rounds of warming up; the least of all times of each counts.

    They take turns, so that a machine that is busy for a while is so for all of them, and what else
    runs can only add to a time.
    """
    least = dict.fromkeys(works, float("inf"))
    for i in range(warm_up + repeats):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if i >= warm_up:
                least[name] = min(least[name], time.perf_counter() - started)
    return least
