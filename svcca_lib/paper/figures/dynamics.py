"""Chapter 4: learning dynamics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from svcca_lib.paper.figures.heatmaps import colour_bar, heat_map
from svcca_lib.paper.figures.palette import BLUE, GREEN, GREY, INK, ORANGE
from svcca_lib.paper.figures.strokes import DOTTED, FINE, LEVEL, LONG, Style
from svcca_lib.paper.figures.style import drawn, key, letters, panels, row

TIMES: tuple[Style, ...] = (
    {"color": GREY, "linestyle": FINE},
    {"color": ORANGE, "linestyle": LONG},
    {"color": GREEN, "linestyle": "-."},
    {"color": BLUE, "linestyle": "-"},
)


@drawn
def figure_4(
    rows: Mapping[str, np.ndarray], times: Sequence[str], ticks: Mapping[int, str]
) -> Figure:
    """Figure 4: layers during training against layers at its end.

    `rows` has similarities (times, layers, layers) by title, such as "this book"; `ticks` names
    layers by their position.
    """
    figure, axes = panels(
        len(rows), len(times), height=0.8 + 1.6 * len(rows), sharex=True, sharey=True
    )
    for line, (title, matrices) in zip(axes, rows.items(), strict=True):
        for ax, time, matrix in zip(line, times, matrices, strict=True):
            image = heat_map(ax, matrix, ticks)
            ax.set_title(time, fontsize=8.5)
        line[0].set_ylabel(f"{title}\nlayer during training")
    figure.supxlabel("layer at the end of training", fontsize=8.5)
    colour_bar(figure, image, axes, "SVCCA similarity", shrink=0.6, pad=0.01, aspect=30)
    return figure


@drawn
def figure_4_differences(networks: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """How far our Figure 4 is from the paper's, layer by layer.

    For each network and each of four times: ours less the paper's, averaged over a row of the
    matrix, shape (layers,).
    """
    figure, shown = row(networks, 2.5, "ours $-$ the paper's")
    for ax, times in shown:
        ax.axhline(0, color=INK, linewidth=0.8)
        for style, difference in zip(TIMES, times.values(), strict=True):
            ax.plot(np.arange(1, len(difference) + 1), difference, **style)
        ax.set_xlabel("layer during training, from the input")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    key(figure, dict(zip(times, TIMES, strict=True)))
    return figure


@dataclass(frozen=True)
class Convergence:
    """How the layers of a network come to their final states."""

    fractions: np.ndarray  # (t,), of training
    own: np.ndarray  # (t, layers): similarity of each layer to its own final state
    settled: np.ndarray  # (layers,): fraction at which it stays above the threshold
    counted: np.ndarray  # (layers,): whether the layer enters the rank correlation
    title: str


@drawn
def appendix_figure_3(networks: Sequence[Convergence], threshold: float) -> Figure:
    """Appendix Figure 3: each layer on its way to its final state, and when it has come close."""
    figure, axes = panels(2, len(networks), height=4.6, sharey="row", height_ratios=(1.3, 1))
    colours = matplotlib.colormaps["viridis"]
    for (above, below), network in zip(axes.T, networks, strict=True):
        depth = np.arange(network.own.shape[1])
        shades = colours(0.92 * depth / depth[-1])  # the lightest would be lost on white
        for curve, shade in zip(network.own.T, shades, strict=True):
            above.plot(100 * network.fractions, curve, color=shade, linewidth=1.1)
        above.axhline(threshold, **{**LEVEL, "color": INK})
        above.set(title=network.title, xlabel="training time, %")
        for at, faces in ((network.counted, shades[network.counted]), (~network.counted, "none")):
            times = 100 * network.settled[at]
            below.scatter(depth[at] + 1, times, s=16, facecolors=faces, edgecolors=shades[at])
        below.set_xlabel("layer, from the input")
        below.xaxis.get_major_locator().set_params(integer=True)
        below.grid(axis="y")
    axes[0, 0].set_ylabel("similarity to its own\nfinal state")
    axes[1, 0].set_ylabel(f"time at which it\nreaches {threshold:g}, %")
    scale = ScalarMappable(Normalize(0, 1 / 0.92), colours)
    shown = np.linspace(0, 1, 200)
    bar = colour_bar(figure, scale, axes[0], pad=0.01, aspect=20, boundaries=shown)
    bar.set_ticks([0, 1], labels=["input", "output"])
    letters(axes[0])
    return figure


@drawn
def appendix_figure_4(
    matrix: np.ndarray, chance: np.ndarray, labels: Sequence[str], names: tuple[str, str]
) -> Figure:
    """Appendix Figure 4: the layers of two networks, rows and columns, that differ in their seed.

    `chance` is what independent layers of these sizes would give on the diagonal, (layers,).
    """
    figure, axes = panels(1, 2, height=3.3, width_ratios=(1, 1.25))
    left, right = axes[0]
    image = heat_map(left, matrix, dict(enumerate(labels)))
    left.tick_params(labelsize=7)
    left.set(title="All pairs of layers", ylabel=f"layers of {names[0]}")
    left.set_xlabel(f"layers of {names[1]}")
    colour_bar(figure, image, left, shrink=0.75, pad=0.02, aspect=25)
    depth = np.arange(len(labels))
    right.plot(depth, matrix.diagonal(), color=BLUE, marker="o", markersize=4)
    right.plot(depth, chance, color=GREY, linestyle=DOTTED)
    middle = len(depth) // 2
    right.text(middle, chance[middle] + 0.02, "chance", ha="center", va="bottom", color=GREY)
    right.set_xticks(depth, labels, rotation=90)
    right.set(title="The same layer in both", ylim=(0, 1.03), ylabel="SVCCA similarity")
    right.grid(axis="y")
    letters(axes[0])
    return figure
