"""The cells of the paper's own Figure 4, as recovered from the published image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PERCENTS = (0, 35, 75, 100)  # of training, a panel each
FOLDER = Path(__file__).with_name("figure4")


def figure_4(name: str, percent: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Read a panel of "conv" or "res" at 0, 35, 75 or 100 %: labels, and a (layers, layers) matrix.

    Row: layer during training; column: layer at the end.
    """
    path = FOLDER / f"fig4_{name}_{percent:03d}.csv"
    labels = tuple(path.read_text(encoding="utf-8").splitlines()[0].split(","))
    return labels, np.loadtxt(path, delimiter=",", skiprows=1)
