"""Axes along which names stand, such as those of layers: as many of them as there is room for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import Formatter, Locator

ROOM = 8.0  # points that a line of the smallest letters takes


class Names(Formatter):
    """Names at the whole numbers of an axis from 0 on; what is drawn beside one is of its name."""

    def __init__(self, names: Sequence[object]) -> None:
        self.names = [str(name) for name in names]

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the name at a place; empty where there is none."""
        index = round(x)
        return self.names[index] if 0 <= index < len(self.names) else ""


class Fitting(Locator):
    """Ticks at given places, or at every second, third ... of them where all would touch."""

    axis: Axis

    def __init__(self, places: Collection[int]) -> None:
        self.places = sorted(places)

    def __call__(self) -> Sequence[float]:
        """Return the places of those ticks that have room."""
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Return the places of those ticks that have room between two ends of the axis."""
        panel = self.axis.axes.get_window_extent()
        across = isinstance(self.axis, XAxis)
        figure = self.axis.get_figure()
        assert figure is not None, "an axis is drawn with its figure"
        length = (panel.width if across else panel.height) * 72 / figure.dpi
        gap = min((b - a for a, b in pairwise(self.places)), default=np.inf)
        return self.places[:: max(1, int(np.ceil(ROOM * abs(vmax - vmin) / (gap * length))))]


def name_ticks(
    axis: Axis, names: Sequence[object], shown: Collection[int] | None = None, turn: float = 0
) -> None:
    """Write names along an axis, at the places `shown` or at all, `turn` degrees to the left."""
    axis.set_major_locator(Fitting(range(len(names)) if shown is None else shown))
    axis.set_major_formatter(Names(names))
    axis.set_tick_params(labelrotation=turn)
