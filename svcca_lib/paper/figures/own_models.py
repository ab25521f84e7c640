"""Chapter 11: your own models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.paper.figures.dark import ON_BRIGHT, ON_DEEP
from svcca_lib.paper.figures.heatmaps import colour_bar, heat_map
from svcca_lib.paper.figures.names import name_ticks
from svcca_lib.paper.figures.palette import COLOURS, GREY
from svcca_lib.paper.figures.strokes import Style
from svcca_lib.paper.figures.style import SMALLEST, drawn, for_phone, key, letters, panels, row

ROOMY = 0.38  # inches of a panel's share of the width for each cell: two digits fit into it


@dataclass(frozen=True)
class Cells:
    """A matrix of layers by layers, each with its name; NaN where a layer is constant."""

    matrix: np.ndarray  # (rows, columns)
    rows: Sequence[str]
    columns: Sequence[str]
    across: str = "model b"  # what the columns are
    down: str = "model a"


@drawn
def layer_tables(tables: Mapping[str, Cells], bar: str) -> Figure:
    """Heat-maps of layers by layers, the input at the lower left, the numbers in the cells."""
    widths = [len(cells.columns) for cells in tables.values()]
    # As high as square cells need: beside names of layers and a bar there is a width of 4.2 inches.
    cell = (4.2 - 0.4 * len(tables)) / sum(widths)
    height = 1.3 + cell * max(len(cells.rows) for cells in tables.values())
    figure, axes = panels(1, len(tables), height=height, phone=3.0, width_ratios=widths)
    room = figure.get_figwidth() / (1 if for_phone() else len(tables))
    for ax, (title, cells) in zip(axes[0], tables.items(), strict=True):
        image = heat_map(ax, cells.matrix, cells.rows, cells.columns, bar)
        ax.set(title=title, xlabel=cells.across, ylabel=cells.down)
        if room / max(cells.matrix.shape) < ROOMY:
            continue  # too small for numbers
        for (i, j), value in np.ndenumerate(cells.matrix):
            ink = ON_BRIGHT if value > 0.6 else ON_DEEP
            text = "–" if np.isnan(value) else f"{value:.2f}"
            ax.text(j, i, text, ha="center", va="center", color=ink, fontsize=SMALLEST)
    colour_bar(figure, image, axes, bar, shrink=0.75, pad=0.01, aspect=25)
    letters(axes[0])
    return figure


@drawn
def by_layer(
    panels_of: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
    layers: Mapping[str, Sequence[str]],
    label: str,
) -> Figure:
    """Similarity of each layer to its counterpart under several readings, each beside its chance.

    `panels_of` has for each title and reading the similarity and the chance, one value a layer,
    NaN where impossible; `layers` their names.
    """
    figure, shown = row(panels_of, 2.9, label, phone=2.8)
    names = list(dict.fromkeys(name for found in panels_of.values() for name in found))
    styles: dict[str, Style] = {
        name: {"marker": marker, "linestyle": "", "color": colour, "markersize": 4.5}
        for name, marker, colour in zip(names, "osD^v<", COLOURS, strict=False)
    }
    for (ax, found), own in zip(shown, (layers[title] for title in panels_of), strict=True):
        for name, (values, chances) in found.items():
            shift = 0.11 * (names.index(name) - (len(names) - 1) / 2)
            at = np.arange(len(own)) + shift
            colour = styles[name]["color"]
            above = f"{name}, above chance"
            ax.vlines(at, chances, values, color=colour, linewidth=1, alpha=0.6, label=above)
            ax.plot(at, chances, "_", color=colour, markersize=6, label=f"{name}, chance")
            ax.plot(at, values, label=name, **styles[name])
        name_ticks(ax.xaxis, own, turn=90)
        ax.set_xlabel("layer")
        ax.set_ylim(0, 1.04)
    key(figure, {**styles, "chance": {"marker": "_", "linestyle": "", "color": GREY}})
    return figure
