r"""Layers that share a signal of few dimensions and have noise of their own in all the others.

What should a similarity say of them? The signal is all there is to share, and it is shared
completely; but a mean over all canonical correlations counts every direction of noise as much as
one of signal (Morcos et al. 2018). The cut of SVCCA is meant to remove the noise; whether it does
depends on how much variance the noise has, and on which 99 % is meant.

References
----------
Morcos, Raghu and Bengio 2018, section 3. Raghu et al. 2017, Appendix B.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from svcca_lib import SampleSizeWarning
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.experiments.measures import OF_SUMS, similarity
from svcca_lib.paper.store.store import Store

EXPLORED = ("SVCCA, 99 % of variance", "PWCCA", "CKA")
MEASURES = ("mean CCA", "SVCCA, 99 % of variance", OF_SUMS, "PWCCA", "CKA")


def planted(
    n: int, p: int, signal: int, noise: float, seed: int = 0, own: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Two layers, (n, p), that share `signal` directions and have noise of their own in the others.

    Each is in a random basis, so that no single neuron is signal or noise. Standard deviations are
    1 of shared directions, `noise` of the others, and `own` of what each layer adds to all. With
    `own` at 0 the shared correlations are all 1, and PWCCA, whose weights are of single directions,
    hangs on which basis of them the arithmetic happens to find. ValueError if `signal` is not
    between 0 and p.
    """
    if not 0 <= signal <= p:
        raise ValueError(f"signal must be between 0 and the {p} neurons; got {signal}")
    rng = np.random.default_rng((seed, n, p, signal))
    shared = rng.normal(size=(n, signal))
    layers = [np.hstack([shared, noise * rng.normal(size=(n, p - signal))]) for _ in range(2)]
    x, y = (layer @ np.linalg.qr(rng.normal(size=(p, p)))[0] for layer in layers)
    if own:
        x, y = (z + own * rng.normal(size=z.shape) for z in (x, y))
    return x, y


def noise_of_its_own(layer: np.ndarray, signal: int, seed: int = 0, own: float = 0.0) -> np.ndarray:
    """Return a layer, (n, p), in which all but the leading directions is that of other images.

    The `signal` leading singular directions stay. The rest, shuffled, keeps its variance and loses
    its relation to the images. The leading directions at other images are added, times `own`; see
    `planted`.
    """
    centred = layer - layer.mean(axis=0)
    _, _, vt = np.linalg.svd(centred, full_matrices=False)
    kept = centred @ vt[:signal].T @ vt[:signal]
    order = np.random.default_rng(seed).permutation(len(layer))
    noisy: np.ndarray = kept + own * kept[order] + (centred - kept)[order]
    return noisy


def by_signal(
    pairs: Callable[[int], tuple[np.ndarray, np.ndarray]], signals: Sequence[int]
) -> dict[str, np.ndarray]:
    """Measure the pairs of layers that `pairs` gives for ever more shared directions.

    By each of `MEASURES`, (signals,).
    """
    made = [pairs(signal) for signal in signals]
    return {name: np.array([similarity(name, x, y) for x, y in made]) for name in MEASURES}


def below(
    first: np.ndarray, second: np.ndarray, names: Sequence[str], least: float = 1e-3
) -> list[str]:
    """Say where one measure is below another by more than `least`, and by how much.

    Examples
    --------
    >>> below(np.array([0.5, 1.0]), np.array([0.7, 1.0]), ["2 of 4", "4 of 4"])
    ['2 of 4 (by 0.200)']
    """
    short = np.subtract(second, first)
    return [f"{name} (by {by:.3f})" for name, by in zip(names, short, strict=True) if by > least]


def grid(
    store: Store,
    sizes: Sequence[int],
    neurons: Sequence[int],
    signals: Sequence[int],
    *,
    noise: float,
    draws: int,
) -> dict[str, np.ndarray]:
    """Measure planted layers by `EXPLORED`, averaged over draws: (sizes, neurons, signals) each.

    The axes are n, p and the number of shared directions, more than p of which are p.
    """
    values = {"sizes": sizes, "neurons": neurons, "signals": signals}
    shape = tuple(map(len, values.values()))

    def make() -> dict[str, np.ndarray]:
        found = {name: np.empty(shape) for name in EXPLORED}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SampleSizeWarning)  # it is what is shown
            for at, (n, p, d) in zip(np.ndindex(shape), product(*values.values()), strict=True):
                pairs = [planted(n, p, min(d, p), noise, seed) for seed in range(draws)]
                for name in EXPLORED:
                    found[name][at] = np.mean([similarity(name, *pair) for pair in pairs])
        return found

    config = {**{name: list(of) for name, of in values.items()}, "noise": noise, "draws": draws}
    return measured(store, "explorer", [], config, make, name="signal-and-noise")
