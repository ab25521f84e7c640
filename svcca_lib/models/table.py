"""The similarity of every layer of one model with every layer of another, as a table."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from svcca_lib.measures.similarity import Similarity
from svcca_lib.models.calibration import calibrated, p_values
from svcca_lib.names import cells, mathtext


@dataclass(frozen=True, eq=False, repr=False)
class LayerTable:
    """Similarity of every layer of one model with every layer of another.

    A value: it pickles and copies, and its arrays cannot be written into.

    Attributes
    ----------
    matrix : ndarray, shape (len(layers_a), len(layers_b))
        Similarities; NaN for a layer that is constant over the data (a class token before the first
        attention, a dead layer).
    layers_a, layers_b : tuple of str
        Rows and columns.
    n : int
        Rows that each layer gave: images, or pixels or tokens where these are the datapoints.
    measure, reading : str
        The measure, and how convolutions and tokens were read.
    chance : ndarray, shape as `matrix`
        Expected similarity of independent layers of these sizes on n independent datapoints.
    results : sequence of Similarity
        Of each pair of layers, row by row.
    readings : mapping of str to str
        What the output of each layer was taken for, in words: its axes and how they were read.
    null : ndarray, shape (permutations, len(layers_a), len(layers_b)), or None
        Similarities after whole inputs were shuffled, all pairs by the same permutation; of
        `svcca_lib.compare` with ``null=``.
    p_values : ndarray, shape as `matrix`, or None
        ``(1 + #{largest cell of a permutation >= this cell}) / (1 + permutations)``, each cell
        measured in standard deviations of its own null distribution: the chance that any cell at
        all of unrelated models comes out so high, so that all cells can be looked at together
        (Westfall and Young 1993). None without `null`.
    calibrated : ndarray, shape as `matrix`, or None
        ``(matrix - level) / (1 - level)`` with ``level`` the mean of `null`: 0 for what shuffled
        inputs give at this width and number of inputs, 1 for layers that agree. (Gröger et al.
        2026, arXiv 2602.14486, take an upper quantile for the level, so that 0 is also the edge of
        significance; here `p_values` say that.) None without `null`.

    Notes
    -----
    Pixels of one image and tokens of one sentence are not independent: where they are the
    datapoints the real floor is above `chance`, and `null` finds it.
    """

    matrix: np.ndarray
    layers_a: tuple[str, ...]
    layers_b: tuple[str, ...]
    n: int
    measure: str
    reading: str
    results: Sequence[Similarity]
    readings: Mapping[str, str] = field(default_factory=dict)
    null: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", read_only(self.matrix))
        object.__setattr__(self, "results", tuple(self.results))
        if self.null is not None:
            object.__setattr__(self, "null", read_only(self.null))

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Of NumPy's arrays neither copies nor pickles keep that they are not to be written into.
        frozen = {k: read_only(v) if isinstance(v, np.ndarray) else v for k, v in state.items()}
        self.__dict__.update(frozen)

    @cached_property
    def chance(self) -> np.ndarray:
        """Expected similarity of independent layers of these sizes; computed when asked for."""
        return read_only(
            np.array([r.chance for r in self.results], dtype=float).reshape(self.matrix.shape)
        )

    @cached_property
    def p_values(self) -> np.ndarray | None:
        """P-value of each cell, held against the largest of all cells; None without `null`."""
        return None if self.null is None else read_only(p_values(self.matrix, self.null))

    @cached_property
    def calibrated(self) -> np.ndarray | None:
        """Similarities above what shuffled inputs give, as a share of the rest; see above."""
        return None if self.null is None else read_only(calibrated(self.matrix, self.null))

    def to_pandas(self) -> Any:
        """Return the matrix as a labelled pandas DataFrame (needs pandas)."""
        import pandas as pd

        return pd.DataFrame(
            self.matrix.copy(), index=list(self.layers_a), columns=list(self.layers_b)
        )

    def to_csv(self, path: str | Path) -> None:
        """Write the matrix as CSV with row and column labels, to full precision."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(cells(["layer", *self.layers_b]))
            for name, row in zip(self.layers_a, self.matrix, strict=True):
                writer.writerow([*cells([name]), *map(repr, row.tolist())])

    def plot(self, ax: Any = None, *, cmap: str = "viridis") -> Any:
        """Draw the matrix as a heat-map of squares (needs matplotlib).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.
        cmap : str
            Colours from 0 to 1. NaN is hatched.

        Returns
        -------
        matplotlib.axes.Axes
            Titled with the measure, the reading and the mean chance level; of many layers every
            second, third, ... is named.
        """
        import matplotlib.pyplot as plt
        from matplotlib.patches import Rectangle

        if ax is None:
            cell = min(0.3, 10 / max(self.matrix.shape))  # inches
            high, wide = (cell * max(4, count) for count in self.matrix.shape)
            left, below = (0.09 * max(map(len, names)) for names in (self.layers_a, self.layers_b))
            size = max(5.2, wide + left + 2), high + below + 1.5
            ax = plt.subplots(figsize=size, layout="compressed")[1]
        image = ax.imshow(self.matrix, vmin=0, vmax=1, cmap=cmap, interpolation="nearest")
        for i, j in np.argwhere(np.isnan(self.matrix)):
            ax.add_patch(
                Rectangle(
                    (j - 0.5, i - 0.5), 1, 1, fill=False, hatch="////", edgecolor="0.6", linewidth=0
                )
            )
        ax.figure.canvas.draw()  # only now is it known how large a cell is
        box = ax.get_window_extent()
        for set_ticks, names, length, angle in (
            (ax.set_xticks, self.layers_b, box.width, 90),
            (ax.set_yticks, self.layers_a, box.height, 0),
        ):
            cell = length / ax.figure.dpi * 72 / len(names)  # points
            size = min(10.0, max(6.0, cell * 0.85))
            shown = range(0, len(names), math.ceil(size * 1.15 / cell))
            set_ticks(
                list(shown), [mathtext(names[i]) for i in shown], rotation=angle, fontsize=size
            )
        ax.set(xlabel="model b", ylabel="model a")
        ax.set_title(self._title(), fontsize=10)
        ax.figure.colorbar(image, ax=ax, shrink=0.8, label="similarity")
        return ax

    def _title(self) -> str:
        told = f"{self.measure}, {self.reading}\n{self.n:,} datapoints"
        costly = any(getattr(r.independent, "costly", False) for r in self.results)
        if self.null is None and costly and "chance" not in self.__dict__:
            return told
        level = self.chance if self.null is None else self.null
        if np.isnan(level).all():
            return told
        what = "shuffled inputs" if self.null is not None else "independent layers"
        return f"{told}, {what} score {np.nanmean(level):.2f}"

    def describe(self) -> str:
        """Say in words what the matrix shows, beside what independent layers would.

        Returns
        -------
        str
            How similar layers of the same name are, or, where no name is in both models, each layer
            of `layers_a` and the one most like it; how many layers are most like their namesake;
            the chance level, with advice where it leaves little to see; layers that are constant.

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> from svcca_lib import compare
        >>> model = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
        >>> table = compare(model, model, torch.randn(200, 4), measure="cca", progress=False)
        >>> print(table.describe().partition(";")[0])
        cca on 200 datapoints: layers of the same name score 1.00 on average
        """
        shared = [name for name in self.layers_a if name in self.layers_b]
        rows = shared or list(self.layers_a)
        found: dict[str, tuple[str, float, float]] = {}
        likest: dict[str, str] = {}
        for a in rows:
            i = self.layers_a.index(a)
            if np.isnan(self.matrix[i]).all():
                continue
            likest[a] = self.layers_b[int(np.nanargmax(self.matrix[i]))]
            j = self.layers_b.index(a if shared else likest[a])
            if not math.isnan(self.matrix[i, j]):
                found[a] = (self.layers_b[j], self.matrix[i, j], self.chance[i, j])
        head = f"{self.measure} on {self.n:,} datapoints"
        if not found:
            return f"{head}: nothing to compare, every layer is constant over the data."
        values = {a: value for a, (_, value, _) in found.items()}
        low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
        mean = float(np.mean(list(values.values())))
        what = "layers of the same name" if shared else "layers and those most like them"
        parts = [
            f"{head}: {what} score {mean:.2f} on average; highest is "
            f"{_pair(high, found[high][0])} ({values[high]:.2f}), lowest "
            f"{_pair(low, found[low][0])} ({values[low]:.2f})."
        ]
        if len(shared) > 1:
            namesakes = sum(likest[a] == a for a in found)
            parts.append(f"{namesakes} of {len(found)} are most like their namesake.")
        chances = np.array([chance for *_, chance in found.values()])
        if not np.isnan(chances).all():
            level = float(np.nanmean(chances))
            parts.append(f"Independent layers of these sizes would score {level:.2f}.")
            if level > 0.5:
                parts.append(
                    "That leaves little to see: take more datapoints, or a reading with fewer "
                    "neurons."
                )
        constant = [a for a in rows if a not in found]
        if constant:
            parts.append(f"Constant over the data: {', '.join(constant)}.")
        return " ".join(parts)

    def __repr__(self) -> str:
        known = self.matrix[~np.isnan(self.matrix)]
        parts = [f"{self.measure}, {len(self.layers_a)} x {len(self.layers_b)} layers"]
        if known.size:
            parts.append(f"mean {known.mean():.3f} ({known.min():.3f} to {known.max():.3f})")
        if known.size < self.matrix.size:
            parts.append(f"{self.matrix.size - known.size} NaN")
        if self.p_values is not None:
            parts.append(f"{int((self.p_values <= 0.05).sum())} cells with p <= 0.05")
        return f"LayerTable({', '.join(parts)}, n={self.n}, {self.reading})"

    def __str__(self) -> str:
        width = max(map(len, (*self.layers_a, *self.layers_b, "0.000")))
        head = " ".join(f"{name:>{width}}" for name in ("", *self.layers_b))
        rows = (
            " ".join([f"{name:>{width}}", *(f"{value:{width}.3f}" for value in row)])
            for name, row in zip(self.layers_a, self.matrix, strict=True)
        )
        return "\n".join([f"{self.measure}, n = {self.n}, {self.reading}", head, *rows])


def read_only(array: Any) -> np.ndarray:
    """An array of one's own that nobody can write into."""
    own: np.ndarray = np.array(array, dtype=float)
    own.flags.writeable = False
    return own


def _pair(a: str, b: str) -> str:
    return a if a == b else f"{a} with {b}"
