r"""What similarity is without anything to find: against the number of datapoints, and of pixels.

Kornblith et al. (2019) prove that a measure that no invertible map of the neurons changes is the
same for *all* layers of at least as many neurons as datapoints. CCA then is 1. Before that point it
is too high, and images whose responses were shuffled show by how much.

References
----------
Kornblith et al. 2019, section 3 (invertible linear maps). Raghu et al. 2017, section 3 (pixels).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from svcca_lib import (
    SampleSizeWarning,
    chance_correlation,
    channels_as_neurons,
    held_out_cca,
    svcca,
)
from svcca_lib.paper.experiments import measures

FOLDS = 5
HELD_OUT = "CCA, held out"
MEASURES = ("CCA", "SVCCA", "PWCCA", "CKA", "CKA, debiased", "Procrustes", HELD_OUT)


def similarity(measure: str, x: Tensor, y: Tensor) -> float:
    """Similarity of two layers, (n, p) and (n, q), by one of `MEASURES`.

    CCA on images that it was not fitted to is NaN where the fitting part cannot say which
    directions: two subspaces of together more dimensions than datapoints intersect, and what is in
    both has a correlation of 1, whichever basis of the intersection comes out.
    """
    if measure != HELD_OUT:
        return measures.similarity(measure, x, y)
    fitted = len(x) - -(-len(x) // FOLDS)
    determined = fitted > x.shape[1] + y.shape[1]
    return held_out_cca(x, y, folds=FOLDS).similarity if determined else float("nan")


@dataclass(frozen=True, eq=False)
class SampleSizes:
    """Similarity against the number of datapoints."""

    sizes: np.ndarray  # (m,), datapoints
    pairs: dict[str, dict[str, np.ndarray]]  # what was compared -> measure -> similarity, (m,)


def by_sample_size(
    x: Tensor,
    others: Mapping[str, Tensor],
    sizes: Sequence[int],
    seed: int = 0,
    by: Sequence[str] = MEASURES,
) -> SampleSizes:
    """Compare a layer (n, p) with others (n, q) on ever more datapoints, drawn in one random order.

    `seed` is that of the order and of one more pair, "shuffled": `x` with the first of `others` on
    other images.
    """
    rng = np.random.default_rng(seed)
    order = torch.from_numpy(rng.permutation(len(x)))
    first = next(iter(others.values()))
    layers = {**others, "shuffled": first[torch.from_numpy(rng.permutation(len(x)))]}
    pairs: dict[str, dict[str, np.ndarray]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SampleSizeWarning)  # it is what is shown
        for name, y in layers.items():
            pairs[name] = {
                measure: np.array([similarity(measure, x[order[:n]], y[order[:n]]) for n in sizes])
                for measure in by
            }
    return SampleSizes(np.array(sizes), pairs)


@dataclass(frozen=True)
class PixelChance:
    """SVCCA of two convolutional layers with pixels as datapoints, and three ideas of chance."""

    matched: float  # the layers as they are
    closed_form: float  # chance if every pixel were an independent datapoint
    pixels: float  # mean over shuffles of single pixels
    images: float  # mean over shuffles of whole images
    effective: float  # independent datapoints that would give the chance level of whole images
    rows: int  # pixels of all images


def pixel_chance(x: Tensor, y: Tensor, draws: int = 10, seed: int = 0) -> PixelChance:
    """Find the chance level of SVCCA with pixels as datapoints: shuffle pixels, and whole images.

    Of two layers of one size on the same images, (n, c, h, w), by `draws` shuffles of each kind.
    """
    generator = torch.Generator().manual_seed(seed)
    a, b = channels_as_neurons(x), channels_as_neurons(y)
    found = svcca(a, b)

    def order(z: Tensor) -> Tensor:
        return torch.randperm(len(z), generator=generator)

    pixels = [svcca(a, b[order(b)]).similarity for _ in range(draws)]
    images = [svcca(a, channels_as_neurons(y[order(y)])).similarity for _ in range(draws)]
    chance = float(np.mean(images))
    return PixelChance(
        matched=found.similarity,
        closed_form=float(found.chance or 0),
        pixels=float(np.mean(pixels)),
        images=chance,
        effective=_datapoints(found.x_kept or 1, found.y_kept or 1, chance, len(a)),
        rows=len(a),
    )


def _datapoints(p: int, q: int, chance: float, most: int) -> float:
    """Datapoints at which independent layers of p and q directions score `chance`, by bisection."""
    low, high = max(p, q) + 2, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if chance_correlation(p, q, middle) > chance else (low, middle)
    return float(high)
