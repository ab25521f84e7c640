"""Chapter 7: a ResNet against a ConvNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.paper.figures.heatmaps import colour_bar, heat_map
from svcca_lib.paper.figures.style import drawn, row


@drawn
def figure_7(
    matrices: Mapping[str, np.ndarray], rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Figure 7: layers of a ResNet, the rows, against layers of a ConvNet, each with its label."""
    label = "DFT-CCA similarity"
    figure, shown = row(matrices, 7.0, "layers of the ResNet", grid=False, phone=6.6)
    for ax, matrix in shown:
        image = heat_map(ax, matrix, rows, columns, label, aspect="auto")
        ax.set_xlabel("layers of the ConvNet")
    colour_bar(figure, image, figure.axes, label, shrink=0.5, pad=0.01, aspect=30)
    return figure
