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
from svcca_lib.paper.figures.names import name_ticks
from svcca_lib.paper.figures.palette import BLUE, GREEN, GREY, INK, ORANGE
from svcca_lib.paper.figures.strokes import CHANCE, FINE, LEVEL, LONG, SHORT, Style
from svcca_lib.paper.figures.style import SMALLEST, drawn, key, label_up, letters, panels, row

TIMES: tuple[Style, ...] = (
    {"color": GREY, "linestyle": FINE},
    {"color": ORANGE, "linestyle": LONG},
    {"color": GREEN, "linestyle": "-."},
    {"color": BLUE, "linestyle": "-"},
)
THIRDS = {"lower third of the layers": "-", "middle third": LONG, "upper third": SHORT}


@drawn
def figure_4(
    rows: Mapping[str, np.ndarray],
    times: Sequence[str],
    layers: Sequence[str],
    named: Mapping[int, str],
    label: str = "SVCCA similarity",
) -> Figure:
    """Figure 4: layers during training against layers at its end.

    `rows` has similarities (times, layers, layers) by title, such as "this book"; `named` has
    what is written of the `layers`, by their positions; `label` is what the colours are.
    """
    size: Style = {
        "height": 0.5 + 1.25 * len(rows),
        "phone": 1.75,
        "across": len(rows),
        "by_columns": True,
    }
    figure, axes = panels(len(rows), len(times), sharex=True, sharey=True, **size)
    for line, (title, matrices) in zip(axes, rows.items(), strict=True):
        for ax, time, matrix in zip(line, times, matrices, strict=True):
            image = heat_map(ax, matrix, layers, layers, label, named=named)
            ax.set_title(f"{title}, {time}", fontsize=SMALLEST, weight="normal")
            ax.label_outer()
    figure.supxlabel("layer at the end of training", fontsize=7.5)
    figure.supylabel("layer during training", fontsize=7.5)
    colour_bar(figure, image, axes, label, shrink=0.6, pad=0.01, aspect=30)
    return figure


@drawn
def figure_4_differences(networks: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """How far our Figure 4 is from the paper's, layer by layer.

    For each network and each of four times: ours less the paper's, averaged over a row of the
    matrix, shape (layers,).
    """
    figure, shown = row(networks, 2.5, "ours − the paper's")
    for ax, times in shown:
        ax.axhline(0, color=INK, linewidth=0.8, label="no difference")
        for style, (time, difference) in zip(TIMES, times.items(), strict=True):
            ax.plot(np.arange(1, len(difference) + 1), difference, label=time, **style)
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
    layers: Sequence[str]


@drawn
def appendix_figure_3(networks: Sequence[Convergence], threshold: float) -> Figure:
    """Appendix Figure 3: each layer on its way to its final state, and when it has come close."""
    size: Style = {"height": 4.4, "phone": 2.0, "height_ratios": (1.3, 1), "by_columns": True}
    figure, axes = panels(2, len(networks), sharey="row", **size)
    colours = matplotlib.colormaps["viridis"]
    for (above, below), network in zip(axes.T, networks, strict=True):
        depth = np.arange(network.own.shape[1])
        shades = colours(0.92 * depth / depth[-1])  # the lightest would be lost on white
        for i, (curve, name) in enumerate(zip(network.own.T, network.layers, strict=True)):
            # By its third of the depth as well, for who sees no colours.
            dashes = list(THIRDS.values())[3 * i // len(network.layers)]
            style: Style = {"color": shades[i], "linestyle": dashes, "linewidth": 1}
            above.plot(100 * network.fractions, curve, label=f"{i + 1}: {name}", **style)
        above.axhline(threshold, label="threshold", **{**LEVEL, "color": INK})
        below.set_label(f"{network.title}, time to settle")
        numbers = [1, *range(step := 5 if len(depth) < 30 else 10, len(depth) + 1, step)]
        name_ticks(below.xaxis, ["", *network.layers], {i: str(i) for i in numbers})
        above.set(title=network.title, xlabel="training time, %")
        for of, at in (("counted", network.counted), ("not counted", ~network.counted)):
            faces = shades[at] if of == "counted" else "none"
            times = 100 * network.settled[at]
            below.scatter(
                depth[at] + 1, times, s=12, facecolors=faces, edgecolors=shades[at], label=of
            )
        below.set_xlabel("layer, from the input")
        below.grid(axis="y")
    label_up(axes[0], "similarity to its own\nfinal state")
    label_up(axes[1], f"time at which it\nreaches {threshold:g}, %")
    scale = ScalarMappable(Normalize(0, 1 / 0.92), colours)
    shown = np.linspace(0, 1, 200)
    bar = colour_bar(figure, scale, axes[0], pad=0.01, aspect=20, boundaries=shown)
    bar.set_ticks([0, 1], labels=["input", "output"])
    letters(axes[0])
    key(figure, {name: {"color": INK, "linestyle": dashes} for name, dashes in THIRDS.items()})
    return figure


@drawn
def appendix_figure_4(
    matrix: np.ndarray, chance: np.ndarray, labels: Sequence[str], names: tuple[str, str]
) -> Figure:
    """Appendix Figure 4: the layers of two networks, rows and columns, that differ in their seed.

    `chance` is what independent layers of these sizes would give on the diagonal, (layers,).
    """
    figure, axes = panels(1, 2, height=2.9, phone=2.8, width_ratios=(1, 1))
    left, right = axes[0]
    image = heat_map(left, matrix, labels, labels, "SVCCA similarity")
    left.set(title="All pairs of layers", ylabel=f"layers of {names[0]}")
    left.set_xlabel(f"layers of {names[1]}")
    colour_bar(figure, image, left, shrink=0.75, pad=0.02, aspect=25)
    depth = np.arange(len(labels))
    same: Style = {"color": BLUE, "marker": "o", "markersize": 3.5}
    right.plot(depth, matrix.diagonal(), label="the same layer in both", **same)
    right.plot(depth, chance, label="chance", **CHANCE)
    name_ticks(right.xaxis, labels, turn=90)
    right.set(title="The same layer in both", ylim=(0, 1.03), ylabel="SVCCA similarity")
    right.set_xlabel("layer")
    right.grid(axis="y")
    letters(axes[0])
    key(figure, {"the same layer in both": same, "chance": CHANCE})
    return figure
