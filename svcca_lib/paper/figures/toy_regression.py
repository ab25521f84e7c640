"""Chapter 1: the toy regression network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from svcca_lib.paper.figures.palette import BLUE, COLOURS, GREEN, GREY, PALE, VERMILLION
from svcca_lib.paper.figures.strokes import DASHED, Style
from svcca_lib.paper.figures.style import ABOVE_NOTE, drawn, key, letters, note, page, panels

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
    figure = page(4.7)
    axes = original, mixed, found, left, right = figure.subplot_mosaic("AABBCC;DDDEEE").values()
    for j, colour in enumerate((BLUE, VERMILLION, GREEN)):
        original.plot(index, neurons[:, j], color=colour, linewidth=2)
        mixed.plot(index, distorted[:, j], color=GREY, linestyle=("-", "--", ":")[j])
        found.plot(index, neurons[:, j], color=colour, linewidth=4.5, alpha=0.3)
        found.plot(index, recovered[:, j], color=colour, linestyle=DASHED, linewidth=1.4)
    titles = "Three neurons", "The same, mixed", "Found again by CCA"
    for ax, title in zip((original, mixed, found), titles, strict=True):
        ax.set_title(title)
        _index_axis(ax)
    original.set_ylabel("activation")
    found.set_ylim(original.get_ylim())

    wide: Style = {"color": BLUE, "linewidth": 4.5, "alpha": 0.4}
    for style, (pair, rho) in zip((wide, {"color": VERMILLION}), correlations.items(), strict=True):
        left.step(np.arange(1, len(rho) + 1), rho, where="mid", label=pair, **style)
    left.set(ylim=(0, 1.08), xlabel="canonical pair $i$", ylabel=r"$\rho_i$")
    left.set_title("CCA alone sees no difference")
    left.legend(loc="lower left", title="layers compared", alignment="left")

    lines: tuple[Style, ...] = {"color": BLUE}, {"color": VERMILLION, "linestyle": DASHED}
    for line, (name, share) in zip(lines, variances.items(), strict=True):
        k = kept[name]
        right.semilogy(np.arange(1, len(share) + 1), share, label=f"{name}: {k} kept", **line)
        right.plot(k, share[k - 1], "o", color=line["color"], markersize=5)
    right.set(xlabel="singular direction", ylabel="share of variance")
    right.set_title("The SVD counts what matters")
    right.legend(loc="center right", title="99 % of the variance", alignment="left")
    letters(axes)
    return figure


@drawn
def figure_1(index: np.ndarray, views: Mapping[str, Pairs], layers: Sequence[int]) -> Figure:
    """Figure 1: one layer of two networks as neurons, SVD directions and SVCCA directions.

    `views` has the leading pairs, one to a row, by title. `layers` are the widths of the network,
    sketched on the left; the last but one, which is shown, is shaded.
    """
    rows = max(len(pairs.correlations) for pairs in views.values())
    figure, axes = panels(rows, 1 + len(views), height=4.6, width_ratios=[0.8] + [1] * len(views))
    for ax in axes[:, 0]:
        ax.remove()
    sketch = figure.add_subplot(axes[0, 0].get_gridspec()[:, 0])
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
    columns = [0.5 + 0.09 * (np.arange(dots) - (dots - 1) / 2) for dots in np.minimum(layers, most)]
    for i, ends in enumerate(pairwise(columns)):
        for line in product(*ends):
            ax.plot([i, i + 1], line, color=PALE, linewidth=0.35, zorder=1)
    for i, (width, column) in enumerate(zip(layers, columns, strict=True)):
        edge, face = (VERMILLION, "#f3c6a8") if i == len(layers) - 2 else (GREY, "white")
        at = np.full(len(column), i)
        ax.plot(
            at, column, "o", markersize=5.5, markeredgecolor=edge, markerfacecolor=face, zorder=2
        )
        ax.text(i, column[0] - 0.05, f"{width}", ha="center", va="top", fontsize=7)
    ax.set(xlim=(-0.5, len(layers) - 0.5), ylim=(0, 1))
