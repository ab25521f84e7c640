"""How lines and words look, and what that stands for in all figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from svcca_lib.paper.figures.palette import BLUE, GREY, INK, VERMILLION

Style: TypeAlias = Mapping[str, Any]  # properties of a line or a text, as Matplotlib names them

DASHED, DOTTED = (0, (4, 1.6)), (0, (1, 2))
LONG, SHORT, FINE = (0, (5, 1.5)), (0, (2, 1.2)), (0, (1, 1.4))  # where more are to be told apart

LEVEL: Style = {"color": GREY, "linewidth": 0.9, "linestyle": DOTTED}  # a height to compare with
CHANCE: Style = {"color": GREY, "linewidth": 1, "linestyle": DOTTED}  # the same as a curve
ASIDE: Style = {"color": GREY, "fontsize": 7}  # words at such a line

# Five classes: two of a pair, two of another, and one apart.
FIVE: tuple[Style, ...] = (
    {"color": BLUE},
    {"color": BLUE, "linestyle": DASHED},
    {"color": VERMILLION, "linestyle": "-."},
    {"color": VERMILLION, "linestyle": SHORT},
    {"color": INK, "linewidth": 2.4},
)
