"""Matrices of layers as colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage


def heat_map(ax: Axes, matrix: np.ndarray, ticks: Mapping[int, str], **drawing: Any) -> AxesImage:
    """Draw similarities of layers, the input at the lower left, with labels at some layers."""
    image = ax.imshow(
        matrix, "viridis", vmin=0, vmax=1, origin="lower", interpolation="nearest", **drawing
    )
    ax.set_xticks(list(ticks), list(ticks.values()), rotation=90)
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.tick_params(length=0 if len(ticks) == len(matrix) else 2, labelsize=5.6, pad=1.5)
    ax.spines[:].set_visible(False)
    return image


def colour_bar(figure: Figure, image: Any, axes: Any, label: str = "", **placing: Any) -> Colorbar:
    """Say beside some panels what their colours are."""
    bar = figure.colorbar(image, ax=axes, label=label, **placing)
    bar.outline.set_visible(False)
    return bar
