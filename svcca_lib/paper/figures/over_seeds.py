"""Any figure's numbers over the seeds of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from svcca_lib.paper.figures.curves import band
from svcca_lib.paper.figures.heatmaps import colour_bar
from svcca_lib.paper.figures.series import SERIES
from svcca_lib.paper.figures.strokes import Style
from svcca_lib.paper.figures.style import drawn, for_phone, key, panels
from svcca_lib.paper.figures.tidy import COLUMNS, WORDS

if TYPE_CHECKING:
    import pandas as pd


@drawn
def over_seeds(mean: pd.DataFrame, low: pd.DataFrame, high: pd.DataFrame) -> Figure:
    """Draw the numbers of any figure as means with intervals, one panel for each of its own.

    The frames are tables of `tidy`, alike in all but their numbers. Cells are drawn by their means,
    lines with a band, points with an error bar along each axis. Bands and ranges, which are of one
    seed, and words are left out.
    """
    whole = mean.reindex(columns=COLUMNS)
    whole[list(WORDS)] = whole[list(WORDS)].astype(object).fillna("")
    shown = whole[whole["mark"].isin(["cells", "line", "steps", "points"])]
    groups = list(shown.groupby("panel", sort=False))
    columns = 1 if for_phone() else min(2, len(groups))
    rows = -(-len(groups) // columns)
    figure, axes = panels(rows, columns, height=2.2 * rows + 0.4, phone=2.2)
    entries: dict[str, Style] = {}
    for ax, (title, panel) in zip(axes.flat, groups, strict=False):
        first = panel.iloc[0]
        ax.set(title=title, xlabel=first["x_label"], ylabel=first["y_label"])
        ax.set_label(title or "all")
        for (name, mark), of in panel.groupby(["series", "mark"], sort=False):
            if mark == "cells":
                cells = of.pivot(index="y", columns="x", values="value").to_numpy()
                image = ax.imshow(cells, aspect="auto", origin="lower", label=name)
                colour_bar(figure, image, ax)
                continue
            style = entries.setdefault(name, SERIES[len(entries) % len(SERIES)])
            _marks(ax, of, low.loc[of.index], high.loc[of.index], mark, style, name)
    for ax in axes.flat[len(groups) :]:
        ax.set_axis_off()
    if 1 < len(entries) <= 2 * len(SERIES):
        key(figure, entries)
    return figure


def _marks(
    ax: Axes,
    mean: pd.DataFrame,
    low: pd.DataFrame,
    high: pd.DataFrame,
    mark: str,
    style: Style,
    name: str,
) -> None:
    """Draw one series of a panel: a line with a band, or points with error bars."""
    x, y = mean["x"], mean["y"]
    if mark != "points":
        ax.plot(x, y, **{**style, "markersize": 2}, label=name)
        band(ax, x, low["y"], high["y"], style, name)
        return
    ax.plot(x, y, **{**style, "linestyle": "", "markersize": 3.5}, label=name)
    ax.vlines(x, low["y"], high["y"], color=style["color"], linewidth=1, label=name)
    ax.hlines(y, low["x"], high["x"], color=style["color"], linewidth=1, label=name)
