"""Chapter 1: the toy regression network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from svcca_lib.paper.figures.palette import BLUE, COLOURS, GREEN, GREY, PALE, VERMILLION
from svcca_lib.paper.figures.strokes import DASHED, LONG, SHORT, Style
from svcca_lib.paper.figures.style import (
    ABOVE_NOTE,
    SMALLEST,
    drawn,
    for_phone,
    key,
    label_up,
    letters,
    note,
    page,
    panels,
    plain_numbers,
)

NET_1: Style = {"color": "#73b1d8", "linewidth": 2}  # light, and as light on black
NET_2: Style = {"color": VERMILLION, "linewidth": 1, "linestyle": DASHED}

OUTPUTS: tuple[Style, ...] = tuple(
    {"color": colour, "linestyle": dashes}
    for colour, dashes in zip(COLOURS[:4], ("-", LONG, SHORT, "-."), strict=True)
)


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
    figure = page(4.2, phone=9.5)
    mosaic = "A;B;C;D;E" if for_phone() else "AABBCC;DDDEEE"
    axes = original, mixed, found, left, right = figure.subplot_mosaic(mosaic).values()
    for ax in axes:
        ax.set_label("")  # they are named by their titles
    for j, colour in enumerate((BLUE, VERMILLION, GREEN)):
        name = f"neuron {j + 1}"
        dashes = ("-", LONG, SHORT)[j]
        original.plot(index, neurons[:, j], color=colour, linestyle=dashes, label=name)
        mix: Style = {"color": GREY, "linestyle": dashes, "label": f"mixture {j + 1}"}
        mixed.plot(index, distorted[:, j], **mix)
        found.plot(index, neurons[:, j], color=colour, linewidth=4, alpha=0.3, label=name)
        again: Style = {"color": colour, "linestyle": dashes, "linewidth": 1.2}
        found.plot(index, recovered[:, j], label=f"found for {name}", **again)
    titles = "Three neurons", "The same, mixed", "Found by CCA"
    for ax, title in zip((original, mixed, found), titles, strict=True):
        ax.set_title(title)
        _index_axis(ax)
    label_up((original, mixed, found), "activation")
    found.set_ylim(original.get_ylim())

    wide: Style = {"color": BLUE, "linewidth": 4.5, "alpha": 0.4}
    for style, (pair, rho) in zip((wide, {"color": VERMILLION}), correlations.items(), strict=True):
        left.step(np.arange(1, len(rho) + 1), rho, where="mid", label=pair, **style)
    left.set(ylim=(0, 1.08), xlabel="canonical pair", ylabel="correlation ρ")
    left.set_title("CCA alone sees no difference")
    left.legend(loc="lower left", title="layers compared", alignment="left")

    lines: tuple[Style, ...] = {"color": BLUE}, {"color": VERMILLION, "linestyle": DASHED}
    for i, (line, (name, share)) in enumerate(zip(lines, variances.items(), strict=True)):
        k = kept[name]
        right.semilogy(np.arange(1, len(share) + 1), share, label=f"{name}: {k} kept", **line)
        last: Style = {"color": line["color"], "marker": "os"[i], "linestyle": "", "markersize": 4}
        right.plot(k, share[k - 1], **last, label=f"{name}, the last kept")
    plain_numbers(right.yaxis)
    right.set(xlabel="singular direction", ylabel="share of variance")
    right.set_title("The SVD counts what matters")
    kept_lines = right.lines[::2]
    place: Style = {"loc": "center right", "alignment": "left"}
    right.legend(handles=kept_lines, title="99 % of the variance", **place)
    letters(axes)
    return figure


@drawn
def figure_1(index: np.ndarray, views: Mapping[str, Pairs], layers: Sequence[int]) -> Figure:
    """Figure 1: one layer of two networks as neurons, SVD directions and SVCCA directions.

    `views` has the leading pairs, one to a row, by title. `layers` are the widths of the network,
    sketched on the left; the last but one, which is shown, is shaded.
    """
    rows = max(len(pairs.correlations) for pairs in views.values())
    figure = page(4.2, phone=2 + 0.85 * rows * len(views))
    if for_phone():
        grid = figure.add_gridspec(1 + rows * len(views), 1, height_ratios=[2] + [1] * 3 * rows)
        places = [[grid[1 + c * rows + i, 0] for i in range(rows)] for c in range(len(views))]
        sketch = figure.add_subplot(grid[0, 0])
    else:
        grid = figure.add_gridspec(rows, 1 + len(views), width_ratios=[0.65] + [1] * len(views))
        places = [[grid[i, 1 + c] for i in range(rows)] for c in range(len(views))]
        sketch = figure.add_subplot(grid[:, 0])
    axes = np.array([[figure.add_subplot(at) for at in column] for column in places])
    _sketch(sketch, layers)
    for column, (title, pairs) in zip(axes, views.items(), strict=True):
        column[0].set_title(title)
        for i, (ax, rho) in enumerate(zip(column, pairs.correlations, strict=True)):
            ax.set_label(f"{title}, pair {i + 1}")
            ax.plot(index, pairs.net_1[:, i], label="network 1", **NET_1)
            ax.plot(index, pairs.net_2[:, i], label="network 2", **NET_2)
            ax.spines["left"].set_visible(False)
            ax.set_yticks([])
            ax.margins(y=0.1)
            note(ax, f"r = {rho:.2f}")
            _index_axis(ax)
            ax.xaxis.set_visible(i == rows - 1)
    letters([sketch, *axes[:, 0]], pad=ABOVE_NOTE)
    key(figure, {"network 1": NET_1, "network 2": NET_2})
    return figure


@drawn
def figure_3(index: np.ndarray, outputs: Mapping[str, np.ndarray], fit: Sequence[float]) -> Figure:
    """Figure 3: the output while the penultimate layer is restricted to ever more directions.

    `outputs`, shape (n, 4), begin with the unrestricted one, of whose variance each has the share
    `fit`.
    """
    figure, axes = panels(1, len(outputs), height=2.1, phone=1.5, sharey=True)
    original = next(iter(outputs.values()))
    for ax, (title, values), share in zip(axes[0], outputs.items(), fit, strict=True):
        if values is not original:
            for j, column in enumerate(original.T):
                ax.plot(index, column, color=PALE, linewidth=2.2, label=f"output {j + 1}, all")
        for j, (column, style) in enumerate(zip(values.T, OUTPUTS, strict=False)):
            ax.plot(index, column, linewidth=1.1, label=f"output {j + 1}", **style)
        ax.set_title(title, pad=ABOVE_NOTE)
        _index_axis(ax, label="")
        if values is not original:
            note(ax, f"R² = {share:.4f}")
    label_up(axes[0], "output")
    figure.supxlabel("datapoint", fontsize=7.5)
    return figure


def _index_axis(ax: Axes, label: str = "datapoint") -> None:
    """Make the x axis an index over a data set: its two ends are all that matters."""
    low, high = ax.dataLim.intervalx
    ax.set_xticks([low, high], [f"{low:,.0f}", f"{high:,.0f}"])
    ax.set_xlim(low, high)
    left, right = ax.get_xticklabels()
    left.set_horizontalalignment("left")
    right.set_horizontalalignment("right")
    ax.set_xlabel(label)


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
            at, column, "o", markersize=4.5, markeredgecolor=edge, markerfacecolor=face, zorder=2
        )
        # Below its dots; beside the single one, from which lines go down.
        x, y = (i - 0.2, column[0]) if len(column) == 1 else (i, column[0] - 0.05)
        below: Style = {"ha": "center", "va": "top"}
        how: Style = {"ha": "right", "va": "center"} if len(column) == 1 else below
        ax.text(x, y, f"{width}", rotation=90, fontsize=SMALLEST, **how)
    ax.set(xlim=(-0.5, len(layers) - 0.5), ylim=(0, 1))
