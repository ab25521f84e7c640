"""Chapter 7: a ResNet against a ConvNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.paper.figures.heatmaps import colour_bar, heat_map
from svcca_lib.paper.figures.style import drawn, letters, panels


@drawn
def figure_7(
    matrices: Mapping[str, np.ndarray], rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Figure 7: layers of a ResNet against layers of a ConvNet, each with its label.

    Parameters
    ----------
    matrices : mapping of str to array, shape (rows, columns)
        Title -> similarities.
    rows, columns : sequence of str
        Labels of the layers of the ResNet and of the ConvNet, from the input upward.
    """
    figure, axes = panels(1, len(matrices), height=6.8, sharey=True)
    for ax, (title, matrix) in zip(axes[0], matrices.items(), strict=True):
        image = heat_map(ax, matrix, dict(enumerate(columns)), aspect="auto")
        ax.set_yticks(range(len(rows)), rows)
        ax.tick_params(axis="x", labelsize=8)
        ax.tick_params(axis="y", labelsize=7)
        ax.set(title=title, xlabel="layers of the ConvNet")
    axes[0, 0].set_ylabel("layers of the ResNet")
    colour_bar(figure, image, axes, "DFT-CCA similarity", shrink=0.5, pad=0.01, aspect=30)
    letters(axes[0])
    return figure
