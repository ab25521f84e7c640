"""Panels of named curves, and of values beside names: chapters 12 and 13."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.paper.figures.palette import COLOURS, INK
from svcca_lib.paper.figures.strokes import ASIDE, LEVEL, Style
from svcca_lib.paper.figures.style import ABOVE_NOTE, drawn, key, letters, panels

SERIES: tuple[Style, ...] = tuple(
    {"color": colour, "marker": marker}
    for colour, marker in zip((*COLOURS, INK), "osD^vPx", strict=True)
)


@dataclass(frozen=True)
class Lines:
    """Curves of one panel by names that all panels share, and a dotted line at `mark`."""

    x: np.ndarray  # (m,)
    curves: Mapping[str, np.ndarray]
    label: str  # of the x axis
    scale: str = "linear"  # of the x axis; or "log", "symlog"
    mark: float | None = None


@drawn
def curves(
    shown: Mapping[str, Lines],
    ylabel: str,
    *,
    columns: int = 4,
    limits: tuple[float, float] | None = (0, 1.04),
) -> Figure:
    """Panels of curves, by title, that share their names, their y axis and one key."""
    across = min(columns, len(shown))
    rows = -(-len(shown) // across)
    figure, axes = panels(rows, across, height=0.7 + 2.1 * rows, sharey=True)
    styles = _styles((panel.curves for panel in shown.values()), linewidth=1.3, markersize=3.2)
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
            ax.axhline(panel.mark, **{**LEVEL, "color": INK})
        ax.set(title=title, xlabel=panel.label, ylim=limits)
        ax.grid(axis="y")
    for row in axes:
        row[0].set_ylabel(ylabel)
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
    figure, axes = panels(1, len(shown), height=height, sharey=True)
    styles = _styles((panel.series for panel in shown.values()), linestyle="", markersize=4.5)
    places = {name: i - (len(styles) - 1) / 2 for i, name in enumerate(styles)}
    for ax, (title, panel) in zip(axes[0], shown.items(), strict=True):
        at = -np.arange(len(panel.names))
        for name, values in panel.series.items():
            y = at - 0.16 * places[name]
            mean, low, high = np.asarray(values, dtype=np.float64).T
            ax.hlines(y, low, high, color=styles[name]["color"], linewidth=1.2, alpha=0.7)
            ax.plot(mean, y, **styles[name])
        for name, mark in panel.marks.items():
            ax.axvline(mark, zorder=0, **LEVEL)
            ax.text(mark, 0.62, f" {name}", va="bottom", **ASIDE)
        ax.set_yticks(at, panel.names)
        ax.set(title=title, xlabel=panel.label, ylim=(at[-1] - 0.6, 0.6), xlim=limits)
        ax.title.set_position((0, 1))
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
