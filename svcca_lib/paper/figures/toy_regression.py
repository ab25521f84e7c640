"""Chapter 1: the toy regression network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from svcca_lib.paper.figures.palette import (
    BLUE,
    COLOURS,
    DASHED,
    GREEN,
    GREY,
    PALE,
    VERMILLION,
    Style,
)
from svcca_lib.paper.figures.style import ABOVE_NOTE, drawn, key, letters, note, panels

NET_1: Style = {"color": "#73b1d8", "linewidth": 2.4}  # light, and as light on black
NET_2: Style = {"color": VERMILLION, "linewidth": 1.2, "linestyle": DASHED}


class Pairs(Protocol):
    """Responses of two networks, column i of the one beside column i of the other."""

    net_1: np.ndarray  # (n, r)
    net_2: np.ndarray  # (n, r)
    correlations: np.ndarray  # (r,)


@drawn
def appendix_figure_1(
    index: np.ndarray,
    neurons: np.ndarray,
    distorted: np.ndarray,
    recovered: np.ndarray,
    correlations: Mapping[str, np.ndarray],
    variances: Mapping[str, np.ndarray],
    kept: Mapping[str, int],
) -> Figure:
    """Appendix Figure 1: what CCA undoes, and why the SVD has to come first.

    Three neurons at the datapoints `index`, shape (n, 3); the same permuted, rotated and scaled;
    what CCA finds in these. Then the canonical `correlations` of pairs of layers, such as "A, B",
    and the share of the variance in each singular direction of a layer, of which `kept` hold 99 %.
    """
    figure, axes = panels(2, 6, height=4.7)
    top = [_merged(axes[0, i : i + 2]) for i in (0, 2, 4)]
    bottom = left, right = [_merged(axes[1, i : i + 3]) for i in (0, 3)]

    original, mixed, found = top
    for j, colour in enumerate((BLUE, VERMILLION, GREEN)):
        original.plot(index, neurons[:, j], color=colour, linewidth=2)
        mixed.plot(index, distorted[:, j], color=GREY, linestyle=("-", "--", ":")[j])
        found.plot(index, neurons[:, j], color=colour, linewidth=4.5, alpha=0.3)
        found.plot(index, recovered[:, j], color=colour, linestyle=DASHED, linewidth=1.4)
    for ax, title in zip(
        top, ("Three neurons", "The same, mixed", "Found again by CCA"), strict=True
    ):
        ax.set_title(title)
        _index_axis(ax)
    original.set_ylabel("activation")
    found.set_ylim(original.get_ylim())

    wide_and_thin: tuple[Style, ...] = (
        {"color": BLUE, "linewidth": 4.5, "alpha": 0.4},
        {"color": VERMILLION},
    )
    for style, (pair, rho) in zip(wide_and_thin, correlations.items(), strict=True):
        left.step(np.arange(1, len(rho) + 1), rho, where="mid", label=pair, **style)
    left.set(ylim=(0, 1.08), xlabel="canonical pair $i$", ylabel=r"$\rho_i$")
    left.set_title("CCA alone sees no difference")
    left.legend(loc="lower left", title="layers compared", alignment="left")

    for colour, dashes, (name, share) in zip(
        (BLUE, VERMILLION), ("-", DASHED), variances.items(), strict=True
    ):
        k = kept[name]
        line: Style = {"color": colour, "linestyle": dashes, "label": f"{name}: {k} kept"}
        right.semilogy(np.arange(1, len(share) + 1), share, **line)
        right.plot(k, share[k - 1], "o", color=colour, markersize=5)
    right.set(xlabel="singular direction", ylabel="share of variance")
    right.set_title("The SVD counts what matters")
    right.legend(loc="center right", title="99 % of the variance", alignment="left")
    letters([*top, *bottom])
    return figure


@drawn
def figure_1(index: np.ndarray, views: Mapping[str, Pairs], layers: Sequence[int]) -> Figure:
    """Figure 1: one layer of two networks as neurons, SVD directions and SVCCA directions.

    `views` has the leading pairs, one to a row, by title. `layers` are the widths of the network,
    sketched on the left; the last but one, which is shown, is shaded.
    """
    rows = max(len(pairs.correlations) for pairs in views.values())
    figure, axes = panels(rows, 1 + len(views), height=4.6, width_ratios=[0.8] + [1] * len(views))
    sketch = _merged(axes[:, 0])
    _sketch(sketch, layers)
    for column, (title, pairs) in zip(axes[:, 1:].T, views.items(), strict=True):
        column[0].set_title(title)
        for i, (ax, rho) in enumerate(zip(column, pairs.correlations, strict=True)):
            ax.plot(index, pairs.net_1[:, i], **NET_1)
            ax.plot(index, pairs.net_2[:, i], **NET_2)
            ax.spines["left"].set_visible(False)
            ax.set_yticks([])
            ax.margins(y=0.1)
            note(ax, f"$r$ = {rho:.2f}")
            _index_axis(ax)
            ax.xaxis.set_visible(i == rows - 1)
    letters([sketch, *axes[0, 1:]], pad=ABOVE_NOTE)
    key(figure, {"network 1": NET_1, "network 2": NET_2})
    return figure


@drawn
def figure_3(index: np.ndarray, outputs: Mapping[str, np.ndarray], fit: Sequence[float]) -> Figure:
    """Figure 3: the output while the penultimate layer is restricted to ever more directions.

    `outputs`, shape (n, 4), begin with the unrestricted one, of whose variance each has the share
    `fit`.
    """
    figure, axes = panels(1, len(outputs), height=2.3, sharey=True)
    original = next(iter(outputs.values()))
    for ax, (title, values), share in zip(axes[0], outputs.items(), fit, strict=True):
        if values is not original:
            ax.plot(index, original, color=PALE, linewidth=2.6)
        for column, colour in zip(values.T, COLOURS, strict=False):
            ax.plot(index, column, color=colour, linewidth=1.3)
        ax.set_title(title, fontsize=8.5, pad=ABOVE_NOTE)
        _index_axis(ax, label="")
        if values is not original:
            note(ax, f"$R^2$ = {share:.4f}")
    axes[0, 0].set_ylabel("output")
    figure.supxlabel("datapoint", fontsize=8.5)  # no room for it between the ends of each axis
    return figure


def _merged(axes: np.ndarray) -> Axes:
    """Put one panel in the place of a row or a column of them."""
    figure = axes[0].figure
    first, last = axes[0].get_subplotspec(), axes[-1].get_subplotspec()
    for ax in axes:
        ax.remove()
    place = first.get_gridspec()[
        first.rowspan.start : last.rowspan.stop, first.colspan.start : last.colspan.stop
    ]
    merged: Axes = figure.add_subplot(place)
    return merged


def _index_axis(ax: Axes, label: str = "datapoint") -> None:
    """Make the x axis an index over a data set: its two ends are all that matters."""
    low, high = ax.dataLim.intervalx
    ax.set_xticks([low, high], [f"{low:,.0f}", f"{high:,.0f}"])
    ax.set_xlim(low, high)
    left, right = ax.get_xticklabels()
    left.set_horizontalalignment("left")
    right.set_horizontalalignment("right")
    ax.set_xlabel(label, labelpad=-6)  # between the two


def _sketch(ax: Axes, layers: Sequence[int], most: int = 7) -> None:
    """Draw a fully connected network from left to right, the penultimate layer shaded."""
    ax.set_axis_off()
    ax.set_title("Network")
    columns = []
    for width in layers:
        dots = min(width, most)
        columns.append(0.5 + 0.09 * (np.arange(dots) - (dots - 1) / 2))
    for i in range(len(columns) - 1):
        for low in columns[i]:
            for high in columns[i + 1]:
                ax.plot([i, i + 1], [low, high], color=PALE, linewidth=0.35, zorder=1)
    for i, (width, column) in enumerate(zip(layers, columns, strict=True)):
        shaded = i == len(layers) - 2
        ax.plot(
            np.full(len(column), i),
            column,
            "o",
            markersize=5.5,
            markeredgecolor=VERMILLION if shaded else GREY,
            markerfacecolor="#f3c6a8" if shaded else "white",
            zorder=2,
        )
        ax.text(i, column[0] - 0.05, f"{width}", ha="center", va="top", fontsize=7)
    ax.set(xlim=(-0.5, len(layers) - 0.5), ylim=(0, 1))
