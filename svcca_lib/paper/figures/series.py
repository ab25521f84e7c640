"""Panels of named curves, and of values beside names: chapters 12 and 13."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.paper.figures.names import name_ticks
from svcca_lib.paper.figures.palette import COLOURS, INK
from svcca_lib.paper.figures.strokes import ASIDE, LEVEL, Style
from svcca_lib.paper.figures.style import (
    ABOVE_NOTE,
    drawn,
    for_phone,
    key,
    label_up,
    letters,
    panels,
    plain_numbers,
)

SERIES: tuple[Style, ...] = tuple(
    {"color": colour, "marker": marker}
    for colour, marker in zip((*COLOURS, INK), "osD^vPx", strict=True)
)


@dataclass(frozen=True)
class Lines:
    """Curves of one panel by names that all panels share, and dotted lines at the named `marks`."""

    x: np.ndarray  # (m,)
    curves: Mapping[str, np.ndarray]
    label: str  # of the x axis
    scale: str = "linear"  # of the x axis; or "log", "symlog"
    marks: Mapping[str, float] = field(default_factory=dict)


@drawn
def curves(
    shown: Mapping[str, Lines],
    ylabel: str,
    *,
    columns: int = 3,
    limits: tuple[float, float] | None = (0, 1.04),
) -> Figure:
    """Panels of curves, by title, that share their names, their y axis and one key."""
    across = 1 if for_phone() else min(columns, len(shown))
    rows = -(-len(shown) // across)
    figure, axes = panels(rows, across, height=0.6 + 1.9 * rows, sharey=True)
    styles = _styles((panel.curves for panel in shown.values()), linewidth=1.2, markersize=3)
    for ax in axes.flat[len(shown) :]:
        ax.remove()
    for ax, (title, panel) in zip(axes.flat, shown.items(), strict=False):
        for name, values in panel.curves.items():
            ax.plot(panel.x, values, label=name, **styles[name])
        across_x = np.stack([panel.x, np.zeros(len(panel.x))], axis=1)
        ax.update_datalim(across_x, updatey=False)  # where no curve has a value, too
        if panel.scale == "symlog":
            ax.set_xscale("symlog", linthresh=panel.x[panel.x > 0].min(), linscale=0.4)
        else:
            ax.set_xscale(panel.scale)
        if panel.scale != "linear":
            plain_numbers(ax.xaxis)
        for name, mark in panel.marks.items():
            styles[name] = {**LEVEL, "color": INK}
            ax.axhline(mark, label=name, **styles[name])
        ax.set(title=title, xlabel=panel.label, ylim=limits)
        ax.grid(axis="y")
    for row in axes:
        label_up(row, ylabel)
    letters(axes.flat[: len(shown)])
    key(figure, styles)
    return figure


@dataclass(frozen=True)
class Dots:
    """Values beside `names`, from top to bottom; dotted vertical lines at the named `marks`."""

    names: Sequence[str]
    series: Mapping[str, np.ndarray]  # (names, 3): mean, lowest, highest; NaN where there is none
    label: str  # of the x axis
    marks: Mapping[str, float]


@drawn
def dots(
    shown: Mapping[str, Dots],
    *,
    height: float = 2.8,
    limits: tuple[float, float] | None = (-0.03, 1.04),
) -> Figure:
    """Panels, by title, of values with their ranges, one row a name, the same names in all."""
    figure, axes = panels(1, len(shown), height=height, phone=height - 0.3, sharey=True)
    styles = _styles((panel.series for panel in shown.values()), linestyle="", markersize=4)
    places = {name: i - (len(styles) - 1) / 2 for i, name in enumerate(styles)}
    for ax, (title, panel) in zip(axes[0], shown.items(), strict=True):
        at = np.arange(len(panel.names))
        for name, values in panel.series.items():
            y = at + 0.16 * places[name]
            mean, low, high = np.asarray(values, dtype=np.float64).T
            if not np.array_equal(low, high, equal_nan=True):
                colour = styles[name]["color"]
                ax.hlines(y, low, high, color=colour, linewidth=1.2, alpha=0.7, label=name)
            ax.plot(mean, y, label=name, **styles[name])
        for name, mark in panel.marks.items():
            ax.axvline(mark, zorder=0, label=name, **LEVEL)
            ax.text(mark, -0.62, f" {name}", va="bottom", **ASIDE)
        name_ticks(ax.yaxis, panel.names)
        ax.set(title=title, xlabel=panel.label, ylim=(at[-1] + 0.6, -0.6), xlim=limits)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
    letters(axes[0], pad=ABOVE_NOTE)
    if len(styles) > 1:
        key(figure, styles)
    return figure


def _styles(named: Iterable[Iterable[str]], **shared: Any) -> dict[str, Style]:
    """Give each name, in all panels the same, the next style."""
    names = dict.fromkeys(name for panel in named for name in panel)
    return {name: {**SERIES[i % len(SERIES)], **shared} for i, name in enumerate(names)}
