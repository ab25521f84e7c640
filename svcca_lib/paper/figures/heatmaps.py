"""Matrices of layers as colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from svcca_lib.paper.figures.names import name_ticks


def heat_map(
    ax: Axes,
    matrix: np.ndarray,
    rows: Sequence[object],
    columns: Sequence[object],
    label: str,
    *,
    named: Mapping[int, str] | None = None,
    **drawing: Any,
) -> AxesImage:
    """Draw similarities of layers, the input at the lower left, with the names of layers.

    `label` is what the colours are; `named` has what is written of them, by place; by
    default all that there is room for.
    """
    image = ax.imshow(
        matrix,
        "viridis",
        vmin=0,
        vmax=1,
        origin="lower",
        interpolation="nearest",
        label=label,
        **drawing,
    )
    name_ticks(ax.xaxis, columns, named, turn=90)
    name_ticks(ax.yaxis, rows, named)
    ax.tick_params(length=0 if named is None else 2, pad=1.5)
    ax.spines[:].set_visible(False)
    return image


def colour_bar(figure: Figure, image: Any, axes: Any, label: str = "", **placing: Any) -> Colorbar:
    """Say beside some panels what their colours are."""
    bar = figure.colorbar(image, ax=axes, label=label, **placing)
    bar.outline.set_visible(False)
    return bar
