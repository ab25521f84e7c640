"""Layers compared on halves of their datapoints, and where no halves would tell anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from svcca_lib.inference.cuts import Cut, leading, possible, wider
from svcca_lib.inference.extrapolation import Extrapolated
from svcca_lib.inference.resampling import Groups, at_least, members_of, rows_at, with_rows
from svcca_lib.measures.alignment import CKA, Procrustes, UnitRows
from svcca_lib.measures.canonical import CCA, SVCCA, LinearRegression
from svcca_lib.measures.dft_cca import DFTCCA
from svcca_lib.measures.measure import Measure, comparable
from svcca_lib.measures.registry import measure_named

# The measures whose intervals were found to cover, in paper/experiments/interval_coverage.py.
ANSWERED = (CCA, SVCCA, LinearRegression, CKA, Procrustes, DFTCCA)
SMOOTH = (LinearRegression, CKA)
# Datapoints that a direction takes: with fewer, half of the data is beyond either law.
PER_DIRECTION = 4
FEWEST = 8  # datapoints or groups
PILOT = 10  # pairs of halves from which the cut is found


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
    layers = [z.detach() if isinstance(z, Tensor) else z for z in layers]
    whole = [chosen.prepare(z, name) for z, name in zip(layers, names, strict=True)]
    first, *others = whole
    for other in others:
        comparable(first, other)
    members = members_of(groups, first.n)
    if len(members) < FEWEST:
        raise ValueError(
            f"an interval needs at least {FEWEST} datapoints or groups; got {len(members)}"
        )
    for other in others:
        _enough(chosen, _directions(chosen, first, other), len(members))
    estimator = _estimator(chosen)
    pairs = _pairs(members, max(2, -(-n_resamples // 2)), seed)
    ratio, freedom = len(members) / (len(members) // 2), len(members) - 1

    def prepared(rows: np.ndarray) -> list[Any]:
        drawn = ((rows_at(z, rows), name) for z, name in zip(layers, names, strict=True))
        return [estimator.prepare(z, name) for z, name in drawn]

    everything = np.arange(first.n)
    cuts: list[Cut | None] = [None]
    if isinstance(chosen, SVCCA) and chosen.keep < 1:
        own = tuple(z.kept for z in whole)
        cuts = [own]
        if factor is not None:
            pilot = [[prepared(rows) for rows in pair] for pair in pairs[:PILOT]]
            found = possible(chosen, own, prepared(everything), pilot, ratio, factor(freedom))
            _enough(chosen, max(map(sum, found)), len(members))
            cuts = [*found]

    def estimated(rows: np.ndarray) -> list[float]:
        ready = prepared(rows)
        return [_compared(estimator, ready, cut) for cut in cuts]

    halves = np.array([[estimated(rows) for rows in pair] for pair in pairs])
    smooth = isinstance(chosen, SMOOTH)
    estimates = [
        Extrapolated(value, halves[..., i], ratio, smooth)
        for i, value in enumerate(estimated(everything))
    ]
    observed = tuple(chosen.compare(first, other).similarity for other in others)
    return Halved(observed, estimates, freedom)


def _answered(measure: str, options: dict[str, Any]) -> Measure[Any]:
    """Look a measure up, and refuse one of which no interval is known to cover."""
    chosen = measure_named(measure, options)
    known = ", ".join(m.name for m in ANSWERED)
    if not isinstance(chosen, ANSWERED):
        why = " (it weighs by single directions, which no usual sample tells apart)"
        raise ValueError(
            f"no interval of {measure} is known to cover{why if measure == 'pwcca' else ''}; use "
            f"one of {known}"
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
        return wider(chosen)
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


def _compared(measure: Measure[Any], layers: Sequence[Any], cut: Cut | None) -> float:
    """Similarity of two layers; of three, how much nearer the first is to the second."""
    if cut is not None:
        layers = [leading(z, k) for z, k in zip(layers, cut, strict=True)]
    first, *others = layers
    found: list[float] = [measure.compare(first, other).similarity for other in others]
    return found[0] if len(found) == 1 else found[0] - found[1]


def _enough(measure: Measure[Any], directions: float, members: int) -> None:
    """Refuse where half of the datapoints are too few for either law."""
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
