"""How many directions of a layer endless data would keep, and layers cut to so many.

A sample's leading directions hold too much of its variance, so that it keeps too few, and fewer yet
of a half. Where the cut goes through noise, every direction more or less changes the mean of the
correlations by 1 / k, however well these are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from svcca_lib.inference.extrapolation import Extrapolated
from svcca_lib.measures.canonical import SVCCA
from svcca_lib.subspace import Subspace

Cut: TypeAlias = tuple[int, ...]  # directions kept of each layer


def wider(chosen: SVCCA) -> SVCCA:
    """The same measure, with directions enough to find the cut among them."""
    more = 1 - (1 - chosen.keep) / 10 if chosen.energy == "variance" else 1.0
    return replace(chosen, keep=more)


def possible(
    chosen: SVCCA,
    own: Cut,
    whole: Sequence[Subspace],
    halves: Sequence[Sequence[Sequence[Subspace]]],
    ratio: float,
    factor: float,
) -> list[Cut]:
    """Cuts that endless data may make of several layers: that of all datapoints, then the others.

    Parameters
    ----------
    chosen : SVCCA
    own : tuple of int
        Directions that all datapoints keep.
    whole, halves : Subspace of each layer, and of each layer of both halves of each pair
        As `wider` prepares them.
    ratio, factor
        As in `Extrapolated`: of datapoints, and how many standard errors the shares may be off.
    """
    spans = [
        _span(chosen, own[i], layer, [[half[i] for half in pair] for pair in halves], ratio, factor)
        for i, layer in enumerate(whole)
    ]
    return list(dict.fromkeys([own, *_corners(spans)]))


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
        held: np.ndarray = np.cumsum(values**2)
        held *= layer.explained / held[-1]
        return held
    held = np.cumsum(values)
    held /= held[-1]
    return held


def _corners(spans: Sequence[tuple[int, int]]) -> list[Cut]:
    """Every combination of the ends of spans, each once."""
    corners: list[Cut] = [()]
    for span in spans:
        corners = [(*corner, end) for corner in corners for end in dict.fromkeys(span)]
    return corners


def leading(layer: Subspace, k: int) -> Subspace:
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
