"""Colours, and what they stand for in all figures.

The colours are those of Okabe and Ito, which readers with any common colour blindness can tell
apart; nothing is told by colour alone.
"""

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#B5589A"
ORANGE, SKY, INK, GREY, PALE = "#E69F00", "#56B4E9", "#1a1a1a", "#767676", "#c8c8c8"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)  # of curves, in this order
