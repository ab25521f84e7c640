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


@dataclass(frozen=True, eq=False)
class LayerTable:
    """Similarity of every layer of one model with every layer of another.

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

    Notes
    -----
    Pixels of one image and tokens of one sentence are not independent: where they are the
    datapoints the real floor is above `chance`.
    """

    matrix: np.ndarray
    layers_a: tuple[str, ...]
    layers_b: tuple[str, ...]
    n: int
    measure: str
    reading: str
    results: Sequence[Similarity] = field(repr=False)
    readings: Mapping[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def chance(self) -> np.ndarray:
        """Expected similarity of independent layers of these sizes; computed when asked for."""
        return np.array([r.chance for r in self.results], dtype=float).reshape(self.matrix.shape)

    def to_pandas(self) -> Any:
        """Return the matrix as a labelled pandas DataFrame (needs pandas)."""
        import pandas as pd

        return pd.DataFrame(self.matrix, index=list(self.layers_a), columns=list(self.layers_b))

    def to_csv(self, path: str | Path) -> None:
        """Write the matrix as CSV with row and column labels, to full precision."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["layer", *self.layers_b])
            for name, row in zip(self.layers_a, self.matrix, strict=True):
                writer.writerow([name, *map(repr, row.tolist())])

    def plot(self, ax: Any = None) -> Any:
        """Draw the matrix as a heat-map (needs matplotlib).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        import matplotlib.pyplot as plt

        if ax is None:
            wide, high = (2 + 0.35 * max(4, len(names)) for names in (self.layers_b, self.layers_a))
            ax = plt.subplots(figsize=(wide, high), layout="constrained")[1]
        image = ax.imshow(self.matrix, vmin=0, vmax=1, cmap="viridis")
        ax.set_xticks(range(len(self.layers_b)), self.layers_b, rotation=90)
        ax.set_yticks(range(len(self.layers_a)), self.layers_a)
        ax.set(xlabel="model b", ylabel="model a", title=f"{self.measure} ({self.n} datapoints)")
        ax.figure.colorbar(image, ax=ax, shrink=0.8)
        return ax

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

    def __str__(self) -> str:
        width = max(map(len, (*self.layers_a, *self.layers_b, "0.000")))
        head = " ".join(f"{name:>{width}}" for name in ("", *self.layers_b))
        rows = (
            " ".join([f"{name:>{width}}", *(f"{value:{width}.3f}" for value in row)])
            for name, row in zip(self.layers_a, self.matrix, strict=True)
        )
        return "\n".join([f"{self.measure}, n = {self.n}, {self.reading}", head, *rows])


def _pair(a: str, b: str) -> str:
    return a if a == b else f"{a} with {b}"
