"""Chapter 3: the theorems of the discrete Fourier transform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from svcca_lib.paper.figures.heatmaps import colour_bar
from svcca_lib.paper.figures.palette import BLUE, GREY, VERMILLION
from svcca_lib.paper.figures.strokes import Style
from svcca_lib.paper.figures.style import (
    ABOVE_NOTE,
    drawn,
    key,
    label_up,
    letters,
    note,
    panels,
    plain_numbers,
)

FLAT: Style = {"color": VERMILLION, "marker": "s"}
FOURIER: Style = {"color": BLUE, "marker": "o"}
FORMULA: Style = {"color": GREY, "linestyle": (0, (3, 1.6)), "linewidth": 1}


@drawn
def appendix_figure_2(covariances: Mapping[str, np.ndarray], off: Sequence[float]) -> Figure:
    """Appendix Figure 2: covariance of one channel in two bases, on two data sets.

    Four absolute covariances (pixels, pixels), row by row, and the share of the energy of each
    that lies off its diagonal.
    """
    figure, axes = panels(2, 2, height=5.2, phone=2.9)
    shades = LogNorm(1e-4, 1, clip=True)
    label = "|covariance|, largest of the panel = 1"
    for ax, (title, matrix), share in zip(axes.flat, covariances.items(), off, strict=True):
        # Three digits are more than a shade of the scale tells; a table of all would be megabytes.
        seen = np.vectorize(lambda share: float(f"{share:.3g}"))(matrix / matrix.max())
        image = ax.imshow(seen, cmap="Greys", norm=shades, interpolation="nearest", label=label)
        ax.spines[:].set_visible(True)
        ax.set_title(title, pad=ABOVE_NOTE)
        percent = 0 if share < 1e-6 else 100 * share
        note(ax, f"{percent:.3g} % off the diagonal")
        ends = [0, len(matrix) - 1]
        ax.set_xticks(ends, ends)
        ax.set_yticks(ends, ends)
    for column, unit in zip(axes.T, ("pixel", "frequency"), strict=True):
        for ax in column:
            ax.set_xlabel(unit)
            ax.set_ylabel(unit)
    bar = colour_bar(figure, image, axes, label, shrink=0.5, aspect=30, pad=0.02)
    plain_numbers(bar.ax.yaxis)
    letters(axes.flat, pad=ABOVE_NOTE)
    return figure


@dataclass(frozen=True)
class Scaling:
    """Seconds against one size of the layers, each pair of values of flat and of Fourier CCA."""

    sizes: np.ndarray  # (m,)
    flat: np.ndarray  # (m,), measured
    fourier: np.ndarray  # (m,), measured
    # by Appendix C, in any unit: scaled to meet the largest size
    formulas: tuple[np.ndarray, np.ndarray] | None
    slopes: tuple[float, float]  # exponents measured


@drawn
def appendix_c(series: Mapping[str, Scaling]) -> Figure:
    """Measured cost of flat and Fourier CCA along each size of the layers, beside Appendix C's."""
    figure, axes = panels(1, len(series), height=2.6, sharey=True)
    for ax, (label, s) in zip(axes[0], series.items(), strict=True):
        for i, (name, values) in enumerate((("flat CCA", s.flat), ("DFT-CCA", s.fourier))):
            style = (FLAT, FOURIER)[i]
            ax.loglog(s.sizes, values, label=name, markersize=3.5, **style)
            if s.formulas is not None:
                formula = s.formulas[i]
                grown = formula * values[-1] / formula[-1]
                ax.loglog(s.sizes, grown, label=f"{name}, growth by Appendix C", **FORMULA)
        flat, dft = s.slopes
        note(ax, f"slopes {flat:.1f}, {dft:.1f}")
        plain_numbers(ax.yaxis)
        ax.set_xlabel(label)
        ax.set_xticks(s.sizes, [f"{size:,.0f}" for size in s.sizes])
        ax.minorticks_off()
        ax.grid(axis="y")
    label_up(axes[0], "seconds")
    letters(axes[0], pad=ABOVE_NOTE)
    key(figure, {"flat CCA": FLAT, "DFT-CCA": FOURIER, "growth by Appendix C": FORMULA})
    return figure
