"""Chapter 14: when the classes of ImageNet are learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from svcca_lib.names import mathtext
from svcca_lib.paper.figures.curves import band
from svcca_lib.paper.figures.names import name_ticks
from svcca_lib.paper.figures.palette import BLUE, GREEN, GREY, INK, ORANGE
from svcca_lib.paper.figures.strokes import CHANCE, DASHED, FIVE, LEVEL, LONG, Style
from svcca_lib.paper.figures.style import drawn, key, label_up, letters, panels, row

GROUPS: tuple[Style, ...] = (
    {"color": ORANGE},
    {"color": BLUE, "linestyle": LONG},
    {"color": GREEN, "linestyle": DASHED},
)
ALONE: Style = {"color": INK, "linewidth": 2.4}  # the class apart, as in Figure 6


@dataclass(frozen=True)
class Curves:
    """Similarity of layers to five class logits, each with the half width of its interval."""

    similarity: np.ndarray  # (layers, 5)
    half: np.ndarray | None = None  # the same shape
    chance: np.ndarray | None = None  # (layers,); None where it is 0


@drawn
def figure_6_imagenet(
    shown: Mapping[str, Curves], classes: Sequence[str], layers: Sequence[str]
) -> Figure:
    """Figure 6: how much of the logits of five classes each layer holds, in panels by title.

    The last of `classes` is the one apart.
    """
    figure, found = row(shown, 3.2, "correlation with the class logit", phone=2.3)
    for ax, panel in found:
        depth = np.arange(len(layers))
        for i, (name, style) in enumerate(zip(classes, FIVE, strict=True)):
            curve = panel.similarity[:, i]
            ax.plot(depth, curve, label=name, **style)
            if panel.half is not None:
                low, high = curve - panel.half[:, i], curve + panel.half[:, i]
                band(ax, depth, low, high, style, f"{name}, 95 %")
        if panel.chance is not None:
            ax.plot(depth, panel.chance, label="chance", **CHANCE)
        ax.set(ylim=(-0.08, 1.03))
        _layer_axis(ax, layers)
    entries = dict(zip(map(mathtext, classes), FIVE, strict=True))
    if any(panel.chance is not None for panel in shown.values()):
        entries["chance"] = CHANCE
    key(figure, entries)
    return figure


@dataclass(frozen=True)
class Kinds:
    """Curves of all classes of some kinds, by name, and of one class alone."""

    curves: Mapping[str, np.ndarray]  # (layers, classes of the kind)
    alone: np.ndarray  # (layers,)


@drawn
def all_classes(
    kinds: Mapping[str, Kinds],
    alone: str,
    layers: Sequence[str],
    steps: np.ndarray,
    apart: Mapping[str, np.ndarray],
) -> Figure:
    """Draw the curves of kinds of classes, in panels by title, and how far apart classes are.

    Of each kind the mean, and the middle half of its classes. `apart`, by the names of `kinds`, has
    the mean squared distance of curves whose classes are so many `steps` apart, over that of all.
    """
    figure, axes = panels(1, len(kinds) + 1, height=3.1, phone=2.3)
    *of_kinds, last = axes[0]
    for ax, (title, panel) in zip(of_kinds, kinds.items(), strict=True):
        depth = np.arange(len(layers))
        for (name, curves), style in zip(panel.curves.items(), GROUPS, strict=True):
            ax.plot(depth, curves.mean(1), label=name, **style)
            low, high = np.percentile(curves, (25, 75), axis=1)
            band(ax, depth, low, high, style, f"{name}, middle half")
        ax.plot(depth, panel.alone, label=alone, **ALONE)
        ax.set(title=title, ylim=(-0.08, 1.03))
        ax.grid(axis="y")
        _layer_axis(ax, layers)
    label_up(of_kinds, "held-out correlation")
    styles: tuple[Style, ...] = (
        {"color": INK, "marker": "o", "markersize": 3.2},
        {"color": GREY, "marker": "s", "markersize": 3.2, "linestyle": DASHED},
    )
    for (name, values), style in zip(apart.items(), styles, strict=True):
        last.plot(steps, values, label=name.lower(), **style)
    last.axhline(1, label="mean of all pairs", **LEVEL)
    last.set(title="Distance of curves", xlabel="steps in WordNet")
    last.set(ylim=(0, None), ylabel="squared distance (mean: 1)")
    last.grid(axis="y")
    letters(axes[0])
    [names] = {tuple(panel.curves) for panel in kinds.values()}
    entries = {**dict(zip(names, GROUPS, strict=True)), mathtext(alone): ALONE}
    key(figure, entries | dict(zip(map(str.lower, apart), styles, strict=True)))
    return figure


def _layer_axis(ax: Axes, layers: Sequence[str]) -> None:
    """Name as many layers as there is room for."""
    name_ticks(ax.xaxis, layers, turn=90)
    ax.set(xlabel="layer, from the input", xlim=(0, len(layers) - 1))
