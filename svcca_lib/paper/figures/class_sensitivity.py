"""Chapter 6: when the classes are learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.names import mathtext
from svcca_lib.paper.figures.curves import Curve, draw_curve
from svcca_lib.paper.figures.palette import BLUE, INK, VERMILLION
from svcca_lib.paper.figures.strokes import CHANCE, DASHED, Style
from svcca_lib.paper.figures.style import drawn, key, row

FIVE: tuple[Style, ...] = (
    {"color": BLUE},
    {"color": BLUE, "linestyle": DASHED},
    {"color": VERMILLION},
    {"color": VERMILLION, "linestyle": DASHED},
    {"color": INK, "linewidth": 2.4},
)


@dataclass(frozen=True)
class Classes:
    """Similarity of layers to five class logits: two of a pair, two of another, and one apart."""

    similarity: np.ndarray  # (networks, layers, 5)
    chance: np.ndarray  # (layers,)
    ticks: Mapping[int, str]  # layers to name, by position


@drawn
def figure_6(networks: Mapping[str, Classes], classes: Sequence[str]) -> Figure:
    """Figure 6: how much of the logits of five classes each layer holds, mean over networks.

    The last of `classes` is the one apart.
    """
    figure, shown = row(networks, 3.4, "DFT-CCA with the class logit")
    for ax, network in shown:
        depth = np.arange(len(network.chance))
        for i, style in enumerate(FIVE):
            draw_curve(ax, Curve(depth, network.similarity[:, :, i]), style, ranged=False)
        ax.plot(depth, network.chance, **CHANCE)
        ax.set_xticks(list(network.ticks), list(network.ticks.values()), rotation=90)
        ax.set(xlabel="layer, from the input", ylim=(0, 1.03), xlim=(0, depth[-1]))
    longest = max(map(len, classes))
    entries = {**dict(zip(map(mathtext, classes), FIVE, strict=True)), "chance": CHANCE}
    key(figure, entries, columns=3 if longest > 12 else 6)
    return figure
