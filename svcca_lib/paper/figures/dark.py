"""A figure's vector drawing for a dark page, made from the one for a light page.

Neutral colours are turned around: the white ground becomes the page's, the ink becomes light.
A colour keeps its hue, for captions and legends name it, and is only as much lighter as it takes
to be read on the dark ground. Images inside the drawing, such as the cells of a heat-map, stay:
their colours are values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from matplotlib.colors import to_hex, to_rgb

GROUND = 0x12 / 255  # the dark page of the theme, and what white becomes
INK = 0.96  # what black becomes
ON_BRIGHT, ON_DEEP = "#010101", "#fefefe"  # ink on the cells of a heat-map: it stays, as they do
READABLE = 4.5  # contrast of text, by WCAG AA
NEUTRAL = 0.08  # channels closer to each other than this are a grey

_PAINT = re.compile(r"(?<=fill: )#[0-9a-f]{6}|(?<=stroke: )#[0-9a-f]{6}")


def darkened(svg: str) -> str:
    """Return the drawing with the colours of its fills and lines made for a dark page.

    >>> darkened('<path style="fill: #ffffff; stroke: #1a1a1a"/>')
    '<path style="fill: #121212; stroke: #dedede"/>'
    """
    return _PAINT.sub(lambda paint: on_dark(paint.group()), svg)


def on_dark(colour: str) -> str:
    """Return the colour that stands on a dark page for `colour`, both as ``"#rrggbb"``."""
    if colour in (ON_BRIGHT, ON_DEEP):
        return colour
    channels = to_rgb(colour)
    if max(channels) - min(channels) < NEUTRAL:
        grey = INK + (GROUND - INK) * sum(channels) / 3
        return to_hex((grey, grey, grey))
    while contrast(channels, [GROUND] * 3) < READABLE:
        red, green, blue = (c + 0.02 * (1 - c) for c in channels)
        channels = red, green, blue
    return to_hex(channels)


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the contrast of two colours by WCAG 2, from 1 to 21; channels are in [0, 1]."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(channels: Sequence[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
