"""Chapter 5: Freeze Training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.paper.figures.curves import Curve, band, draw_curve, step_axis
from svcca_lib.paper.figures.palette import BLUE, VERMILLION
from svcca_lib.paper.figures.strokes import DASHED, LEVEL, Style
from svcca_lib.paper.figures.style import (
    ABOVE_NOTE,
    drawn,
    key,
    label_up,
    letters,
    note,
    panels,
    row,
)

BASE: Style = {"color": VERMILLION, "linestyle": DASHED}
FREEZE: Style = {"color": BLUE}
FROZEN: Style = {**LEVEL, "linewidth": 0.8}
IS_FROZEN = "a layer or unit is frozen"


@dataclass(frozen=True)
class Freezing:
    """Test accuracy of one network trained without and with freezing."""

    steps: np.ndarray  # (t,), of the evaluations
    base: np.ndarray  # (seeds, t)
    freeze: np.ndarray  # (seeds, t), in each row of the same seed as in `base`
    difference: np.ndarray  # (3, t): mean over the pairs, and the two ends of its interval
    freezes: np.ndarray  # steps at which layers were frozen


@drawn
def figure_5(networks: Mapping[str, Freezing]) -> Figure:
    """Figure 5: test accuracy without and with freezing, and the difference of matched runs."""
    figure, axes = panels(
        2,
        len(networks),
        height=3.8,
        phone=1.7,
        by_columns=True,
        sharex="col",
        sharey="row",
        height_ratios=(1.7, 1),
    )
    for column, (title, n) in zip(axes.T, networks.items(), strict=True):
        above, below = column
        for ax in column:
            for step in n.freezes:
                ax.axvline(step, zorder=0, label=IS_FROZEN, **FROZEN)
            ax.grid(axis="y")
        draw_curve(above, Curve(n.steps, n.base), BASE, "base")
        draw_curve(above, Curve(n.steps, n.freeze), FREEZE, "freeze")
        above.set_title(title)
        mean, low, high = 100 * n.difference
        below.set_label(f"{title}, difference")
        below.axhline(0, label="base", **BASE)
        below.plot(n.steps, mean, label="freeze − base", **FREEZE)
        band(below, n.steps, low, high, FREEZE, "freeze − base")
        step_axis(below)
    # What happens once layers freeze: the rise before it would fill the panel.
    late = [
        curves[:, n.steps >= n.freezes[0]].min()
        for n in networks.values()
        for curves in (n.base, n.freeze)
    ]
    axes[0, 0].set_ylim(min(late) - 0.01, None)
    label_up(axes[0], "test accuracy")
    label_up(axes[1], "freeze − base,\npercentage points")
    letters(axes[0])
    key(figure, {"base": BASE, "freeze": FREEZE, IS_FROZEN: FROZEN})
    return figure


@drawn
def figure_5_cost(networks: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Arithmetic of one step of Freeze Training over time, the base run's step being 1.

    Each network has the steps at which its stages between freezes begin, the end included, and
    the cost of a step in each stage.
    """
    figure, shown = row(networks, 2.4, "arithmetic of one step", grid=False, pad=ABOVE_NOTE)
    for ax, (starts, cost) in shown:
        ax.stairs(cost, starts, baseline=None, linewidth=1.4, label="freeze", **FREEZE)
        area: Style = {"fill": True, "color": BLUE, "alpha": 0.16}
        ax.stairs(np.ones(len(cost)), starts, baseline=cost, label="saved", **area)
        ax.plot(starts[[0, -1]], [1, 1], label="base", **BASE)
        ax.axhline(1 / 3, label="forward pass alone", **LEVEL)
        saved = 1 - cost @ np.diff(starts) / starts[-1]
        note(ax, f"saved: {100 * saved:.0f} %")
        ax.set_ylim(0, 1.08)
        step_axis(ax)
    key(figure, {"base": BASE, "freeze": FREEZE, "forward pass alone": LEVEL})
    return figure
