"""Chapter 6: when the classes are learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.names import mathtext
from svcca_lib.paper.figures.curves import Curve, draw_curve
from svcca_lib.paper.figures.names import name_ticks
from svcca_lib.paper.figures.strokes import CHANCE, FIVE
from svcca_lib.paper.figures.style import drawn, key, row


@dataclass(frozen=True)
class Classes:
    """Similarity of layers to five class logits: two of a pair, two of another, and one apart."""

    similarity: np.ndarray  # (networks, layers, 5)
    chance: np.ndarray  # (layers,)
    layers: Sequence[str]
    named: Mapping[int, str]  # what is written of them, by position


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
