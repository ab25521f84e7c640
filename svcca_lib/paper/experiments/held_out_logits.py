r"""How much of every class's logit a layer holds, where it was not fitted.

With a logit on one side, CCA is a linear reading of it from the layer. Fitted and judged on the
same images it grows with the number of channels; with as many channels as images it is 1 whatever
they hold. Here readings are fitted on nine tenths of the images and judged on the last, in ten
folds. As in SVCCA they read the leading directions of the layer. How many of them is chosen in each
fold, for all logits at once, by leaving out one after another of the nine tenths: so no class has a
cut of its own, and nothing that judges has chosen.

The curve of a class is its correlation in each layer. Curves that are measured on the same images
have errors in common, and those of similar classes more so; a distance between them is estimated
without that from two halves of the images, each fitted and judged apart:

.. math:: d^2_{ab} = \frac1L \sum_l (\rho^{(1)}_{al} - \rho^{(1)}_{bl})
                                     (\rho^{(2)}_{al} - \rho^{(2)}_{bl}).

References
----------
Allen, "The relationship between variable selection and data augmentation and a method for
prediction", Technometrics 16 (1974): what leaving out one after another would give.
Walther et al., "Reliability of dissimilarity measures for multi-voxel pattern analysis", NeuroImage
137 (2016): distances from independent halves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from svcca_lib import Subspace
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.store.store import Store

CUTS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)  # shares of a layer's variance
FOLDS = 10


@dataclass(frozen=True, eq=False)
class Readings:
    """Logits read from layers, in sums over each fold of what was read and what was to be read."""

    sums: np.ndarray  # (layers, folds, 3, classes), centred in each fold
    cuts: np.ndarray  # (layers, folds): the share of the variance that was read from

    @property
    def folds(self) -> int:
        """How many there are."""
        return int(self.sums.shape[1])

    def curves(self, kept: Sequence[int] | None = None) -> np.ndarray:
        """Correlation of each logit with its reading over some folds, shape (layers, classes).

        Over all of them for None. 0 where nothing was read.
        """
        folds = range(self.folds) if kept is None else kept
        pp, yy, py = np.moveaxis(self.sums[:, list(folds)].sum(1), 1, 0)
        norms = np.sqrt(pp * yy)
        found: np.ndarray = np.divide(py, norms, out=np.zeros_like(py), where=norms > 0)
        return found


def read(
    layers: Mapping[str, Tensor], logits: Tensor, *, folds: int = FOLDS, seed: int = 0
) -> Readings:
    """Read all logits, (n, classes), from each layer, (n, c), held out.

    The same seed gives the same folds, at random. ValueError for fewer than 3 images in a fold.
    """
    n = len(logits)
    if n // folds < 3:
        raise ValueError(
            f"each fold needs at least 3 images; {n} in {folds} folds leave {n // folds}"
        )
    parts = np.array_split(np.random.default_rng(seed).permutation(n), folds)
    sums, cuts = [], []
    for layer in layers.values():
        found = [_fold(layer, logits, part, CUTS) for part in parts]
        sums.append(np.stack([each for each, _ in found]))
        cuts.append([cut for _, cut in found])
    return Readings(np.stack(sums), np.array(cuts))


def _fold(
    layer: Tensor, logits: Tensor, judging: np.ndarray, cuts: Sequence[float]
) -> tuple[np.ndarray, float]:
    """Fit on all images but some, and judge on these: sums, (3, classes), and the cut taken."""
    fitting = np.setdiff1d(np.arange(len(layer)), judging)
    space = Subspace.fit(layer[fitting], keep=1.0)
    mean, weights, variances = space.mean, space.weights, space.singular_values**2
    known, unknown = ((layer[rows] - mean) @ weights for rows in (fitting, judging))
    target = logits[fitting] - logits[fitting].mean(0)
    slopes = known.T @ target  # the columns of `known` are orthonormal
    shares = torch.cumsum(variances, 0) / variances.sum()
    # rounding must not ask for a direction more
    counts = [min(int((shares < cut - 1e-12).sum()) + 1, len(shares)) for cut in cuts]
    left_out = _left_out(known, slopes, target, counts)
    best = int(np.argmin(left_out))
    reading = unknown[:, : counts[best]] @ slopes[: counts[best]]
    both = [values - values.mean(0) for values in (reading, logits[judging])]
    pairs = ((both[i], both[j]) for i, j in ((0, 0), (1, 1), (0, 1)))
    return torch.stack([(a * b).sum(0) for a, b in pairs]).numpy(), cuts[best]


def _left_out(basis: Tensor, slopes: Tensor, target: Tensor, counts: Sequence[int]) -> list[float]:
    """Share of the logits' variance that is missed in an image that a fit has not seen.

    Mean over logits, for so many leading directions each, in ascending order. The directions are
    those of all images, the slopes of all but the one.
    """
    missed, done, shares = target.clone(), 0, []
    for count in counts:
        missed -= basis[:, done:count] @ slopes[done:count]
        done = count
        # how much an image is read from itself, the mean included
        leverage = basis[:, :count].square().sum(1) + 1 / len(basis)
        if float(leverage.max()) > 1 - 1e-9:  # from itself alone
            shares.append(np.inf)
            continue
        alone = missed / (1 - leverage)[:, None]
        shares.append(float((alone.square().sum(0) / target.square().sum(0)).mean()))
    return shares


@dataclass(frozen=True, eq=False)
class Measured:
    """Readings of one network from all images, and from each of two halves alone."""

    whole: Readings
    halves: tuple[Readings, Readings]


def held_out_logits(
    layers: Mapping[str, Tensor], logits: Tensor, store: Store, *, seed: int = 0, name: str = ""
) -> Measured:
    """Read all logits from all layers, from all images and from two halves, or load what was read.

    `layers` are (n, c) each, `logits` (n, classes). ValueError as in `read`.
    """
    order = np.random.default_rng(seed).permutation(len(logits))
    rows = {"whole": np.arange(len(order))}
    rows["first"], rows["second"] = np.array_split(order, 2)

    def make() -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for part, of in rows.items():
            some = {layer: values[of] for layer, values in layers.items()}
            readings = read(some, logits[of], seed=seed)
            found |= {f"{part}-sums": readings.sums, f"{part}-cuts": readings.cuts}
        return found

    shown = {**layers, "logits": logits}
    found = measured(store, "held-out-logits", [shown], {"seed": seed}, make, name=name)
    whole, first, second = (Readings(found[f"{p}-sums"], found[f"{p}-cuts"]) for p in rows)
    return Measured(whole, (first, second))


# ------------------------------------------------------------------------- all classes


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared distance of all pairs of curves, mean over layers, (classes, classes).

    From curves, (layers, classes), of two halves of the images. An estimate that is right in the
    mean, so that a small one can come out below 0.
    """
    products = first.T @ second / len(first)
    own = np.diag(products)
    found: np.ndarray = own[:, None] + own - (products + products.T)
    return found


def nearness(
    distances: np.ndarray, neighbours: np.ndarray, order: np.ndarray | None = None
) -> float:
    """Mean squared distance of classes to their neighbours, over that to all other classes.

    Each class counts as much as any, however many neighbours it has. `neighbours` is (classes,
    classes), bool; 1 is what neighbours that mean nothing give. With an `order` of the classes,
    those at its places are taken for them.
    """
    place = np.arange(len(distances)) if order is None else order
    first, second = np.nonzero(neighbours)
    near = np.bincount(first, distances[place[first], place[second]], minlength=len(place))
    far = (distances.sum(1) - distances.diagonal())[place] - near
    count = neighbours.sum(1)
    means = [
        (total[number > 0] / number[number > 0]).mean()
        for total, number in ((near, count), (far, len(place) - 1 - count))
    ]
    return float(means[0] / means[1])


def shuffled_nearness(
    distances: np.ndarray, neighbours: np.ndarray, *, times: int = 999, seed: int = 0
) -> np.ndarray:
    """`nearness` where the classes change places at random, (times,): what none would give.

    References
    ----------
    Mantel, "The detection of disease clustering and a generalized regression approach", Cancer
    Research 27 (1967).
    """
    rng = np.random.default_rng(seed)
    orders = (rng.permutation(len(distances)) for _ in range(times))
    return np.array([nearness(distances, neighbours, order) for order in orders])


def at_steps(distances: np.ndarray, steps: np.ndarray, wanted: int) -> float:
    """Mean squared distance of classes that are so many steps apart, over that of all classes.

    Both are (classes, classes). NaN where no two are.
    """
    pairs = ~np.eye(len(distances), dtype=bool)
    chosen = pairs & (steps == wanted)
    return float(distances[chosen].mean() / distances[pairs].mean()) if chosen.any() else np.nan


def lead(curves: np.ndarray, some: np.ndarray, others: np.ndarray) -> float:
    """How far the mean curve of some classes is above that of others, averaged over layers."""
    return float((curves[:, some].mean(1) - curves[:, others].mean(1)).mean())
