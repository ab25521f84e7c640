"""A matrix of layers that a reader can take through training time in the browser.

Mouse and keyboard do the same: arrow keys move the slider, and, on the matrix, from cell to cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from svcca_lib.paper.figures.interactive.frame import filled, framed, thousandths

# Nine samples of viridis: perceptually even, readable with any colour blindness, as in the paper.
VIRIDIS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")


def scrubber(
    matrices: np.ndarray,
    fractions: Sequence[float],
    labels: Sequence[str],
    *,
    title: str,
    ident: str,
    ticks: Mapping[int, str] | None = None,
    theirs: Mapping[float, np.ndarray] | None = None,
) -> str:
    """Build the HTML of a heat-map with a slider for training time.

    The rows of `matrices`, similarities (fractions, layers, layers), are layers during training,
    drawn from the bottom up; `ticks` are the labels beside the axes, by position, all by default.
    `theirs` are the paper's matrices (layers, layers) of the same layers, by the fraction of
    training; the one that is nearest in time stands beside ours.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not in [0, 1], or `ident` is none that `framed` takes.
    """
    expected = (len(fractions), len(labels), len(labels))
    if np.shape(matrices) != expected:
        raise ValueError(f"matrices must have shape {expected}; got {np.shape(matrices)}")
    values = thousandths("matrices", matrices)
    data = {
        "title": title,
        "fractions": list(fractions),
        "labels": list(labels),
        "ticks": list((ticks or dict(enumerate(labels))).items()),
        "colours": VIRIDIS,
        "values": values.reshape(len(values), -1).tolist(),
    }
    return drawn(data, ident, theirs)


def drawn(
    data: Mapping[str, Any], ident: str, theirs: Mapping[float, np.ndarray] | None = None
) -> str:
    """Return the HTML of numbers as `scrubber` keeps them, the paper's beside them if given."""
    layers = len(data["labels"])
    beside = {}
    for fraction, matrix in (theirs or {}).items():
        if np.shape(matrix) != (layers, layers):
            raise ValueError(
                f"theirs[{fraction}] must have shape {(layers, layers)}; got {np.shape(matrix)}"
            )
        beside[fraction] = thousandths(f"theirs[{fraction}]", matrix).ravel().tolist()
    return framed(
        "scrubber",
        ident,
        data["title"],
        {**data, "theirs": list(beside.items())},
        width="52rem" if beside else "34rem",
        last=len(data["fractions"]) - 1,
        heading='<p style="margin:0 0 .2em;font-size:.9em">Ours</p>' if beside else "",
        theirs=filled("scrubber.theirs.html") if beside else "",
    )
