"""Chapter 2: a representation is spread over its neurons."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from svcca_lib.paper.figures.curves import Curve, draw_curve
from svcca_lib.paper.figures.palette import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION
from svcca_lib.paper.figures.strokes import CHANCE, DASHED, FINE, LONG, SHORT, Style
from svcca_lib.paper.figures.style import beside, drawn, for_phone, key, row

DIRECTIONS: Style = {"color": BLUE, "linewidth": 2.2}
LINES_2A: Mapping[str, Style] = {
    "SVCCA directions": DIRECTIONS,
    "principal components": {"color": ORANGE, "linestyle": DASHED},
    "random directions": {"color": PURPLE, "linestyle": FINE},
    "random neurons": {"color": GREEN, "linestyle": LONG},
    "most active neurons": {"color": VERMILLION, "linestyle": SHORT},
    "random, others silent": {"color": GREY, "linestyle": "-.", "linewidth": 1.2},
}
SUBSETS: tuple[Style, ...] = (  # of neurons, in Figure 2b
    {"color": VERMILLION},
    {"color": GREEN, "marker": "o", "markersize": 2.2},
)
WAYS = {  # of leaving a layer with m neurons: name and dashes
    "read": ("read from m neurons", LONG),
    "silent": ("other neurons silent", FINE),
}
LEVELS: Mapping[str, Style] = {
    "network as it is": {"color": GREY, "linewidth": 0.9},
    "chance": CHANCE,
}
LABEL = "test accuracy, no retraining"


@drawn
def figure_2a(layers: Mapping[str, Mapping[str, Curve]], *, full: float, chance: float) -> Figure:
    """Figure 2a: accuracy against the number of directions, or neurons, a layer is left with.

    `layers` has for each, such as "fc1 (512 neurons)", a curve for each name in `LINES_2A`; `full`
    and `chance` are the accuracies of the network as it is and of guessing.
    """
    figure, shown = row(layers, 2.7, LABEL)
    for ax, curves in shown:
        _accuracy_axis(ax, full, chance)
        for name, curve in curves.items():
            draw_curve(ax, curve, LINES_2A[name], name)
        _log_axis(ax, max(curve.counts[-1] for curve in curves.values()))
        ax.set_xlabel("directions or neurons kept, k")
    key(figure, {**LINES_2A, **LEVELS})
    return figure


@drawn
def figure_2b(
    layers: Mapping[str, Mapping[int, Mapping[str, Curve]]],
    directions: Mapping[str, Curve],
    *,
    full: float,
    chance: float,
) -> Figure:
    """Figure 2b: the leading directions again, each restricted to the neurons that matter most.

    `layers` has for each layer and each of two numbers of neurons the curves "read" (directions
    are read from these neurons) and "silent" (the others are silent); `directions` are those of
    each layer without a restriction.
    """
    figure, shown = row(layers, 2.9, LABEL, phone=2.3)
    for (ax, subsets), free in zip(shown, (directions[name] for name in layers), strict=True):
        _accuracy_axis(ax, full, chance)
        draw_curve(ax, free, DIRECTIONS, "all neurons")
        for subset, (neurons, curves) in zip(SUBSETS, subsets.items(), strict=True):
            for kind, (name, dashes) in WAYS.items():
                style = {**subset, "linestyle": dashes}
                draw_curve(ax, curves[kind], style, f"m = {neurons}, {name}")
        one, other = (curves["read"].rows[:, -1].mean() for curves in subsets.values())
        heights = apart(one, other, 0.06 if not for_phone() else 0.09)
        for subset, neurons, height in zip(SUBSETS, subsets, heights, strict=True):
            colour, end = subset["color"], (free.counts[-1], height)
            beside(ax, f"m = {neurons}", end, (4, 0), color=colour, va="center")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(xlabel="SVCCA directions, k", xlim=(0, None))
    ways = {name: {"color": INK, "linestyle": dashes} for name, dashes in WAYS.values()}
    key(figure, {"all neurons": DIRECTIONS, **ways, **LEVELS})
    return figure


def apart(one: float, other: float, gap: float) -> tuple[float, float]:
    """Move two labels apart, each by half of what is missing to a gap.

    >>> apart(0.75, 0.5, gap=0.5)
    (0.875, 0.375)
    """
    shift = max(0.0, gap - abs(one - other)) / 2
    return (one + shift, other - shift) if one > other else (one - shift, other + shift)


def _accuracy_axis(ax: Axes, full: float, chance: float) -> None:
    """Make the y axis one of accuracies, the network as it is and guessing a line each."""
    ax.set_ylim(0, 1.05)
    ax.set_yticks(np.linspace(0, 1, 6))
    for height, (name, style) in zip((full, chance), LEVELS.items(), strict=True):
        ax.axhline(height, zorder=0, label=name, **style)


def _log_axis(ax: Axes, most: float) -> None:
    """Make the x axis a logarithmic one of whole numbers, few enough to be read."""
    ticks = [t * d for d in (1, 10, 100, 1000) for t in (1, 2, 5) if t * d <= most]
    ax.set_xscale("log")
    ax.set_xticks(ticks[:: 1 + len(ticks) // 6], minor=False)
    ax.set_xticks([], minor=True)
    ax.xaxis.set_major_formatter("{x:,.0f}")
