"""Chapter 6: when the classes are learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.names import mathtext
from svcca_lib.paper.figures.curves import Curve, draw_curve
from svcca_lib.paper.figures.names import name_ticks
from svcca_lib.paper.figures.palette import BLUE, GREY, VERMILLION
from svcca_lib.paper.figures.strokes import CHANCE, FIVE, Style
from svcca_lib.paper.figures.style import drawn, key, plain_numbers, row


@dataclass(frozen=True)
class Classes:
    """Similarity of layers to five class logits: two of a pair, two of another, and one apart."""

    similarity: np.ndarray  # (networks, layers, 5)
    chance: np.ndarray  # (layers,)
    layers: Sequence[str]
    named: Mapping[int, str]  # what is written of them, by position


@dataclass(frozen=True)
class PairsOfClasses:
    """How far apart the curves of two classes are against how readily the classes are confused."""

    confusability: np.ndarray  # (pairs,)
    distance: np.ndarray  # (pairs,)
    chosen: Mapping[str, int]  # which of them are drawn apart, by name: two


@drawn
def pairs_of_classes(networks: Mapping[str, PairsOfClasses]) -> Figure:
    """Distance of two curves of Figure 6 against how readily their classes are confused."""
    figure, shown = row(networks, 2.6, "mean distance of the curves", phone=2.3)
    markers = {"linestyle": "none", "markersize": 4}
    rest: Style = {**markers, "marker": "o", "markerfacecolor": "none", "color": GREY}
    apart: tuple[Style, ...] = (
        {**markers, "marker": "D", "color": BLUE},
        {**markers, "marker": "s", "color": VERMILLION},
    )
    for ax, found in shown:
        others = np.setdiff1d(np.arange(len(found.distance)), list(found.chosen.values()))
        ax.plot(found.confusability[others], found.distance[others], label="other pairs", **rest)
        for (name, at), style in zip(found.chosen.items(), apart, strict=True):
            ax.plot(found.confusability[at], found.distance[at], label=name, **style)
        ax.set(xscale="log", xlabel="probability of the other class")
        plain_numbers(ax.xaxis)
    for ax, _ in shown:  # their axis is shared: all of the points are there now
        ax.set_ylim(0, None)
    [names] = {tuple(found.chosen) for found in networks.values()}
    key(figure, {**dict(zip(map(mathtext, names), apart, strict=True)), "other pairs": rest})
    return figure


@drawn
def figure_6(networks: Mapping[str, Classes], classes: Sequence[str]) -> Figure:
    """Figure 6: how much of the logits of five classes each layer holds, mean over networks.

    The last of `classes` is the one apart.
    """
    figure, shown = row(networks, 3.0, "DFT-CCA with the class logit", phone=2.6)
    for ax, network in shown:
        depth = np.arange(len(network.chance))
        for i, (name, style) in enumerate(zip(classes, FIVE, strict=True)):
            curve = Curve(depth, network.similarity[:, :, i])
            draw_curve(ax, curve, style, name, ranged=False)
        ax.plot(depth, network.chance, label="chance", **CHANCE)
        name_ticks(ax.xaxis, network.layers, network.named, turn=90)
        ax.set(xlabel="layer, from the input", ylim=(0, 1.03), xlim=(0, depth[-1]))
    key(figure, {**dict(zip(map(mathtext, classes), FIVE, strict=True)), "chance": CHANCE})
    return figure
