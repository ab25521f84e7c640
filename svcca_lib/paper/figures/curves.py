"""Curves that stand for several networks: their mean, and their range as a band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from svcca_lib.paper.figures.strokes import Style


@dataclass(frozen=True)
class Curve:
    """Several measurements at the same places: directions or neurons left, steps, layers ..."""

    counts: np.ndarray  # (k,): where they were made
    accuracy: np.ndarray  # (..., k): one row per network and draw

    @property
    def rows(self) -> np.ndarray:
        """The measurements, shape (networks and draws, k)."""
        return np.reshape(self.accuracy, (-1, len(self.counts)))


def draw_curve(ax: Axes, curve: Curve, style: Style, name: str, *, ranged: bool = True) -> None:
    """Draw the mean as a line and, if `ranged`, the range of several rows as a band, by a name."""
    rows = curve.rows
    ax.plot(curve.counts, rows.mean(axis=0), label=name, **style)
    if ranged and len(rows) > 1:
        band(ax, curve.counts, rows.min(axis=0), rows.max(axis=0), style, name)


def band(
    ax: Axes, at: np.ndarray, low: np.ndarray, high: np.ndarray, style: Style, name: str
) -> None:
    """Fill between two curves in the colour of a line."""
    ax.fill_between(at, low, high, color=style["color"], alpha=0.16, linewidth=0, label=name)


def step_axis(ax: Axes) -> None:
    """Make the x axis one of training steps."""
    ax.set_xlabel("training step")
    ax.xaxis.set_major_formatter("{x:,.0f}")
