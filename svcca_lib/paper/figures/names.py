"""Axes along which names stand, such as those of layers: as many of them as there is room for."""

from __future__ import annotations

from collections.abc import Collection, Sequence

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

    def __init__(self, places: Collection[int]) -> None:
        self.places = np.array(sorted(places), dtype=np.float64)

    def __call__(self) -> np.ndarray:
        """Return the places of those ticks that have room."""
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:
        """Return the places of those ticks that have room between two ends of the axis."""
        axis = self.axis
        size = axis.axes.get_window_extent()
        across = isinstance(axis, XAxis)
        length = (size.width if across else size.height) * 72 / axis.axes.figure.dpi
        gaps = np.diff(self.places)
        nearest = gaps.min() * length / abs(vmax - vmin) if gaps.size else np.inf
        return self.places[:: max(1, int(np.ceil(ROOM / nearest)))]


def name_ticks(
    axis: Axis, names: Sequence[object], shown: Collection[int] | None = None, turn: float = 0
) -> None:
    """Write names along an axis, at the places `shown` or at all, `turn` degrees to the left."""
    axis.set_major_locator(Fitting(range(len(names)) if shown is None else shown))
    axis.set_major_formatter(Names(names))
    axis.set_tick_params(labelrotation=turn)
