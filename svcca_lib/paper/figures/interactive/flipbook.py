"""Curves that a reader can take through a series: a slider, a drawing, and what it shows in words.

The drawing is SVG, so that it is as wide as the page and its lines as thin on a phone. Curves
differ by dashes as well as by colour, and the words under them say what the slider changes.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from svcca_lib.paper.figures.interactive.frame import filled, framed, thousandths
from svcca_lib.paper.figures.palette import COLOURS

DASHES = ("", "7 3", "2 2", "9 3 2 3")  # as SVG has them, one a curve


def flipbook(
    frames: np.ndarray,
    behind: np.ndarray,
    steps: Sequence[str],
    words: Sequence[str],
    *,
    slider: str,
    names: Sequence[str],
    still: str,
    start: int,
    title: str,
    ident: str,
) -> str:
    """Build the HTML of curves with a slider that changes them.

    Parameters
    ----------
    frames
        Curves (steps, curves, points) over equally spaced points, four at most.
    behind
        Curves (m, points) that stay, drawn wide and pale behind the others.
    steps, words
        Of each step its name beside the slider, and a sentence under the drawing.
    slider, names, still
        What the slider is called, what each curve is, and what the pale ones are.
    start
        The step that is shown at first.
    title, ident
        Of the figure; see `framed`.

    Raises
    ------
    ValueError
        If shapes do not fit, a number is not finite, or `ident` is none that `framed` takes.
    """
    expected = (len(steps), len(names), np.shape(behind)[-1])
    if np.shape(frames) != expected or len(words) != len(steps) or len(names) > len(DASHES):
        raise ValueError(
            f"expected frames (steps, curves, points) = {expected} with at most {len(DASHES)} "
            f"curves, and a sentence a step; got {np.shape(frames)} and {len(words)} sentences"
        )
    if not 0 <= start < len(steps):
        raise ValueError(f"start must be a step from 0 to {len(steps) - 1}; got {start}")
    shown = np.concatenate([np.ravel(frames), np.ravel(behind)])
    low, high = shown.min(), shown.max()

    def heights(values: np.ndarray) -> list[list[int]]:
        # from the top, as SVG counts, in thousandths of the range
        share = np.clip((high - values) / (high - low), 0, 1)  # by rounding it may be beyond
        return thousandths("curves", share).tolist()  # type: ignore[no-any-return]

    data = {
        "frames": [heights(frame) for frame in np.asarray(frames, dtype=np.float64)],
        "behind": heights(np.asarray(behind, dtype=np.float64)),
        "steps": list(steps),
        "words": list(words),
        "colours": COLOURS[: len(names)],
        "dashes": DASHES[: len(names)],
    }
    legend = "\n".join(
        filled("flipbook.key.html", name=html.escape(name), colour=colour, dash=dash)
        for name, colour, dash in zip(names, COLOURS, DASHES, strict=False)
    )
    return framed(
        "flipbook",
        ident,
        title,
        data,
        width="38rem",
        slider=html.escape(slider),
        still=html.escape(still),
        legend=legend,
        last=len(steps) - 1,
        start=start,
    )
