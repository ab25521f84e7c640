"""Pictures of what a measure does, drawn from small numbers that a reader can follow by hand."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from svcca_lib.fourier import grid
from svcca_lib.fourier.grid import Size
from svcca_lib.paper.figures.palette import BLUE, GREY, INK, PALE, VERMILLION
from svcca_lib.paper.figures.strokes import DASHED, LEVEL, SHORT, Style
from svcca_lib.paper.figures.style import ABOVE_NOTE, beside, drawn, letters, note, panels


@drawn
def turning_direction(overlap: np.ndarray) -> Figure:
    """The singular values of a 2 x 2 product of two bases, as what turning directions reach.

    `overlap` is Qx' Qy. Above the angle of a direction in the span of X: its correlation with the
    direction of Y that suits it best, which turns along.
    """
    figure, axes = panels(height=2.4)
    ax = axes[0, 0]
    angles = np.linspace(0, np.pi, 181)
    best = reached(overlap, angles)
    ax.plot(np.rad2deg(angles), best, color=BLUE, label="best correlation")
    _, values, _ = np.linalg.svd(overlap)
    for name, value, angle in zip(
        ("first", "second"), values, angles[[best.argmax(), best.argmin()]], strict=True
    ):
        ax.axhline(value, zorder=0, label=f"{name} singular value", **LEVEL)
        at = np.rad2deg(angle)
        ax.plot(at, value, "o", color=VERMILLION, markersize=5, label=f"{name} pair")
        shift = (0, 6 if value > values[1] else -7)
        how = {"ha": "center", "va": "bottom" if shift[1] > 0 else "top"}
        beside(ax, f"{name} pair: {value:.2f}", (at, value), shift, **how)
    for angle, name in ((0, "neuron x₁"), (90, "neuron x₂")):
        height = reached(overlap, np.deg2rad([angle]))[0]
        ax.plot(angle, height, "s", color=INK, markersize=4, label=name)
        beside(ax, name, (angle, height), (7, 2 if angle else -11))
    ax.set(
        xlabel="direction in the span of X, degrees",
        ylabel="best correlation with\na direction of Y",
        xticks=np.arange(0, 181, 45),
        xlim=(-3, 183),
        ylim=(min(0.5, best.min() - 0.12), 1.12),
    )
    return figure


def reached(overlap: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Largest correlation of each direction of X, at some angles, with a direction of Y.

    That of Qx u with Qy v is u' P v, for unit vectors u and v; the best v is along P' u.
    """
    turned = np.stack([np.cos(angles), np.sin(angles)])
    lengths: np.ndarray = np.linalg.norm(overlap.T @ turned, axis=0)
    return lengths


@drawn
def two_readings(neuron: np.ndarray, kept: np.ndarray, direction: np.ndarray) -> Figure:
    """What a projection leaves of a neuron, in the plane of two: on a direction, or on a neuron.

    Vectors of responses, (2,) each, as deviations from the mean; the direction of unit length.
    """
    figure, axes = panels(1, 3, height=2.1, sharex=True, sharey=True)
    kinds: Mapping[str, tuple[np.ndarray, str]] = {
        "On a direction": (direction * (direction @ neuron), "projected"),
        "Others predicted": (kept * (kept @ neuron) / (kept @ kept), "predicted"),
        "Others silent": (np.zeros(2), "silent: at its mean"),
    }
    for ax, (title, (left, word)) in zip(axes[0], kinds.items(), strict=True):
        ax.set_title(title)
        along = direction if title == "On a direction" else kept / np.linalg.norm(kept)
        ends = np.outer([-0.3, 1.25], along)
        ax.plot(*ends.T, color=PALE, linewidth=6, zorder=0, label="what is kept")
        if title == "On a direction":
            beside(ax, "h", ends[1], (4, -2))
        _arrow(ax, kept, BLUE, "x₁" if title == "On a direction" else "x₁, kept")
        _arrow(ax, neuron, GREY, "x₂")
        if left.any():
            _arrow(ax, left, VERMILLION, "", linestyle=SHORT)
        ax.plot(*left, "o", color=VERMILLION, markersize=5, label=f"x₂, {word}")
        way = np.stack([neuron, left]).T
        ax.plot(*way, color=VERMILLION, linestyle=DASHED, linewidth=1, label="what is lost")
        beside(ax, f"x₂, {word}", left, (4, -13), color=VERMILLION)
        ax.set(aspect="equal", xlim=(-0.35, 1.6), ylim=(-0.4, 1.0))
        ax.spines[:].set_visible(False)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_visible(False)
    letters(axes[0])
    return figure


def _arrow(ax: Axes, to: np.ndarray, colour: str, name: str, linestyle: object = "-") -> None:
    """Draw a vector from the mean, with its name at its end."""
    style: Style = {"arrowstyle": "-|>", "mutation_scale": 8, "shrinkA": 0, "shrinkB": 0}
    style = {**style, "color": colour, "linewidth": 1.6, "linestyle": linestyle}
    ax.add_patch(FancyArrowPatch(posA=(0.0, 0.0), posB=(float(to[0]), float(to[1])), **style))
    if name:
        beside(ax, name, to, (3, 3), color=colour)


@drawn
def common_frequencies(pairs: Mapping[str, tuple[Size, Size]]) -> Figure:
    """The frequencies at which two layers meet, in the grid of the larger one, by title.

    Filled squares are frequencies of the larger layer that the smaller one has as well, crosses
    those that it lacks.
    """
    figure, axes = panels(1, len(pairs), height=2.6)
    for ax, (title, (large, small)) in zip(axes[0], pairs.items(), strict=True):
        ax.set_title(title)
        shared = met(large, small)
        height, width = large
        whole = list(product(*(range(-((m - 1) // 2), m // 2 + 1) for m in large)))
        for common, name, look in (
            (True, "in common", {"marker": "s", "color": BLUE, "markersize": 5.5}),
            (False, "in one only", {"marker": "x", "color": GREY, "markersize": 4}),
        ):
            at = np.array([key for key in whole if (key in shared) == common])
            if len(at):
                ax.plot(at[:, 1], at[:, 0], linestyle="", label=name, **look)
        ax.set(aspect="equal", xlabel="horizontal cycles", xlim=(-4, 5), ylim=(-4, 5))
        ax.set_xticks([0, width // 2], ["0", f"{width // 2}"])
        ax.set_yticks([0, height // 2], ["0", f"{height // 2}"])
        note(ax, f"{len(shared)} of {height * width}")
    axes[0, 0].set_ylabel("vertical cycles")
    letters(axes[0], pad=ABOVE_NOTE)
    return figure


def met(large: Size, small: Size) -> set[Size]:
    """Return the frequencies of the full grid of the larger size at which two layers meet."""
    at, _, _ = grid.shared_frequencies(large, small)
    keys = [grid.grid_of(large).keys[i] for i in at]
    return {_within(key, large) for v, h in keys for key in ((v, h), (-v, -h))}


def _within(key: Size, size: Size) -> Size:
    """Name a frequency as the plot does: from just above minus half the size to half of it."""
    v, h = (k + m if 2 * k <= -m else k for k, m in zip(key, size, strict=True))
    return v, h
