"""Colours and dashes, and what they stand for in all figures.

The colours are those of Okabe and Ito, which readers with any common colour blindness can tell
apart; nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Style: TypeAlias = Mapping[str, Any]  # properties of a line or a text, as Matplotlib names them

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#B5589A"
ORANGE, SKY, INK, GREY, PALE = "#E69F00", "#56B4E9", "#1a1a1a", "#767676", "#c8c8c8"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)  # of curves, in this order

DASHED, DOTTED = (0, (4, 1.6)), (0, (1, 2))
LONG, SHORT, FINE = (0, (5, 1.5)), (0, (2, 1.2)), (0, (1, 1.4))  # where more are to be told apart

LEVEL: Style = {"color": GREY, "linewidth": 0.9, "linestyle": DOTTED}  # a height to compare with
CHANCE: Style = {"color": GREY, "linewidth": 1, "linestyle": DOTTED}  # the same as a curve
ASIDE: Style = {"color": GREY, "fontsize": 7.5}  # words at such a line
