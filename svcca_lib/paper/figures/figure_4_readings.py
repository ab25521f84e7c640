"""Chapter 4: how near many ways to compute a cell come to the paper's Figure 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.paper.figures.names import name_ticks
from svcca_lib.paper.figures.palette import BLUE, GREY, INK, ORANGE
from svcca_lib.paper.figures.strokes import DOTTED, LONG, Style
from svcca_lib.paper.figures.style import drawn, key, row


@dataclass(frozen=True)
class Ways:
    """Rank correlations of one cut: beside each reading, by what is summed."""

    readings: Sequence[str]
    summed: Mapping[str, Sequence[np.ndarray]]  # by a name of `KINDS`; one array a reading
    chosen: tuple[str, str, float] | None  # reading, what is summed, and place of the way marked


KINDS: Mapping[str, Style] = {
    "correlations": {"marker": "o", "markerfacecolor": "none", "color": GREY},
    "correlations, less chance": {"marker": "o", "color": GREY},
    "squares": {"marker": "s", "markerfacecolor": "none", "color": BLUE},
    "squares, less chance": {"marker": "s", "color": BLUE},
}
CHOSEN: Style = {"marker": "D", "markersize": 9, "fillstyle": "none", "color": ORANGE}
MARKS: tuple[Style, ...] = (
    {"color": INK, "linewidth": 0.9, "linestyle": DOTTED},
    {"color": INK, "linewidth": 0.9, "linestyle": LONG},
)


@drawn
def readings_against_the_paper(
    cuts: Mapping[str, Ways], marks: Mapping[str, float], label: str
) -> Figure:
    """Rank correlations of all ways with the paper's cells: a panel a cut, a row a reading.

    `marks` are lines to compare with, by name, at most two; `label` is of the x axis.
    """
    figure, shown = row(cuts, 2.9, "", grid=False, phone=2.3)
    levels = dict(zip(marks, MARKS, strict=False))
    offsets = {kind: (i - 1.5) * 0.18 for i, kind in enumerate(KINDS)}
    for ax, _ in shown[1:]:
        ax.sharex(shown[0][0])  # one scale
    for ax, ways in shown:
        heights = np.arange(len(ways.readings))
        for kind, style in KINDS.items():
            values = ways.summed[kind]
            at = [np.full(len(v), h + offsets[kind]) for v, h in zip(values, heights, strict=True)]
            ax.plot(
                np.concatenate(values),
                np.concatenate(at),
                linestyle="",
                markersize=3.5,
                label=kind,
                **style,
            )
        if ways.chosen is not None:
            reading, kind, place = ways.chosen
            height = list(ways.readings).index(reading) + offsets[kind]
            ax.plot([place], [height], label="chosen", clip_on=False, **CHOSEN)
        for name, style in levels.items():
            ax.axvline(marks[name], label=name, **style)
        ax.set(xlabel=label, ylim=(heights[-1] + 0.6, -0.6))
        name_ticks(ax.yaxis, ways.readings)
        ax.grid(axis="x")
    points: Mapping[str, Style] = {**KINDS, "chosen": CHOSEN}
    key(figure, {name: {**style, "linestyle": ""} for name, style in points.items()} | levels)
    return figure
