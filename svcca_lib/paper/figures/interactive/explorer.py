"""Similarities that a reader can move: sliders for the datapoints, the neurons and the signal.

It is sliders and text, which keys and screen readers reach.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from svcca_lib.paper.figures.interactive.frame import filled, framed, thousandths
from svcca_lib.paper.figures.palette import COLOURS, GREY


def explorer(
    grids: Mapping[str, np.ndarray],
    axes: Mapping[str, Sequence[int]],
    start: Sequence[int],
    *,
    title: str,
    ident: str,
) -> str:
    """Build the HTML of numbers on a grid, with a slider for each of its three axes.

    `grids`, at most five of shape (a, b, c), are by name; `axes` the values of each axis by its
    label, datapoints and neurons first; `start` the positions of the sliders at first.

    Raises
    ------
    ValueError
        If shapes do not fit, a number is not in [0, 1], or `ident` is none that `framed` takes.
    """
    shape = tuple(len(values) for values in axes.values())
    if len(shape) != 3 or len(start) != 3:
        raise ValueError(f"expected three axes and three starts; got {len(shape)}, {len(start)}")
    for name, grid in grids.items():
        if np.shape(grid) != shape:
            raise ValueError(f"grid {name!r} must have shape {shape}; got {np.shape(grid)}")
    data = {
        "names": list(grids),
        "colours": (*COLOURS[:4], GREY)[: len(grids)],  # named beside the bars
        "axes": [{"values": list(map(int, values))} for values in axes.values()],
        "values": [thousandths(f"grid {n!r}", g).ravel().tolist() for n, g in grids.items()],
    }
    return drawn(data, list(axes), start, title, ident)


def drawn(
    data: Mapping[str, Any], labels: Sequence[str], start: Sequence[int], title: str, ident: str
) -> str:
    """Return the HTML of numbers as `explorer` keeps them, the labels of its axes beside them."""
    sliders = [
        filled(
            "explorer.slider.html",
            ident=f"{ident}-{k}",
            label=html.escape(label),
            last=len(data["axes"][k]["values"]) - 1,
            start=start[k],
        )
        for k, label in enumerate(labels)
    ]
    return framed("explorer", ident, title, data, width="38rem", sliders="\n".join(sliders))
