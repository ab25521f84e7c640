"""The look of every figure: an opaque white card, its fonts, axes and keys, for page and phone.

A figure is drawn by one function of its chapter's file: arrays in, Matplotlib figures out, drawing
only. What the numbers are is decided before they come here. Each function is marked `drawn`, which
sets the style whatever the reader's own settings, and draws twice: as wide as the text of a printed
page, and for a phone, where `panels` puts all panels below each other. For dark pages `dark` makes
the same drawings in light ink.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib.style
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.ticker import NullFormatter

from svcca_lib.paper.figures.palette import COLOURS, GREY, INK
from svcca_lib.paper.figures.strokes import Style

P = ParamSpec("P")
T = TypeVar("T")

WIDTH = 5.5  # inches, as wide as the text of the conference's template
PHONE = 3.5  # inches, as wide as the text on a phone
FONT = "DejaVu Sans"  # comes with Matplotlib: the same on every machine
SMALLEST = 7.0  # points: no letter of a figure is smaller
ABOVE_NOTE = 14  # points between a panel and its title where a `note` comes between them

STYLE: Style = {
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "savefig.pad_inches": 0.06,
    "font.family": "sans-serif",
    "font.sans-serif": [FONT],
    "font.size": 7.5,
    "text.color": INK,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.labelsize": 7.5,
    "axes.labelcolor": INK,
    "axes.labelpad": 3,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLOURS),
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": SMALLEST,
    "ytick.labelsize": SMALLEST,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.3,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": SMALLEST,
    "legend.title_fontsize": SMALLEST,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 1.6,
}

_on_phone: ContextVar[bool] = ContextVar("on_phone", default=False)


@dataclass(frozen=True)
class Drawn:
    """One figure in two drawings, of which a page shows the one that fits: the same marks."""

    page: Figure
    phone: Figure


def drawn(draw: Callable[P, Figure]) -> Callable[P, Drawn]:
    """Draw in the book's style, for page and phone; the reader's settings stay as they were."""

    def one(on_phone: bool, *args: P.args, **kwargs: P.kwargs) -> Figure:
        token = _on_phone.set(on_phone)
        try:
            with matplotlib.style.context(["default", dict(STYLE)]):
                figure = draw(*args, **kwargs)
        finally:
            _on_phone.reset(token)
        return figure

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Drawn:
        return Drawn(one(False, *args, **kwargs), one(True, *args, **kwargs))

    return styled


def for_phone() -> bool:
    """Return whether the figure that is being drawn is the one for a phone."""
    return _on_phone.get()


def page(height: float, *, phone: float) -> Figure:
    """Return an empty figure, of the page's or the phone's width, that many inches high."""
    size = (PHONE, phone) if for_phone() else (WIDTH, height)
    return Figure(figsize=size, layout="constrained")


def panels(
    rows: int = 1,
    columns: int = 1,
    *,
    height: float,
    phone: float = 2.0,
    across: int = 1,
    by_columns: bool = False,
    sharex: bool | Literal["col"] = False,
    sharey: bool | Literal["row"] = False,
    width_ratios: Sequence[float] | None = None,
    height_ratios: Sequence[float] | None = None,
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes, shape (rows, columns).

    On a phone each is `phone` inches high and they stand below each other, row by row of the page
    or `by_columns`, `across` of them in a row.
    """
    if not for_phone():
        figure = page(height, phone=0)
        shape = {"width_ratios": width_ratios, "height_ratios": height_ratios}
        axes = figure.subplots(
            rows, columns, squeeze=False, sharex=sharex, sharey=sharey, gridspec_kw=shape
        )
        return figure, axes
    lines = rows * columns // across
    heights = None if height_ratios is None else [*height_ratios] * (lines // rows)
    figure = page(0, phone=0.3 + phone * lines)
    axes = figure.subplots(lines, across, squeeze=False, height_ratios=heights)
    axes = axes.reshape(columns, rows).T if by_columns else axes.reshape(rows, columns)
    for (i, j), ax in np.ndenumerate(axes):
        if sharex:
            ax.sharex(axes[0, 0 if sharex is True else j])
        if sharey:
            ax.sharey(axes[0 if sharey is True else i, 0])
        if sharex == "col" and i < rows - 1:
            ax.tick_params(labelbottom=False)
    return figure, axes


def row(
    shown: Mapping[str, T],
    height: float,
    label: str,
    *,
    grid: bool = True,
    phone: float = 2.0,
    pad: float | None = None,
) -> tuple[Figure, list[tuple[Axes, T]]]:
    """Return a figure of lettered panels beside each other, and each with what it is to show.

    Their titles are the names in `shown`; `label` is of the y axis that they share.
    """
    figure, axes = panels(1, len(shown), height=height, phone=phone, sharey=True)
    for ax, title in zip(axes[0], shown, strict=True):
        ax.set_title(title, pad=pad)
        ax.grid(grid, axis="y")
    label_up(axes[0], label)
    letters(axes[0], pad=pad)
    return figure, list(zip(axes[0], shown.values(), strict=True))


def label_up(beside_each_other: Sequence[Axes], label: str) -> None:
    """Say what the y axis of panels is: seen at the first, or at each where they are stacked."""
    for i, ax in enumerate(beside_each_other):
        ax.set_ylabel(label)
        ax.yaxis.label.set_visible(i == 0 or for_phone())


def letters(axes: Iterable[Axes], *, pad: float | None = None) -> None:
    """Put (a), (b), ... before the titles of panels, as captions refer to them; one needs none."""
    axes = list(axes)
    if len(axes) > 1:
        for letter, ax in zip("abcdefgh", axes, strict=False):
            ax.set_title(f"({letter}) {ax.get_title(loc='left')}".rstrip(), pad=pad)


def key(figure: Figure, entries: Mapping[str, Style]) -> None:
    """Put one legend below all panels: name -> properties of its line."""
    handles = lines(entries)
    widest = max(TextPath((0, 0), name, size=SMALLEST).get_extents().width for name in entries)
    # Before a name its line, 2.4 letters long, and a gap; behind it the space between columns.
    columns = max(1, int((72 * figure.get_figwidth() - 8) / (widest + 4.8 * SMALLEST)))
    rows = -(-len(handles) // columns)
    if for_phone():  # where panels keep their height
        figure.set_figheight(figure.get_figheight() + 0.16 * rows)
    # As many in each row: six in five columns would leave a second row of one.
    figure.legend(handles=handles, loc="outside lower center", ncols=-(-len(handles) // rows))


def lines(entries: Mapping[str, Style]) -> list[Line2D]:
    """Return what a legend shows: a line for each name."""
    return [Line2D([], [], label=name, **style) for name, style in entries.items()]


def plain_numbers(axis: Axis) -> None:
    """Write the ticks of a logarithmic axis as 0.01, 0.1, 1: powers have too small letters."""
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def beside(ax: Axes, text: str, at: Any, shift: tuple[float, float], **how: Any) -> None:
    """Put words some points away from a place."""
    ax.annotate(text, at, shift, textcoords="offset points", **how)


def note(ax: Axes, text: str) -> None:
    """Put a number above the right end of a panel; its title then needs ``pad=ABOVE_NOTE``."""
    ax.text(1, 1.02, text, transform=ax.transAxes, ha="right", va="bottom", fontsize=SMALLEST)
