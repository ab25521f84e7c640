"""Chapter 6: when the classes are learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.paper.figures.curves import Curve, draw_curve
from svcca_lib.paper.figures.palette import BLUE, CHANCE, DASHED, INK, VERMILLION, Style
from svcca_lib.paper.figures.style import drawn, key, letters, panels

FIVE: tuple[Style, ...] = (
    {"color": BLUE},
    {"color": BLUE, "linestyle": DASHED},
    {"color": VERMILLION},
    {"color": VERMILLION, "linestyle": DASHED},
    {"color": INK, "linewidth": 2.4},
)


@dataclass(frozen=True)
class Classes:
    """Similarity of layers to five class logits.

    Attributes
    ----------
    similarity : array, shape (networks, layers, 5)
        Two classes of a pair, two of another, and one apart.
    chance : array, shape (layers,)
    ticks : mapping of int to str
        Layers to name, by position.
    """

    similarity: np.ndarray
    chance: np.ndarray
    ticks: Mapping[int, str]


@drawn
def figure_6(networks: Mapping[str, Classes], classes: Sequence[str]) -> Figure:
    """Figure 6: how much of the logits of five classes each layer holds, mean over networks.

    Parameters
    ----------
    networks : mapping of str to Classes
        Title -> what was measured.
    classes : sequence of str
        Names of the five, the one apart last.
    """
    figure, axes = panels(1, len(networks), height=3.4, sharey=True)
    for ax, (title, network) in zip(axes[0], networks.items(), strict=True):
        depth = np.arange(len(network.chance))
        for i, style in enumerate(FIVE):
            draw_curve(ax, Curve(depth, network.similarity[:, :, i]), style, ranged=False)
        ax.plot(depth, network.chance, **CHANCE)
        ax.set_xticks(list(network.ticks), list(network.ticks.values()), rotation=90)
        ax.set(title=title, xlabel="layer, from the input", ylim=(0, 1.03), xlim=(0, depth[-1]))
        ax.grid(axis="y")
    axes[0, 0].set_ylabel("DFT-CCA with the class logit")
    letters(axes[0])
    longest = max(map(len, classes))
    entries = {**dict(zip(classes, FIVE, strict=True)), "chance": CHANCE}
    key(figure, entries, columns=3 if longest > 12 else 6)
    return figure
