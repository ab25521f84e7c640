"""Stored figures that a reader can move, drawn anew by the scripts of today.

A notebook keeps the script of the day on which it ran; its numbers are what has to last.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

import numpy as np

from svcca_lib.paper.figures.interactive import explorer, scrubber
from svcca_lib.paper.figures.interactive.frame import Stored, stored

# The paper's matrices by the fraction of training, by the name that the figure has on its page.
Theirs = Mapping[str, Mapping[float, np.ndarray]]


def renewed(text: str, theirs: Theirs) -> str:
    """Return HTML with its figures drawn anew, the paper's matrices beside those that have some."""
    for figure in stored(text):
        text = text.replace(figure.html, redrawn(figure, theirs.get(figure.ident)))
    return text


def redrawn(
    figure: Stored, theirs: Mapping[float, np.ndarray] | None = None, ident: str = ""
) -> str:
    """Return the HTML of one figure, under another name if `ident` is given."""
    ident = ident or figure.ident
    if figure.kind == "scrubber":
        return scrubber.drawn(figure.data, ident, theirs)
    if figure.kind == "flipbook":  # of one form so far
        return figure.html
    if figure.kind != "explorer":
        raise ValueError(
            f"a stored figure must be a scrubber, a flipbook or an explorer; got {figure.kind!r}"
        )
    labels = re.findall(r"<label [^>]*>(.*?)</label>", figure.html)
    start = re.findall(r'<input [^>]*value="(\d+)"', figure.html)
    return explorer.drawn(
        figure.data, list(map(html.unescape, labels)), list(map(int, start)), figure.title, ident
    )
