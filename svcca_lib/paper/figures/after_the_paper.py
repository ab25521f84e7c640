"""Chapter 12: what came after the paper; what is not here is drawn by `series`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.paper.figures.names import name_ticks
from svcca_lib.paper.figures.palette import BLUE, VERMILLION
from svcca_lib.paper.figures.strokes import CHANCE, DASHED, Style
from svcca_lib.paper.figures.style import drawn, key, letters, panels


@drawn
def definitions(
    own: Mapping[str, np.ndarray],
    seeds: Mapping[str, np.ndarray],
    chance: np.ndarray,
    kept: Mapping[str, np.ndarray],
    fractions: np.ndarray,
    layers: Sequence[str],
) -> Figure:
    """What the paper's measure can mean, on the same networks: one curve a definition.

    `own` is the similarity of layers to their own end, mean over layers, at `fractions` of
    training; `seeds` that of each layer to another seed's, beside the `chance` of the first
    definition; `kept`, by what 99 % is of, the share of the neurons kept as directions.
    """
    figure, axes = panels(1, 3, height=3.4)
    left, middle, right = axes[0]
    dashes = ("-", DASHED, (0, (1, 1.2)))
    energies: tuple[Style, ...] = (
        {"color": BLUE},
        {"color": VERMILLION, "marker": "s", "markersize": 2.5},
    )
    styles: dict[str, Style] = {
        name: {**energies[i // 3], "linestyle": dashes[i % 3], "linewidth": 1.3}
        for i, name in enumerate(own)
    }
    at = np.arange(len(layers))
    for name, style in styles.items():
        left.plot(100 * fractions, own[name], label=name, **style)
        middle.plot(at, seeds[name], label=name, **style)
    styles["chance, of the first"] = CHANCE
    middle.plot(at, chance, label="chance, of the first", **CHANCE)
    for (name, share), colour, marker in zip(kept.items(), (BLUE, VERMILLION), "os", strict=True):
        dots: Style = {"color": colour, "marker": marker, "markersize": 3.5, "linestyle": ""}
        styles[f"kept by 99 % of {name}"] = dots
        right.plot(at, share, label=f"kept by 99 % of {name}", **dots)
    left.set(title="In time", xlabel="training time, %", ylim=(0, 1.03))
    left.set_ylabel("similarity to the end, mean")
    middle.set(title="Across seeds", ylim=(0, 1.03), ylabel="similarity to another seed")
    right.set(title="Directions kept", ylim=(0, 1.03), ylabel="share of the neurons")
    for ax in (middle, right):
        name_ticks(ax.xaxis, layers, turn=90)
        ax.set_xlabel("layer")
    for ax in axes[0]:
        ax.grid(axis="y")
    letters(axes[0])
    key(figure, styles)
    return figure
