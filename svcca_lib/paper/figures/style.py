"""The look of every figure: an opaque white card of the book's width, its fonts, axes and keys.

A figure is drawn by one function of its chapter's file: arrays in, a Matplotlib figure out, drawing
only. What the numbers are is decided before they come here. Each function is marked `drawn`, which
sets the style whatever the reader's own settings, and builds its panels with `panels`. For dark
pages `dark` makes the same drawing in light ink.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

import matplotlib.style
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from svcca_lib.paper.figures.palette import COLOURS, GREY, INK
from svcca_lib.paper.figures.strokes import Style

P = ParamSpec("P")
T = TypeVar("T")

WIDTH = 7.6  # inches, as wide as the text of a page: 760 pixels
ABOVE_NOTE = 17  # points between a panel and its title where a `note` comes between them

STYLE: Style = {
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
    "axes.prop_cycle": cycler(color=COLOURS),
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


def page(height: float) -> Figure:
    """Return an empty figure of the book's width, `height` inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def panels(
    rows: int = 1, columns: int = 1, *, height: float, **subplots: Any
) -> tuple[Figure, np.ndarray]:
    """Return a `page` and its axes, shape (rows, columns)."""
    figure = page(height)
    return figure, figure.subplots(rows, columns, squeeze=False, **subplots)


def row(
    shown: Mapping[str, T], height: float, label: str, *, grid: bool = True
) -> tuple[Figure, list[tuple[Axes, T]]]:
    """Return a figure of lettered panels beside each other, and each with what it is to show.

    Their titles are the names in `shown`; `label` is of the y axis that they share.
    """
    figure, axes = panels(1, len(shown), height=height, sharey=True)
    for ax, title in zip(axes[0], shown, strict=True):
        ax.set_title(title)
        ax.grid(grid, axis="y")
    axes[0, 0].set_ylabel(label)
    letters(axes[0])
    return figure, list(zip(axes[0], shown.values(), strict=True))


def letters(axes: Iterable[Axes], *, pad: float | None = None) -> None:
    """Put (a), (b), ... before the titles of panels, as captions refer to them; one needs none."""
    axes = list(axes)
    if len(axes) > 1:
        for letter, ax in zip("abcdefgh", axes, strict=False):
            ax.set_title(f"({letter}) {ax.get_title(loc='left')}".rstrip(), pad=pad)


def key(figure: Figure, entries: Mapping[str, Style], columns: int = 5) -> None:
    """Put one legend below all panels: name -> properties of its line."""
    handles = lines(entries)
    rows = -(-len(handles) // columns)
    # As many in each row: six in five columns would leave a second row of one.
    figure.legend(handles=handles, loc="outside lower center", ncols=-(-len(handles) // rows))


def lines(entries: Mapping[str, Style]) -> list[Line2D]:
    """Return what a legend shows: a line for each name."""
    return [Line2D([], [], label=name, **style) for name, style in entries.items()]


def beside(ax: Axes, text: str, at: Any, shift: tuple[float, float], **how: Any) -> None:
    """Put words some points away from a place."""
    ax.annotate(text, at, shift, textcoords="offset points", **how)


def note(ax: Axes, text: str) -> None:
    """Put a number above the right end of a panel; its title then needs ``pad=ABOVE_NOTE``."""
    ax.text(1, 1.02, text, transform=ax.transAxes, ha="right", va="bottom", fontsize=8)
