"""Axes along which names stand, such as those of layers: as many of them as there is room for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import Formatter, Locator

ROOM = 8.0  # points that a line of the smallest letters takes


class Names(Formatter):
    """Names at the whole numbers of an axis from 0 on; what is drawn beside one is of its name.

    On the axis some may be written otherwise, `shown` by their places.
    """

    def __init__(self, names: Sequence[object], shown: Mapping[int, str]) -> None:
        self.names = [str(name) for name in names]
        self.shown = shown

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return what is written at a place."""
        return self.shown.get(round(x), self.name(x))

    def name(self, x: float) -> str:
        """Return the name at a place; empty where there is none."""
        index = round(x)
        return self.names[index] if 0 <= index < len(self.names) else ""


class Fitting(Locator):
    """Ticks at given places, without those that would touch the one before."""

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
        room = ROOM * abs(vmax - vmin) / length
        fitting: list[float] = []
        for place in self.places:
            if not fitting or place - fitting[-1] >= room:
                fitting.append(place)
        return fitting


def name_ticks(
    axis: Axis, names: Sequence[object], shown: Mapping[int, str] | None = None, turn: float = 0
) -> None:
    """Write names along an axis, at all places or what is `shown` at some, turned by degrees."""
    axis.set_major_locator(Fitting(range(len(names)) if shown is None else shown))
    axis.set_major_formatter(Names(names, shown or {}))
    axis.set_tick_params(labelrotation=turn)
