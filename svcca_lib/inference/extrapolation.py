r"""What endless data would give: similarities of halves, extrapolated.

A similarity that contains a maximum is too high, by a bias that falls with the number of
datapoints n. How fast depends on what is not known: a canonical correlation well above zero is too
high by about a / n, one that is zero in truth by about :math:`b / \sqrt n`. The bias of their mean
lies between these two laws. Half of the data shows how fast it grows, and each law says where it
ends: with :math:`D = \bar\theta_{n/2} - \hat\theta_n`,

.. math:: \hat\theta_n - (1 + \sqrt 2)\, D \;\lesssim\; \theta \;\lesssim\; \hat\theta_n - D.

A measure that is a smooth function of the moments has only the first law, and one end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from svcca_lib.errors import one_of
from svcca_lib.inference.resampling import Groups, at_least, members_of, rows_at, with_rows
from svcca_lib.measures.alignment import CKA, Procrustes, UnitRows
from svcca_lib.measures.canonical import CCA, SVCCA, LinearRegression
from svcca_lib.measures.dft_cca import DFTCCA
from svcca_lib.measures.measure import Measure, comparable
from svcca_lib.measures.registry import MEASURES, measure_named
from svcca_lib.subspace import Subspace

# The measures whose intervals were found to cover, in paper/experiments/interval_coverage.py.
ANSWERED = (CCA, SVCCA, LinearRegression, CKA, Procrustes, DFTCCA)
SMOOTH = (LinearRegression, CKA)
# Datapoints that a direction takes: with fewer, half of the data is beyond either law.
PER_DIRECTION = 4
FEWEST = 8  # datapoints or groups
PILOT = 10  # pairs of halves from which the cut is found

Cut = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Extrapolated:
    """Numbers of all datapoints and of halves, and what endless data would give.

    Attributes
    ----------
    whole : array, shape (...)
    halves : array, shape (pairs, 2, ...)
        Each pair is of two halves without a common datapoint.
    ratio : float
        Datapoints of the whole over those of a half.
    smooth : bool
        Whether the bias is known to fall as 1/n.
    """

    whole: Any
    halves: np.ndarray
    ratio: float = 2.0
    smooth: bool = False

    @property
    def values(self) -> np.ndarray:
        r"""What each law says, shape (laws, ...): first 1/n, then :math:`1/\sqrt n`."""
        bias = self.halves.mean((0, 1)) - self.whole
        return np.stack([self.whole - step * bias for step in self._steps])

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of `values`.

        Two halves share nothing, so their difference has the variance of a half twice, and that of
        the whole four times. To it comes the error of the bias: how much the mean of two halves
        wanders from pair to pair. The two are added as they are; they are not independent.
        """
        first, second = self.halves[:, 0], self.halves[:, 1]
        spread = np.sqrt(((first - second) ** 2).mean(0)) / 2
        wander = self.halves.mean(1).std(0, ddof=1) * math.sqrt(1 + 1 / len(self.halves))
        return np.stack([spread + step * wander for step in self._steps])

    def bounds(self, factor: float) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest value within `factor` standard errors of either law."""
        reach = factor * self.errors
        return (self.values - reach).min(0), (self.values + reach).max(0)

    @property
    def _steps(self) -> list[float]:
        laws = [self.ratio - 1] if self.smooth else [self.ratio - 1, math.sqrt(self.ratio) - 1]
        return [1 / law for law in laws]


@dataclass(frozen=True, eq=False)
class Halved:
    """Layers compared on all datapoints and on halves.

    Attributes
    ----------
    observed : tuple of float
        Similarity of the first layer to each of the others, as the measure gives it.
    estimates : list of Extrapolated
        What is estimated, one for each cut that the layers may have; first that of all datapoints.
    freedom : int
        Datapoints or groups, less one.
    """

    observed: tuple[float, ...]
    estimates: list[Extrapolated]
    freedom: int


def halved(
    layers: Sequence[Any],
    names: Sequence[str],
    measure: str,
    options: dict[str, Any],
    *,
    n_resamples: int,
    groups: Groups | None,
    seed: int,
    factor: Callable[[int], float] | None,
) -> Halved:
    """Compare the first layer with each of the others, on all datapoints and on halves.

    Of two others, what is estimated is the difference. `factor` says, from the degrees of freedom,
    how many standard errors the cut may be off; None keeps the cut of all datapoints.

    Raises
    ------
    TypeError, ValueError
        If a layer holds no rows, or no interval of this measure would cover.
    """
    at_least(2, n_resamples, "n_resamples")
    chosen = _answered(measure, options)
    for layer, name in zip(layers, names, strict=True):
        with_rows(layer, name, "each half is decomposed anew")
    first, *others = whole = [
        chosen.prepare(z, name) for z, name in zip(layers, names, strict=True)
    ]
    for other in others:
        comparable(first, other)
    members = members_of(groups, first.n)
    if len(members) < FEWEST:
        raise ValueError(
            f"an interval needs at least {FEWEST} datapoints or groups; got {len(members)}"
        )
    observed = tuple(chosen.compare(first, other).similarity for other in others)
    pairs = _pairs(members, max(2, -(-n_resamples // 2)), seed)
    ratio = len(members) / (len(members) // 2)
    estimator = _estimator(chosen)

    def prepared(rows: np.ndarray) -> list[Any]:
        return [
            estimator.prepare(rows_at(z, rows), name) for z, name in zip(layers, names, strict=True)
        ]

    everything = np.arange(first.n)
    own: Cut | None = None
    cuts: list[Cut | None] = [None]
    if isinstance(chosen, SVCCA) and chosen.keep < 1:
        own = tuple(z.kept for z in whole)
        cuts = [own]
        if factor is not None:
            pilot = [[prepared(rows) for rows in pair] for pair in pairs[:PILOT]]
            spans = [
                _span(chosen, k, z, [[half[i] for half in pair] for pair in pilot], ratio, reach)
                for reach in [factor(len(members) - 1)]
                for i, (k, z) in enumerate(zip(own, prepared(everything), strict=True))
            ]
            cuts += [c for c in _corners(spans) if c != own]
    for other in range(1, len(whole)):
        widest = None if own is None else [max(c[i] for c in cuts if c) for i in (0, other)]
        _enough(estimator, first, whole[other], widest, len(members))

    def estimated(rows: np.ndarray) -> list[float]:
        ready = prepared(rows)
        return [_compared(estimator, ready, cut) for cut in cuts]

    halves = np.array([[estimated(rows) for rows in pair] for pair in pairs])
    smooth = isinstance(chosen, SMOOTH)
    return Halved(
        observed,
        [
            Extrapolated(value, halves[..., i], ratio, smooth)
            for i, value in enumerate(estimated(everything))
        ],
        len(members) - 1,
    )


def _answered(measure: str, options: dict[str, Any]) -> Measure[Any]:
    """Look a measure up, and refuse one of which no interval is known to cover."""
    chosen = measure_named(one_of(measure, tuple(MEASURES), "measure"), options)
    known = ", ".join(m.name for m in ANSWERED)
    if not isinstance(chosen, ANSWERED):
        raise ValueError(
            f"no interval of {measure} is known to cover (pwcca weighs by single directions, which "
            f"no usual sample tells apart): use one of {known}"
        )
    if isinstance(chosen, DFTCCA) and chosen.keep < 1:
        raise ValueError(
            f"no interval of dft_cca with a cut is known to cover: use keep=1 (got {chosen.keep}), "
            f"or svcca of channels_as_neurons or pixels_as_neurons"
        )
    return chosen


def _estimator(chosen: Measure[Any]) -> Measure[Any]:
    """The measure by which the number of endless data is estimated.

    For `cka` its debiased form, whose limit is the same. For a cut, one that keeps more: how many
    directions endless data would keep is to be found.
    """
    if isinstance(chosen, CKA):
        return replace(chosen, debiased=True)
    if isinstance(chosen, SVCCA) and chosen.keep < 1:
        wider = 1 - (1 - chosen.keep) / 10 if chosen.energy == "variance" else 1.0
        return replace(chosen, keep=wider)
    return chosen


def _pairs(members: list[np.ndarray], count: int, seed: int) -> list[list[np.ndarray]]:
    """Rows of pairs of halves; of an odd number of groups, one at random is left out."""
    rng = np.random.default_rng(seed)
    half = len(members) // 2
    return [
        [
            np.sort(np.concatenate([members[i] for i in order[start : start + half]]))
            for start in (0, half)
        ]
        for order in (rng.permutation(len(members)) for _ in range(count))
    ]


def _span(
    chosen: SVCCA,
    own: int,
    whole: Subspace,
    halves: list[list[Subspace]],
    ratio: float,
    factor: float,
) -> tuple[int, int]:
    """Fewest and most directions that endless data would keep of a layer.

    A sample's leading directions hold too much of its variance, so that it keeps too few. The share
    that the leading k hold is extrapolated for each k; those k are left whose share may be enough,
    while that of k - 1 may not be.
    """
    shares = [[_shares(chosen, half) for half in pair] for pair in halves]
    held = _shares(chosen, whole)
    k = min(len(held), *(len(s) for pair in shares for s in pair))
    low, high = Extrapolated(
        held[:k], np.array([[s[:k] for s in pair] for pair in shares]), ratio
    ).bounds(factor)
    fewest = int((high < chosen.keep).sum()) + 1
    most = int((low < chosen.keep - 1e-12).sum()) + 1
    return min(own, fewest, k), max(own, min(most, k))


def _shares(chosen: SVCCA, layer: Subspace) -> np.ndarray:
    """What the leading directions hold of a layer, cumulated."""
    values = layer.tensors.values.detach().cpu().numpy().astype(np.float64)
    if chosen.energy == "variance":
        held = np.cumsum(values**2)
        return held * (layer.explained / held[-1])
    return np.cumsum(values) / values.sum()


def _corners(spans: Sequence[tuple[int, int]]) -> list[Cut]:
    """Every combination of the ends of spans, each once."""
    corners: list[Cut] = [()]
    for span in spans:
        corners = [(*corner, end) for corner in corners for end in dict.fromkeys(span)]
    return corners


def _compared(measure: Measure[Any], layers: Sequence[Any], cut: Cut | None) -> float:
    """Similarity of two layers; of three, how much nearer the first is to the second."""
    if cut is not None:
        layers = [_leading(z, k) for z, k in zip(layers, cut, strict=True)]
    first, *others = layers
    found = [measure.compare(first, other).similarity for other in others]
    return found[0] if len(found) == 1 else found[0] - found[1]


def _leading(layer: Subspace, k: int) -> Subspace:
    """The leading k directions of a decomposed layer, or all where there are fewer."""
    if layer.kept <= k:
        return layer
    t = layer.tensors
    return replace(
        layer,
        tensors=replace(
            t,
            directions=t.directions[:, :k],
            values=t.values[:k],
            weights=t.weights[:, :k],
            left=None if t.left is None else t.left[:, :k],
        ),
    )


def _enough(measure: Measure[Any], a: Any, b: Any, cut: Sequence[int] | None, members: int) -> None:
    """Refuse where half of the datapoints are too few for either law."""
    directions = sum(cut) if cut is not None else _directions(measure, a, b)
    if members < PER_DIRECTION * directions:
        raise ValueError(
            f"{members} datapoints or groups are too few for an interval of {measure.name} that "
            f"covers: its {directions:.0f} directions of both layers take {PER_DIRECTION} each, "
            f"{PER_DIRECTION * directions:.0f}; give more, keep fewer directions (svcca with a "
            f"lower keep), or use cka, which needs no such number"
        )


def _directions(measure: Measure[Any], a: Any, b: Any) -> float:
    """Directions that noise can fill, of both layers together."""
    if isinstance(measure, CKA):
        return 0
    if isinstance(measure, LinearRegression):
        return float(2 * a.kept)
    if isinstance(measure, DFTCCA):
        return measure.width(a) + measure.width(b)
    if isinstance(measure, Procrustes):
        return _participating(a) + _participating(b)
    return float(a.kept + b.kept)


def _participating(layer: UnitRows) -> float:
    """Effective number of directions, by how even the singular values are."""
    s = layer.spectrum
    return float(s.sum() ** 2 / (s**2).sum())
