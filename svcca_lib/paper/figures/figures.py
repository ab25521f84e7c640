"""One function per figure of the paper: arrays in, a Matplotlib figure out, drawing only.

What the numbers are is decided before they come here. Each function is marked `drawn`, which sets
the book's style whatever the reader's own settings, and builds its panels with `panels`.

A figure is an opaque white card, 7.6 inches wide (760 pixels on a page); for dark pages `dark`
makes the same drawing in light ink. The colours are those of Okabe and Ito, which readers with any
common colour blindness can tell apart; nothing is told by colour alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from svcca_lib.paper.experiments.pairing import Pairs
from svcca_lib.paper.figures.dark import ON_BRIGHT, ON_DEEP

if TYPE_CHECKING:
    import pandas as pd

P = ParamSpec("P")

WIDTH = 7.6  # inches, as wide as the text of a page
ABOVE_NOTE = 17  # points between a panel and its title where a `note` comes between them

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#B5589A"
ORANGE, SKY, INK, GREY, PALE = "#E69F00", "#56B4E9", "#1a1a1a", "#767676", "#c8c8c8"

NET_1: Mapping[str, Any] = {"color": "#73b1d8", "linewidth": 2.4}  # light, and as light on black
NET_2: Mapping[str, Any] = {"color": VERMILLION, "linewidth": 1.2, "linestyle": (0, (4, 1.6))}

STYLE: Mapping[str, Any] = {
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "savefig.pad_inches": 0.08,
    "svg.fonttype": "path",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with Matplotlib: the same on every machine
    "font.size": 8.5,
    "text.color": INK,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 6,
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": matplotlib.cycler(color=[BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY]),
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 2.4,
}


def drawn(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the book's style, and leave the reader's settings as they were."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.style.context(["default", dict(STYLE)]):
            return draw(*args, **kwargs)

    return styled


def panels(
    rows: int = 1, columns: int = 1, *, height: float, **subplots: Any
) -> tuple[Figure, np.ndarray]:
    """Return a figure of the book's width and its axes, shape (rows, columns).

    Parameters
    ----------
    rows, columns : int
    height : float
        Inches.
    **subplots
        For `Figure.subplots`: ``sharex``, ``width_ratios`` ...
    """
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **subplots)


def letters(axes: Sequence[Axes], *, pad: float | None = None) -> None:
    """Put (a), (b), ... before the titles of panels, as captions refer to them."""
    for letter, ax in zip("abcdefgh", axes, strict=False):
        ax.set_title(f"({letter}) {ax.get_title(loc='left')}".rstrip(), pad=pad)


def key(figure: Figure, entries: Mapping[str, Mapping[str, Any]], columns: int = 5) -> None:
    """Put one legend below all panels: name -> properties of its line."""
    handles = [Line2D([], [], label=label, **style) for label, style in entries.items()]
    rows = -(-len(handles) // columns)
    # As many in each row: six in five columns would leave a second row of one.
    figure.legend(handles=handles, loc="outside lower center", ncols=-(-len(handles) // rows))


def note(ax: Axes, text: str) -> None:
    """Put a number above the right end of a panel; its title then needs ``pad=ABOVE_NOTE``."""
    ax.text(1, 1.02, text, transform=ax.transAxes, ha="right", va="bottom", fontsize=8)


def index_axis(ax: Axes, label: str = "datapoint") -> None:
    """Make the x axis an index over a data set: its two ends are all that matters."""
    low, high = ax.dataLim.intervalx
    ax.set_xticks([low, high], [f"{low:,.0f}", f"{high:,.0f}"])
    ax.set_xlim(low, high)
    left, right = ax.get_xticklabels()
    left.set_horizontalalignment("left")
    right.set_horizontalalignment("right")
    ax.set_xlabel(label, labelpad=-6)  # between the two


# ----------------------------------------------------------------------- chapter 1: toy regression


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

    Parameters
    ----------
    index : array, shape (n,)
        Of the datapoints drawn.
    neurons, distorted, recovered : array, shape (n, 3)
        Three neurons; the same permuted, rotated and scaled; what CCA finds in these.
    correlations : mapping of str to array
        Canonical correlations of each pair of layers, named, such as "A, B".
    variances : mapping of str to array
        Share of the variance that each singular direction of a layer holds.
    kept : mapping of str to int
        Directions of each of these layers that hold 99 % of its variance.
    """
    figure, axes = panels(2, 6, height=4.7)
    grid = axes[0, 0].get_gridspec()
    for ax in axes.flat:
        ax.remove()
    top = [figure.add_subplot(grid[0, 2 * i : 2 * i + 2]) for i in range(3)]
    bottom = [figure.add_subplot(grid[1, 3 * i : 3 * i + 3]) for i in range(2)]
    colours = (BLUE, VERMILLION, GREEN)

    for ax, title, values in zip(
        top,
        ("Three neurons", "The same, mixed", "Found again by CCA"),
        (neurons, distorted, recovered),
        strict=True,
    ):
        for j, colour in enumerate(colours):
            if values is distorted:
                ax.plot(index, values[:, j], color=GREY, linestyle=("-", "--", ":")[j])
            elif values is recovered:
                ax.plot(index, neurons[:, j], color=colour, linewidth=4.5, alpha=0.3)
                ax.plot(index, values[:, j], color=colour, linestyle=(0, (4, 1.6)), linewidth=1.4)
            else:
                ax.plot(index, values[:, j], color=colour, linewidth=2)
        ax.set_title(title)
        index_axis(ax)
    top[0].set_ylabel("activation")
    top[2].set_ylim(top[0].get_ylim())

    left, right = bottom
    styles = ({"color": BLUE, "linewidth": 4.5, "alpha": 0.4}, {"color": VERMILLION})
    for style, (pair, rho) in zip(styles, correlations.items(), strict=True):
        left.step(np.arange(1, len(rho) + 1), rho, where="mid", label=pair, **style)
    left.set(ylim=(0, 1.08), xlabel="canonical pair $i$", ylabel=r"$\rho_i$")
    left.set_title("CCA alone sees no difference")
    left.legend(loc="lower left", title="layers compared", alignment="left")

    styles = (
        {"color": BLUE, "linestyle": "-"},
        {"color": VERMILLION, "linestyle": (0, (4, 1.6))},
    )
    for style, (name, share) in zip(styles, variances.items(), strict=True):
        k = kept[name]
        right.semilogy(np.arange(1, len(share) + 1), share, label=f"{name}: {k} kept", **style)
        right.plot(k, share[k - 1], "o", color=style["color"], markersize=5)
    right.set(xlabel="singular direction", ylabel="share of variance")
    right.set_title("The SVD counts what matters")
    right.legend(loc="center right", title="99 % of the variance", alignment="left")
    letters([*top, *bottom])
    return figure


@drawn
def figure_1(index: np.ndarray, views: Mapping[str, Pairs], layers: Sequence[int]) -> Figure:
    """Figure 1: one layer of two networks as neurons, SVD directions and SVCCA directions.

    Parameters
    ----------
    index : array, shape (n,)
        Of the datapoints drawn.
    views : mapping of str to Pairs
        Title -> the leading pairs, one to a row.
    layers : sequence of int
        Width of each layer of the network, which is sketched on the left; the last but one, the
        one that is shown, is shaded.
    """
    rows = max(len(pairs.correlations) for pairs in views.values())
    figure, axes = panels(rows, 1 + len(views), height=4.6, width_ratios=[0.8] + [1] * len(views))
    grid = axes[0, 0].get_gridspec()
    for ax in axes[:, 0]:
        ax.remove()
    sketch = figure.add_subplot(grid[:, 0])
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
            index_axis(ax)
            ax.xaxis.set_visible(i == rows - 1)
    letters([sketch, *axes[0, 1:]], pad=ABOVE_NOTE)
    key(figure, {"network 1": NET_1, "network 2": NET_2})
    return figure


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


@drawn
def figure_3(index: np.ndarray, outputs: Mapping[str, np.ndarray], fit: Sequence[float]) -> Figure:
    """Figure 3: the output while the penultimate layer is restricted to ever more directions.

    Parameters
    ----------
    index : array, shape (n,)
        Of the datapoints drawn.
    outputs : mapping of str to array, shape (n, 4)
        Title -> output; the first is the unrestricted one.
    fit : sequence of float
        How much of the variance of the unrestricted output each of them has.
    """
    figure, axes = panels(1, len(outputs), height=2.3, sharey=True)
    original = next(iter(outputs.values()))
    colours = (BLUE, VERMILLION, GREEN, PURPLE)
    for ax, (title, values), share in zip(axes[0], outputs.items(), fit, strict=True):
        if values is not original:
            ax.plot(index, original, color=PALE, linewidth=2.6)
        for j, colour in enumerate(colours):
            ax.plot(index, values[:, j], color=colour, linewidth=1.3)
        ax.set_title(title, fontsize=8.5, pad=ABOVE_NOTE)
        index_axis(ax, label="")
        if values is not original:
            note(ax, f"$R^2$ = {share:.4f}")
    axes[0, 0].set_ylabel("output")
    figure.supxlabel("datapoint", fontsize=8.5)  # no room for it between the ends of each axis
    return figure


# ----------------------------------------------------------- chapter 2: distributed representations


@dataclass(frozen=True)
class Curve:
    """Accuracy against how much of a layer is left.

    Attributes
    ----------
    counts : array, shape (k,)
        Directions or neurons.
    accuracy : array, shape (..., k)
        One row per network and draw; drawn as their mean, and their range as a band.
    """

    counts: np.ndarray
    accuracy: np.ndarray


def _curve(ax: Axes, curve: Curve, style: Mapping[str, Any], *, band: bool = True) -> None:
    rows = np.reshape(curve.accuracy, (-1, len(curve.counts)))
    ax.plot(curve.counts, rows.mean(axis=0), **style)
    if band and len(rows) > 1:
        low, high = rows.min(axis=0), rows.max(axis=0)
        ax.fill_between(curve.counts, low, high, color=style["color"], alpha=0.16, linewidth=0)


def _accuracy_axis(ax: Axes, full: float, chance: float) -> None:
    """Make the y axis one of accuracies, the network as it is and guessing each named at a line."""
    ax.set_ylim(0, 1.05)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.grid(axis="y")
    place = {"transform": ax.get_yaxis_transform(), "ha": "right", "fontsize": 7.5}
    # Outside the band between the two, where the curves are.
    for height, name, side in ((full, "whole layer", "bottom"), (chance, "chance", "top")):
        ax.axhline(height, color=GREY, linewidth=0.9, linestyle=(0, (1, 2)), zorder=0)
        ax.text(0.99, height, name, color=GREY, va=side, **place)


def _log_axis(ax: Axes, most: float) -> None:
    """Make the x axis a logarithmic one of whole numbers, few enough to be read."""
    ticks = [t * d for d in (1, 10, 100, 1000) for t in (1, 2, 5) if t * d <= most]
    ax.set_xscale("log")
    ax.set_xticks(ticks[:: 1 + len(ticks) // 9], minor=False)
    ax.set_xticks([], minor=True)
    ax.xaxis.set_major_formatter("{x:,.0f}")


LINES_2A: Mapping[str, Mapping[str, Any]] = {
    "SVCCA directions": {"color": BLUE, "linewidth": 2.4},
    "random neurons": {"color": GREEN, "linestyle": (0, (5, 1.5))},
    "most active neurons": {"color": VERMILLION, "linestyle": (0, (2, 1.2))},
    "random, others silent": {"color": GREY, "linestyle": "-.", "linewidth": 1.2},
}


@drawn
def figure_2a(layers: Mapping[str, Mapping[str, Curve]], *, full: float, chance: float) -> Figure:
    """Figure 2a: accuracy against the number of directions, or neurons, a layer is left with.

    Parameters
    ----------
    layers : mapping of str to mapping of str to Curve
        Layer, such as "fc1 (512 neurons)" -> a curve for each name in `LINES_2A`.
    full, chance : float
        Accuracy of the network as it is, and of guessing.
    """
    figure, axes = panels(1, len(layers), height=2.9, sharey=True)
    for ax, (title, curves) in zip(axes[0], layers.items(), strict=True):
        _accuracy_axis(ax, full, chance)
        for name, curve in curves.items():
            _curve(ax, curve, LINES_2A[name])
        most = max(curve.counts[-1] for curve in curves.values())
        _log_axis(ax, most)
        ax.set(title=title, xlabel="directions or neurons kept, $k$")
    axes[0, 0].set_ylabel("test accuracy, no retraining")
    letters(axes[0])
    key(figure, LINES_2A)
    return figure


def _apart(one: float, other: float, gap: float) -> tuple[float, float]:
    """Move two labels apart, each by half of what is missing to a gap."""
    shift = max(0.0, gap - abs(one - other)) / 2
    return (one + shift, other - shift) if one > other else (one - shift, other + shift)


SUBSETS: tuple[str, ...] = (VERMILLION, GREEN)
READ, SILENT = (0, (5, 1.5)), (0, (1, 1.4))


@drawn
def figure_2b(
    layers: Mapping[str, Mapping[int, Mapping[str, Curve]]],
    directions: Mapping[str, Curve],
    *,
    full: float,
    chance: float,
) -> Figure:
    """Figure 2b: the leading directions again, each restricted to the neurons that matter most.

    Parameters
    ----------
    layers : mapping of str to mapping of int to mapping of str to Curve
        Layer -> number of neurons, two of them -> curve "read" (the directions are read from these
        neurons) and "silent" (the other neurons are silent).
    directions : mapping of str to Curve
        Layer -> the directions without a restriction.
    full, chance : float
        Accuracy of the network as it is, and of guessing.
    """
    figure, axes = panels(1, len(layers), height=3.1, sharey=True)
    for ax, (title, subsets) in zip(axes[0], layers.items(), strict=True):
        _accuracy_axis(ax, full, chance)
        _curve(ax, directions[title], {"color": BLUE, "linewidth": 2.4})
        for colour, curves in zip(SUBSETS, subsets.values(), strict=True):
            for name, dashes in (("read", READ), ("silent", SILENT)):
                _curve(ax, curves[name], {"color": colour, "linestyle": dashes})
        ends = [
            np.reshape(c["read"].accuracy, (-1, len(c["read"].counts))) for c in subsets.values()
        ]
        heights = _apart(*(rows[:, -1].mean() for rows in ends), gap=0.06)
        for colour, neurons, height in zip(SUBSETS, subsets, heights, strict=True):
            ax.annotate(
                f"$m$ = {neurons}",
                (directions[title].counts[-1], height),
                xytext=(4, 0),
                textcoords="offset points",
                color=colour,
                va="center",
            )
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(title=title, xlabel="SVCCA directions, $k$", xlim=(0, None))
    axes[0, 0].set_ylabel("test accuracy, no retraining")
    letters(axes[0])
    key(
        figure,
        {
            "all neurons": {"color": BLUE, "linewidth": 2.4},
            "read from $m$ neurons": {"color": INK, "linestyle": READ},
            "other neurons silent": {"color": INK, "linestyle": SILENT},
        },
    )
    return figure


# ---------------------------------------------------------------------- chapter 5: Freeze Training


@dataclass(frozen=True)
class Freezing:
    """Test accuracy of one network trained without and with freezing.

    Attributes
    ----------
    steps : array, shape (t,)
        Steps of the evaluations.
    base, freeze : array, shape (seeds, t)
        Accuracies; row i of both belongs to one seed.
    difference : array, shape (3, t)
        Mean of ``freeze - base`` over the pairs, and the two ends of its confidence interval.
    freezes : array
        Steps at which layers were frozen.
    """

    steps: np.ndarray
    base: np.ndarray
    freeze: np.ndarray
    difference: np.ndarray
    freezes: np.ndarray


LINES_5: Mapping[str, Mapping[str, Any]] = {
    "base": {"color": VERMILLION, "linestyle": (0, (4, 1.6))},
    "freeze": {"color": BLUE},
    "a layer or unit is frozen": {"color": GREY, "linewidth": 0.8, "linestyle": (0, (1, 2))},
}


@drawn
def figure_5(networks: Mapping[str, Freezing]) -> Figure:
    """Figure 5: test accuracy without and with freezing, and the difference of matched runs.

    Parameters
    ----------
    networks : mapping of str to Freezing
        Title -> what was measured.
    """
    figure, axes = panels(
        2, len(networks), height=4.3, sharex="col", sharey="row", height_ratios=(1.7, 1)
    )
    base, freeze, frozen = LINES_5.values()
    for column, (title, n) in zip(axes.T, networks.items(), strict=True):
        above, below = column
        for ax in column:
            for step in n.freezes:
                ax.axvline(step, zorder=0, **frozen)
            ax.grid(axis="y")
        _curve(above, Curve(n.steps, n.base), base)
        _curve(above, Curve(n.steps, n.freeze), freeze)
        above.set_title(title)
        mean, low, high = 100 * n.difference
        below.axhline(0, **base)
        below.plot(n.steps, mean, **freeze)
        below.fill_between(n.steps, low, high, color=freeze["color"], alpha=0.16, linewidth=0)
        below.set_xlabel("training step")
        below.xaxis.set_major_formatter("{x:,.0f}")
    # What happens once layers freeze: the rise before it would fill the panel.
    late = [
        curves[:, n.steps >= n.freezes[0]].min()
        for n in networks.values()
        for curves in (n.base, n.freeze)
    ]
    axes[0, 0].set_ylim(min(late) - 0.01, None)
    axes[0, 0].set_ylabel("test accuracy")
    axes[1, 0].set_ylabel("freeze $-$ base,\npercentage points")
    letters(axes[0])
    key(figure, LINES_5)
    return figure


@drawn
def figure_5_cost(networks: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Arithmetic of one step of Freeze Training over time, the base run's step being 1.

    Parameters
    ----------
    networks : mapping of str to (array, shape (stages + 1,), array, shape (stages,))
        Title -> steps at which the stages between freezes begin, the end included, and the cost of
        a step in each stage.
    """
    figure, axes = panels(1, len(networks), height=2.4, sharey=True)
    base, freeze, _ = LINES_5.values()
    for ax, (title, (starts, cost)) in zip(axes[0], networks.items(), strict=True):
        ax.stairs(cost, starts, baseline=None, linewidth=1.6, **freeze)
        ax.stairs(np.ones(len(cost)), starts, baseline=cost, fill=True, color=BLUE, alpha=0.16)
        ax.hlines(1, starts[0], starts[-1], **base)
        ax.axhline(1 / 3, color=GREY, linewidth=0.9, linestyle=(0, (1, 2)))
        ax.text(starts[-1] * 0.02, 1 / 3 + 0.02, "forward pass alone", color=GREY, fontsize=7.5)
        saved = 1 - cost @ np.diff(starts) / starts[-1]
        middle = (starts[:-1] + starts[1:]) / 2
        at = np.average(middle, weights=(1 - cost) * np.diff(starts))
        ax.text(at, 0.8, f"saved: {100 * saved:.0f} %", ha="center", color=BLUE, weight="bold")
        ax.set(title=title, xlabel="training step", ylim=(0, 1.08))
        ax.xaxis.set_major_formatter("{x:,.0f}")
    axes[0, 0].set_ylabel("arithmetic of one step")
    letters(axes[0])
    key(figure, {name: LINES_5[name] for name in ("base", "freeze")})
    return figure


# --------------------------------------------------------------- chapter 9: recurrent networks


@drawn
def perplexity(steps: Sequence[int], curves: np.ndarray, unigram: float) -> Figure:
    """Perplexity of a language model on unseen text while it trains.

    Parameters
    ----------
    steps : sequence of int, shape (t,)
    curves : array, shape (seeds, t)
    unigram : float
        Perplexity of knowing only how frequent each token is.
    """
    figure, axes = panels(height=2.5)
    ax = axes[0, 0]
    for offset, (curve, dashes) in enumerate(zip(curves, _DASHES * len(curves), strict=False)):
        ax.plot(steps, curve, color=BLUE, linestyle=dashes, label=f"LSTM, seed {offset}")
    ax.axhline(unigram, color=VERMILLION, linewidth=1.2, linestyle=(0, (4, 1.6)))
    ax.annotate(
        f"unigram model, {unigram:.3g}",
        (steps[-1], unigram),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        color=VERMILLION,
    )
    ax.set(yscale="log", xlabel="training step", ylabel="perplexity on the test text")
    ax.set_xlim(0, steps[-1])
    ticks = np.outer(10.0 ** np.arange(6), (1, 2, 5)).ravel()
    low, high = curves.min() / 1.2, 1.2 * max(curves.max(), unigram)
    shown = ticks[(low <= ticks) & (ticks <= high)]
    ax.set_yticks(shown, [f"{tick:,.0f}" for tick in shown])
    ax.minorticks_off()
    ax.set_ylim(low, high)
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.grid(axis="y")
    ax.legend(loc="upper right", bbox_to_anchor=(1, 0.68))
    return figure


_DASHES = ["-", (0, (5, 1.5)), (0, (2, 1.2)), "-.", (0, (7, 1.5, 1, 1.5, 1, 1.5))]
_STACK = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
_MARKERS = "os^Dv*"


@drawn
def appendix_figure_6(
    fractions: np.ndarray,
    layers: Sequence[str],
    similarity: np.ndarray,
    share: np.ndarray,
    floor: np.ndarray,
) -> Figure:
    """Appendix Figure 6: SVCCA of the layers of a language model to their own final state.

    Parameters
    ----------
    fractions : array, shape (t,)
        Of training, from 0 to 1.
    layers : sequence of str
        From the input upward; the first, the embedding, is drawn in the left panel alone.
    similarity, share, floor : array, shape (seeds, t, layers)
        To the final state; of the way to it; to the final state on other sequences.
    """
    figure, axes = panels(1, 2, height=3.1)
    left, right = axes[0]
    styles: dict[str, dict[str, Any]] = {
        layers[0]: {"color": GREY, "linestyle": (0, (4, 1.6)), "linewidth": 1.2}
    }
    for i, name in enumerate(layers[1:]):
        i %= len(_STACK)
        styles[name] = {"color": _STACK[i], "marker": _MARKERS[i], "markersize": 3.5}
    for j, (name, style) in enumerate(styles.items()):
        _curve(left, Curve(fractions, similarity[:, :, j]), style)
        dots = {"color": style["color"], "linewidth": 1, "linestyle": (0, (1, 2))}
        _curve(left, Curve(fractions, floor[:, :, j]), dots, band=False)
        if name != layers[0]:
            _curve(right, Curve(fractions, share[:, :, j]), style)
    left.text(0.99, floor[:, -1].mean() + 0.05, "floor", ha="right", color=GREY, fontsize=7.5)
    left.set(ylabel="SVCCA to the final state", ylim=(0, 1.03), title="Similarity")
    right.set(ylabel="share of the way covered", ylim=(None, 1.03), title="Progress")
    for ax in (left, right):
        ax.set(xlabel="fraction of training", xlim=(0, 1))
        ax.grid(axis="y")
    letters([left, right])
    key(figure, styles)
    return figure


# ------------------------------------------------------------------------- chapter 8: compression

_SHARES = tuple(
    {"color": colour, "linestyle": dashes, "marker": marker, "markersize": 3, "linewidth": 1.3}
    for colour, dashes, marker in zip(
        (SKY, BLUE, ORANGE, VERMILLION),
        ((0, (1, 1.4)), "-", "-.", (0, (5, 1.5))),
        "vos^",
        strict=True,
    )
)
_ALL_FIVE: Mapping[str, Mapping[str, Any]] = {
    "(a) two networks": {"color": VERMILLION, "linestyle": (0, (4, 1.6)), "marker": "s"},
    "(b) logits": {"color": BLUE, "marker": "o"},
    "SVD alone": {"color": GREY, "linestyle": (0, (1, 1.4)), "marker": ""},
}


@drawn
def appendix_figure_5(
    ratios: Sequence[float],
    layers: Sequence[str],
    accuracy: Mapping[str, np.ndarray],
    full: Mapping[str, float],
    chance: float,
    shares: Sequence[float],
) -> Figure:
    """Appendix Figure 5: accuracy while the top layers are compressed one after another.

    Parameters
    ----------
    ratios : sequence of float
        Directions kept, as a share of the neurons of a layer.
    layers : sequence of str
        In the order in which they are compressed.
    accuracy : mapping of str to array, shape (seeds, layers, ratios)
        For directions from two networks, from the logits, and from the SVD alone, in this order.
    full : mapping of str to float
        Accuracy of the network as it is, by the name of the images.
    chance : float
        Accuracy of guessing.
    shares : sequence of float
        Those of `ratios` that are followed layer by layer, at most four.
    """
    figure, axes = panels(1, 3, height=3.2)
    two, logits, svd = accuracy.values()
    at = [list(ratios).index(share) for share in shares]
    compressed = np.arange(1, len(layers) + 1)
    followed = dict(zip(shares, _SHARES, strict=False))
    for ax, curves, title in zip(
        axes[0], (two, logits), ("Two networks", "Layer against logits"), strict=False
    ):
        for i, style in zip(at, followed.values(), strict=True):
            _curve(ax, Curve(compressed, curves[:, :, i]), style)
        ax.set_title(title)
        ax.set_xticks(compressed, [f"+ {n}" if i else n for i, n in enumerate(layers)])
        ax.set_xlabel("layers compressed")
    lowest = min(curves[:, :, at].min() for curves in (two, logits))
    floor = max(0.0, lowest - 0.35 * (max(full.values()) - lowest))  # room for the legend
    for ax in axes[0, :2]:
        ax.set_ylim(floor, max(full.values()) + 0.06 * (max(full.values()) - floor))
        ax.legend(
            handles=[Line2D([], [], label=f"{k:g}", **style) for k, style in followed.items()],
            loc="lower left",
            ncols=2,
            title="share of directions kept",
            title_fontsize=7.5,
        )
    axes[0, 0].set_ylabel("test accuracy, no retraining")
    axes[0, 1].tick_params(labelleft=False)
    last = axes[0, 2]
    for curves, style in zip((two, logits, svd), _ALL_FIVE.values(), strict=True):
        _curve(last, Curve(np.asarray(ratios), curves[:, -1]), {"markersize": 3, **style})
    last.set_title("All five layers")
    last.legend(
        handles=[Line2D([], [], label=n, markersize=3, **s) for n, s in _ALL_FIVE.items()],
        loc="lower right",
        bbox_to_anchor=(1, 0.16),
        handlelength=1.5,
    )
    last.set(xscale="log", ylim=(0, 1.06), xlabel="directions kept, share of neurons")
    ticks = [r for r in (0.02, 0.05, 0.1, 0.22, 0.45, 1.0) if ratios[0] <= r <= ratios[-1]]
    last.set_xticks(ticks, [f"{r:g}" for r in ticks])
    last.minorticks_off()
    dots = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (1, 2)), "zorder": 0}
    last.axhline(chance, **dots)
    last.text(ratios[0], chance - 0.01, "guessing", color=GREY, fontsize=7.5, va="top")
    for ax in axes[0]:
        for name, height in full.items():
            ax.axhline(height, **dots)
            if ax is not last:
                ax.annotate(
                    name,
                    (1, height),
                    (2, 0),
                    xycoords=ax.get_yaxis_transform(),
                    textcoords="offset points",
                    va="center",
                    color=GREY,
                    fontsize=7.5,
                )
        ax.grid(axis="y")
    letters(axes[0])
    return figure


# -------------------------------------------------------------------- chapter 4: learning dynamics


def _heat_map(ax: Axes, matrix: np.ndarray, ticks: Mapping[int, str], **drawing: Any) -> Any:
    """Draw a matrix of layers, the input at the lower left, with labels at some of its layers."""
    image = ax.imshow(matrix, origin="lower", interpolation="nearest", **drawing)
    ax.set_xticks(list(ticks), list(ticks.values()), rotation=90)
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.tick_params(length=0 if len(ticks) == len(matrix) else 2, labelsize=5.6, pad=1.5)
    ax.spines[:].set_visible(False)
    return image


SIMILARITY: Mapping[str, Any] = {"cmap": "viridis", "vmin": 0, "vmax": 1}


@drawn
def figure_4(
    rows: Mapping[str, np.ndarray], times: Sequence[str], ticks: Mapping[int, str]
) -> Figure:
    """Figure 4: layers during training against layers at its end.

    Parameters
    ----------
    rows : mapping of str to array, shape (t, layers, layers)
        Title, such as "this book" -> similarities at each time.
    times : sequence of str
        One for each column.
    ticks : mapping of int to str
        Labels of the layers to name, by position.
    """
    figure, axes = panels(
        len(rows), len(times), height=0.8 + 1.6 * len(rows), sharex=True, sharey=True
    )
    for line, (title, matrices) in zip(axes, rows.items(), strict=True):
        for ax, time, matrix in zip(line, times, matrices, strict=True):
            image = _heat_map(ax, matrix, ticks, **SIMILARITY)
            ax.set_title(time, fontsize=8.5)
        line[0].set_ylabel(f"{title}\nlayer during training")
    figure.supxlabel("layer at the end of training", fontsize=8.5)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.01, aspect=30)
    bar.set_label("SVCCA similarity")
    bar.outline.set_visible(False)
    return figure


@drawn
def figure_4_differences(networks: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """How far our Figure 4 is from the paper's, layer by layer.

    Parameters
    ----------
    networks : mapping of str to mapping of str to array, shape (layers,)
        Title -> time -> ours less the paper's, averaged over a row of the matrix.
    """
    figure, axes = panels(1, len(networks), height=2.5, sharey=True)
    styles: tuple[Mapping[str, Any], ...] = (
        {"color": GREY, "linestyle": (0, (1, 1.4))},
        {"color": ORANGE, "linestyle": (0, (5, 1.5))},
        {"color": GREEN, "linestyle": "-."},
        {"color": BLUE, "linestyle": "-"},
    )
    for ax, (title, times) in zip(axes[0], networks.items(), strict=True):
        ax.axhline(0, color=INK, linewidth=0.8)
        for style, difference in zip(styles, times.values(), strict=True):
            ax.plot(np.arange(1, len(difference) + 1), difference, **style)
        ax.set(title=title, xlabel="layer during training, from the input")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(axis="y")
    axes[0, 0].set_ylabel("ours $-$ the paper's")
    letters(axes[0])
    key(figure, dict(zip(times, styles, strict=True)))
    return figure


@dataclass(frozen=True)
class Convergence:
    """How the layers of a network come to their final states.

    Attributes
    ----------
    fractions : array, shape (t,)
        Of training.
    own : array, shape (t, layers)
        Similarity of each layer to its own final state.
    settled : array, shape (layers,)
        Fraction of training at which it stays above the threshold.
    counted : array of bool, shape (layers,)
        Whether the layer enters the rank correlation.
    title : str
    """

    fractions: np.ndarray
    own: np.ndarray
    settled: np.ndarray
    counted: np.ndarray
    title: str


@drawn
def appendix_figure_3(networks: Sequence[Convergence], threshold: float) -> Figure:
    """Appendix Figure 3: each layer on its way to its final state, and when it has come close.

    Parameters
    ----------
    networks : sequence of Convergence
    threshold : float
        Of the settling times.
    """
    figure, axes = panels(2, len(networks), height=4.6, sharey="row", height_ratios=(1.3, 1))
    colours = matplotlib.colormaps["viridis"]
    for (above, below), network in zip(axes.T, networks, strict=True):
        depth = np.arange(network.own.shape[1])
        shades = colours(0.92 * depth / depth[-1])
        for curve, shade in zip(network.own.T, shades, strict=True):
            above.plot(100 * network.fractions, curve, color=shade, linewidth=1.1)
        above.axhline(threshold, color=INK, linewidth=0.9, linestyle=(0, (1, 2)))
        above.set(title=network.title, xlabel="training time, %")
        for counted, marker, face in ((True, "o", shades), (False, "o", "none")):
            at = network.counted == counted
            below.scatter(
                depth[at] + 1,
                100 * network.settled[at],
                marker=marker,
                s=16,
                facecolors=face[at] if counted else face,
                edgecolors=shades[at],
            )
        below.set_xlabel("layer, from the input")
        below.xaxis.get_major_locator().set_params(integer=True)
        below.grid(axis="y")
    axes[0, 0].set_ylabel("similarity to its own\nfinal state")
    axes[1, 0].set_ylabel(f"time at which it\nreaches {threshold:g}, %")
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, 1 / 0.92), colours)
    bar = figure.colorbar(scale, ax=axes[0], pad=0.01, aspect=20, boundaries=np.linspace(0, 1, 200))
    bar.set_ticks([0, 1], labels=["input", "output"])
    bar.outline.set_visible(False)
    letters(axes[0])
    return figure


@drawn
def appendix_figure_4(
    matrix: np.ndarray, chance: np.ndarray, labels: Sequence[str], names: tuple[str, str]
) -> Figure:
    """Appendix Figure 4: the layers of two networks that differ in their seed.

    Parameters
    ----------
    matrix : array, shape (layers, layers)
        Rows: the first network; columns: the second.
    chance : array, shape (layers,)
        What independent layers of these sizes would give on the diagonal.
    labels : sequence of str
    names : (str, str)
        Of the two networks.
    """
    figure, axes = panels(1, 2, height=3.3, width_ratios=(1, 1.25))
    left, right = axes[0]
    ticks = dict(enumerate(labels))
    image = _heat_map(left, matrix, ticks, **SIMILARITY)
    left.tick_params(labelsize=7)
    left.set(title="All pairs of layers", ylabel=f"layers of {names[0]}")
    left.set_xlabel(f"layers of {names[1]}")
    bar = figure.colorbar(image, ax=left, shrink=0.75, pad=0.02, aspect=25)
    bar.outline.set_visible(False)
    depth = np.arange(len(labels))
    right.plot(depth, matrix.diagonal(), color=BLUE, marker="o", markersize=4)
    right.plot(depth, chance, color=GREY, linestyle=(0, (1, 2)))
    middle = len(depth) // 2
    right.text(middle, chance[middle] + 0.02, "chance", ha="center", va="bottom", color=GREY)
    right.set_xticks(depth, labels, rotation=90)
    right.set(title="The same layer in both", ylim=(0, 1.03), ylabel="SVCCA similarity")
    right.grid(axis="y")
    letters(axes[0])
    return figure


# --------------------------------------------------------------------- chapter 3: the DFT theorems


@drawn
def appendix_figure_2(covariances: Mapping[str, np.ndarray], off: Sequence[float]) -> Figure:
    """Appendix Figure 2: covariance of one channel in two bases, on two data sets.

    Parameters
    ----------
    covariances : mapping of str to array, shape (pixels, pixels)
        Title -> absolute covariance; four, row by row.
    off : sequence of float
        Share of the energy of each that lies off its diagonal.
    """
    figure, axes = panels(2, 2, height=6.5)
    shades = LogNorm(1e-4, 1, clip=True)
    for ax, (title, matrix), share in zip(axes.flat, covariances.items(), off, strict=True):
        image = ax.imshow(matrix / matrix.max(), cmap="Greys", norm=shades, interpolation="nearest")
        ax.spines[:].set_visible(True)
        ax.set_title(title, pad=ABOVE_NOTE)
        note(ax, f"off the diagonal: {_percent(share)} of the energy")
        last = len(matrix) - 1
        ax.set_xticks([0, last], ["0", f"{last}"])
        ax.set_yticks([0, last], ["0", f"{last}"])
    for ax in axes[:, 0]:
        ax.set_xlabel("pixel", labelpad=-6)
        ax.set_ylabel("pixel", labelpad=-8)
    for ax in axes[:, 1]:
        ax.set_xlabel("frequency", labelpad=-6)
        ax.set_ylabel("frequency", labelpad=-8)
    bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=30, pad=0.02)
    bar.set_label("|covariance|, largest of the panel = 1")
    bar.outline.set_visible(False)
    letters(list(axes.flat), pad=ABOVE_NOTE)
    return figure


def _percent(share: float) -> str:
    return "0 %" if share < 1e-6 else f"{100 * share:.3g} %"


@dataclass(frozen=True)
class Scaling:
    """Seconds against one size of the layers.

    Attributes
    ----------
    sizes : array, shape (m,)
    flat, fourier : array, shape (m,)
        Measured.
    formulas : (array, array) or None
        What Appendix C gives for both, in any unit: scaled to meet the largest size.
    slopes : (float, float)
        Exponents measured, of flat and of Fourier CCA.
    """

    sizes: np.ndarray
    flat: np.ndarray
    fourier: np.ndarray
    formulas: tuple[np.ndarray, np.ndarray] | None
    slopes: tuple[float, float]


@drawn
def appendix_c(series: Mapping[str, Scaling]) -> Figure:
    """Measured cost of flat and Fourier CCA against the sizes of the layers, beside Appendix C's.

    Parameters
    ----------
    series : mapping of str to Scaling
        Name of the axis -> what was measured along it.
    """
    figure, axes = panels(1, len(series), height=3.2, sharey=True)
    measured = ({"color": VERMILLION, "marker": "s"}, {"color": BLUE, "marker": "o"})
    dashes = {"linestyle": (0, (3, 1.6)), "linewidth": 1}
    for ax, (label, s) in zip(axes[0], series.items(), strict=True):
        for i, (values, style) in enumerate(zip((s.flat, s.fourier), measured, strict=True)):
            ax.loglog(s.sizes, values, markersize=4.5, linewidth=1.4, **style)
            if s.formulas is not None:
                formula = s.formulas[i]
                ax.loglog(s.sizes, formula * values[-1] / formula[-1], color=GREY, **dashes)
            ax.text(
                0.05,
                0.96 - 0.08 * i,
                f"slope {s.slopes[i]:.1f}",
                transform=ax.transAxes,
                va="top",
                color=style["color"],
            )
        ax.set_xlabel(label)
        ax.set_xticks(s.sizes, [f"{size:,.0f}" for size in s.sizes])
        ax.minorticks_off()
        ax.grid(axis="y")
    axes[0, 0].set_ylabel("seconds")
    letters(axes[0])
    key(
        figure,
        {
            "flat CCA": measured[0],
            "DFT-CCA": measured[1],
            "growth by Appendix C": {"color": GREY, **dashes},
        },
    )
    return figure


# ------------------------------------------------------------ chapter 7: ResNet against ConvNet


@drawn
def figure_7(
    matrices: Mapping[str, np.ndarray], rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Figure 7: layers of a ResNet against layers of a ConvNet, each with its label.

    Parameters
    ----------
    matrices : mapping of str to array, shape (rows, columns)
        Title -> similarities.
    rows, columns : sequence of str
        Labels of the layers of the ResNet and of the ConvNet, from the input upward.
    """
    figure, axes = panels(1, len(matrices), height=6.8, sharey=True)
    for ax, (title, matrix) in zip(axes[0], matrices.items(), strict=True):
        image = _heat_map(ax, matrix, dict(enumerate(columns)), aspect="auto", **SIMILARITY)
        ax.set_yticks(range(len(rows)), rows)
        ax.tick_params(axis="x", labelsize=8)
        ax.tick_params(axis="y", labelsize=7)
        ax.set(title=title, xlabel="layers of the ConvNet")
    axes[0, 0].set_ylabel("layers of the ResNet")
    bar = figure.colorbar(image, ax=axes, shrink=0.5, pad=0.01, aspect=30)
    bar.set_label("DFT-CCA similarity")
    bar.outline.set_visible(False)
    letters(axes[0])
    return figure


# --------------------------------------------------------- chapter 6: when are classes learned?


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
    dashes = (0, (4, 1.6))
    styles = {
        classes[0]: {"color": BLUE},
        classes[1]: {"color": BLUE, "linestyle": dashes},
        classes[2]: {"color": VERMILLION},
        classes[3]: {"color": VERMILLION, "linestyle": dashes},
        classes[4]: {"color": INK, "linewidth": 2.4},
    }
    for ax, (title, network) in zip(axes[0], networks.items(), strict=True):
        depth = np.arange(len(network.chance))
        for i, style in enumerate(styles.values()):
            _curve(ax, Curve(depth, network.similarity[:, :, i]), style, band=False)
        ax.plot(depth, network.chance, color=GREY, linewidth=1, linestyle=(0, (1, 2)))
        ax.set_xticks(list(network.ticks), list(network.ticks.values()), rotation=90)
        ax.set(title=title, xlabel="layer, from the input", ylim=(0, 1.03), xlim=(0, depth[-1]))
        ax.grid(axis="y")
    axes[0, 0].set_ylabel("DFT-CCA with the class logit")
    if len(networks) > 1:
        letters(axes[0])
    chance = {"color": GREY, "linewidth": 1, "linestyle": (0, (1, 2))}
    longest = max(map(len, classes))
    key(figure, {**styles, "chance": chance}, columns=3 if longest > 12 else 6)
    return figure


# ------------------------------------------------------------------ chapter 11: your own models


@dataclass(frozen=True)
class Cells:
    """A matrix of layers by layers, each with its name.

    Attributes
    ----------
    matrix : array, shape (rows, columns)
        NaN where a layer is constant.
    rows, columns : sequence of str
    across, down : str
        What the columns and the rows are.
    """

    matrix: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    across: str = "model b"
    down: str = "model a"


@drawn
def layer_tables(tables: Mapping[str, Cells], bar: str, height: float = 3.3) -> Figure:
    """Heat-maps of layers by layers, the input at the lower left, the numbers in the cells.

    Parameters
    ----------
    tables : mapping of str to Cells
        Title -> what was measured.
    bar : str
        What the colours are.
    height : float
        Inches.
    """
    widths = [len(cells.columns) for cells in tables.values()]
    figure, axes = panels(1, len(tables), height=height, width_ratios=widths)
    small = max(widths) * len(tables) > 18
    for ax, (title, cells) in zip(axes[0], tables.items(), strict=True):
        image = _heat_map(ax, cells.matrix, {}, **SIMILARITY)
        turn = 90 if max(len(str(name)) for name in cells.columns) > 2 else 0
        ax.set_xticks(range(len(cells.columns)), cells.columns, rotation=turn)
        ax.set_yticks(range(len(cells.rows)), cells.rows)
        ax.tick_params(length=0, labelsize=6.5 if small else 7.5)
        ax.set(title=title, xlabel=cells.across, ylabel=cells.down)
        for (i, j), value in np.ndenumerate(cells.matrix):
            if max(cells.matrix.shape) <= 9:
                ink = ON_BRIGHT if value > 0.6 else ON_DEEP
                text = "–" if np.isnan(value) else f"{value:.2f}"
                size = 5.5 if small else 7
                ax.text(j, i, text, ha="center", va="center", color=ink, fontsize=size)
    colours = figure.colorbar(image, ax=axes, shrink=0.75, pad=0.01, aspect=25)
    colours.set_label(bar)
    colours.outline.set_visible(False)
    if len(tables) > 1:
        letters(axes[0])
    return figure


@drawn
def by_layer(
    panels_of: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
    layers: Mapping[str, Sequence[str]],
    label: str,
) -> Figure:
    """Similarity of each layer to its counterpart under several readings, each beside its chance.

    Parameters
    ----------
    panels_of : mapping of str to mapping of str to (array, array)
        Title -> reading -> similarity and chance, one value a layer; NaN where impossible.
    layers : mapping of str to sequence of str
        Title -> names of the layers.
    label : str
        What the y axis is.
    """
    figure, axes = panels(1, len(panels_of), height=2.9, sharey=True)
    markers = "osD^v<"
    names = list(dict.fromkeys(name for found in panels_of.values() for name in found))
    for ax, (title, found) in zip(axes[0], panels_of.items(), strict=True):
        at = np.arange(len(layers[title]))
        for name, (values, chances) in found.items():
            i = names.index(name)
            shift = 0.11 * (i - (len(names) - 1) / 2)
            colour = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)[i]
            ax.vlines(at + shift, chances, values, color=colour, linewidth=1, alpha=0.6)
            ax.plot(at + shift, chances, "_", color=colour, markersize=6)
            ax.plot(at + shift, values, markers[i], color=colour, markersize=4.5)
        ax.set_xticks(at, layers[title], rotation=90)
        ax.set(title=title, ylim=(0, 1.04))
        ax.grid(axis="y")
    axes[0, 0].set_ylabel(label)
    if len(panels_of) > 1:
        letters(axes[0])
    entries = {
        name: {"marker": markers[i], "linestyle": "", "color": c, "markersize": 4.5}
        for i, (name, c) in enumerate(
            zip(names, (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY), strict=False)
        )
    }
    entries["chance"] = {"marker": "_", "linestyle": "", "color": GREY}
    key(figure, entries)
    return figure


# ------------------------------------------------- chapters 12 and 13: what came after the paper


@dataclass(frozen=True)
class Lines:
    """Curves of one panel.

    Attributes
    ----------
    x : array, shape (m,)
    curves : mapping of str to array, shape (m,)
        Name, the same in all panels that show it -> values.
    label : str
        Of the x axis.
    scale : str
        Of the x axis: "linear", "log" or "symlog".
    mark : float or None
        Where to draw a dotted horizontal line.
    """

    x: np.ndarray
    curves: Mapping[str, np.ndarray]
    label: str
    scale: str = "linear"
    mark: float | None = None


_SERIES = (
    {"color": BLUE, "marker": "o"},
    {"color": VERMILLION, "marker": "s"},
    {"color": GREEN, "marker": "D"},
    {"color": PURPLE, "marker": "^"},
    {"color": ORANGE, "marker": "v"},
    {"color": SKY, "marker": "P"},
    {"color": INK, "marker": "x"},
)


@drawn
def curves(
    shown: Mapping[str, Lines],
    ylabel: str,
    *,
    columns: int = 4,
    limits: tuple[float, float] | None = (0, 1.04),
) -> Figure:
    """Panels of curves that share their names, their y axis and one key.

    Parameters
    ----------
    shown : mapping of str to Lines
        Title -> the panel.
    ylabel : str
    columns : int
        Panels beside each other.
    limits : (float, float) or None
        Of the y axes.
    """
    across = min(columns, len(shown))
    rows = -(-len(shown) // across)
    figure, axes = panels(rows, across, height=0.7 + 2.1 * rows, sharey=True)
    names = list(dict.fromkeys(name for panel in shown.values() for name in panel.curves))
    styles = {
        name: {**_SERIES[i % len(_SERIES)], "linewidth": 1.3, "markersize": 3.2}
        for i, name in enumerate(names)
    }
    for ax in axes.flat[len(shown) :]:
        ax.remove()
    for ax, (title, panel) in zip(axes.flat, shown.items(), strict=False):
        for name, values in panel.curves.items():
            ax.plot(panel.x, values, **styles[name])
        across_x = np.stack([panel.x, np.zeros(len(panel.x))], axis=1)
        ax.update_datalim(across_x, updatey=False)  # where no curve has a value, too
        if panel.scale == "symlog":
            ax.set_xscale("symlog", linthresh=panel.x[panel.x > 0].min(), linscale=0.4)
        else:
            ax.set_xscale(panel.scale)
        if panel.mark is not None:
            ax.axhline(panel.mark, color=INK, linewidth=0.9, linestyle=(0, (1, 2)))
        ax.set(title=title, xlabel=panel.label, ylim=limits)
        ax.grid(axis="y")
    for row in axes:
        row[0].set_ylabel(ylabel)
    if len(shown) > 1:
        letters(list(axes.flat)[: len(shown)])
    key(figure, styles)
    return figure


@dataclass(frozen=True)
class Dots:
    """Values beside names, from top to bottom.

    Attributes
    ----------
    names : sequence of str
    series : mapping of str to array, shape (names, 3)
        Name -> mean, lowest, highest; NaN where there is none.
    label : str
        Of the x axis.
    marks : mapping of str to float
        Name -> where to draw a dotted vertical line.
    """

    names: Sequence[str]
    series: Mapping[str, np.ndarray]
    label: str
    marks: Mapping[str, float]


@drawn
def dots(
    shown: Mapping[str, Dots],
    *,
    height: float = 2.8,
    limits: tuple[float, float] | None = (-0.03, 1.04),
) -> Figure:
    """Panels of values with their ranges, one row a name.

    Parameters
    ----------
    shown : mapping of str to Dots
        Title -> the panel; the panels share their names.
    height : float
        Inches.
    limits : (float, float) or None
        Of the x axes.
    """
    figure, axes = panels(1, len(shown), height=height, sharey=True)
    series = list(dict.fromkeys(name for panel in shown.values() for name in panel.series))
    styles: dict[str, Mapping[str, Any]] = {
        name: {**_SERIES[i % len(_SERIES)], "linestyle": "", "markersize": 4.5}
        for i, name in enumerate(series)
    }
    for ax, (title, panel) in zip(axes[0], shown.items(), strict=True):
        at = -np.arange(len(panel.names))
        for name, values in panel.series.items():
            i = series.index(name)
            y = at - 0.16 * (i - (len(series) - 1) / 2)
            mean, low, high = np.asarray(values, dtype=np.float64).T
            ax.hlines(y, low, high, color=styles[name]["color"], linewidth=1.2, alpha=0.7)
            ax.plot(mean, y, **styles[name])
        for name, mark in panel.marks.items():
            ax.axvline(mark, color=GREY, linewidth=0.9, linestyle=(0, (1, 2)), zorder=0)
            ax.text(mark, 0.62, f" {name}", color=GREY, fontsize=7.5, va="bottom")
        ax.set_yticks(at, panel.names)
        ax.set(title=title, xlabel=panel.label, ylim=(at[-1] - 0.6, 0.6), xlim=limits)
        ax.title.set_position((0, 1))
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
    if len(shown) > 1:
        letters(axes[0], pad=ABOVE_NOTE)
    if len(series) > 1:
        key(figure, styles)
    return figure


@drawn
def forks(
    own: Mapping[str, np.ndarray],
    seeds: Mapping[str, np.ndarray],
    chance: np.ndarray,
    kept: Mapping[str, np.ndarray],
    fractions: np.ndarray,
    layers: Sequence[str],
) -> Figure:
    """Readings of the paper's definition, on the same networks.

    Parameters
    ----------
    own : mapping of str to array, shape (t,)
        Reading -> similarity of layers to their own end, mean over layers.
    seeds : mapping of str to array, shape (layers,)
        Reading -> similarity of each layer to that of another seed.
    chance : array, shape (layers,)
        What independent layers would score instead, in the first reading.
    kept : mapping of str to array, shape (layers,)
        What 99 % is of -> directions kept, as a share of the neurons.
    fractions : array, shape (t,)
        Of training.
    layers : sequence of str
    """
    figure, axes = panels(1, 3, height=3.1, width_ratios=(1, 1.2, 1.2))
    left, middle, right = axes[0]
    lines = ("-", (0, (4, 1.6)), (0, (1, 1.2)))
    styles = {
        name: {"color": (BLUE, VERMILLION)[i // 3], "linestyle": lines[i % 3], "linewidth": 1.6}
        for i, name in enumerate(own)
    }
    at = np.arange(len(layers))
    for name, style in styles.items():
        left.plot(100 * fractions, own[name], **style)
        middle.plot(at, seeds[name], **style)
    middle.plot(at, chance, color=GREY, linewidth=1, linestyle=(0, (1, 2)))
    middle.text(at[2], chance[2] - 0.02, "chance", ha="center", va="top", color=GREY)
    for (name, share), colour in zip(kept.items(), (BLUE, VERMILLION), strict=True):
        right.plot(at, share, "o", color=colour, markersize=4, label=f"99 % of {name}")
    left.set(title="In time", xlabel="training time, %", ylim=(0, 1.03))
    left.set_ylabel("similarity to the end, mean")
    middle.set(title="Across seeds", ylim=(0, 1.03), ylabel="similarity to another seed")
    right.set(title="Directions kept", ylim=(0, 1.03), ylabel="share of the neurons")
    for ax in (middle, right):
        ax.set_xticks(at, layers, rotation=90)
    for ax in axes[0]:
        ax.grid(axis="y")
    letters(axes[0])
    key(figure, styles, columns=2)
    return figure


@drawn
def over_seeds(mean: pd.DataFrame, low: pd.DataFrame, high: pd.DataFrame) -> Figure:
    """Draw the numbers of any figure as means with intervals, one panel for each of its tables.

    Parameters
    ----------
    mean, low, high : DataFrame
        As a chapter writes them: the columns of a table are named ``table.column``, that of a list
        ``table``. Few columns are drawn as lines with a band, many as a map of the means, all over
        a column ``index`` where there is one.
    """
    tables: dict[str, list[str]] = {}
    for column in mean.columns.drop("index", errors="ignore"):
        tables.setdefault(str(column).partition(".")[0], []).append(column)
    columns = min(3, len(tables))
    rows = -(-len(tables) // columns)
    figure, axes = panels(rows, columns, height=2.2 * rows + 0.2)
    for ax, (name, members) in zip(axes.flat, tables.items(), strict=False):
        ax.set_title(name, fontsize=7.5)
        used = mean[members].dropna(how="all").index
        values = mean.loc[used, members].to_numpy()
        if len(members) > 6 and len(used) > 1:
            image = ax.imshow(values, aspect="auto", cmap="viridis")
            figure.colorbar(image, ax=ax)
            continue
        at = mean["index"].loc[used].to_numpy() if "index" in mean else used.to_numpy()
        marker = "o" if len(used) == 1 else None
        for index, member in enumerate(members):
            (line,) = ax.plot(at, values[:, index], marker=marker, markersize=4)
            ends = (frame.loc[used, member].to_numpy() for frame in (low, high))
            if marker:
                ax.vlines(at, *ends, color=line.get_color())
            else:
                ax.fill_between(at, *ends, color=line.get_color(), alpha=0.2, linewidth=0)
    for ax in axes.flat[len(tables) :]:
        ax.set_axis_off()
    return figure
