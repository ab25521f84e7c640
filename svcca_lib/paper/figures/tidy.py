"""What a figure draws, as one tidy table, read from the figure itself.

Nothing is handed on beside the drawing, so the two cannot differ: a curve that is drawn is in the
table, and what is in the table is drawn. For that every curve, band, dot and image has a name, its
label, and every panel has one, its label or its title. What has none raises a ValueError.

The columns, of which those that a figure does not need are left out:

=========  ==========================================================================
panel      the name of the panel
series     the name of what is drawn, or the words of a text
mark       line, points, steps, band, range, level (a line across the panel), cells or text
x_label    what the horizontal axis is; y_label: the vertical one
x          place along it; x_name: the name that stands there, such as a layer's
y          likewise, along the vertical axis
low, high  the ends of a band or range, of y; of x for a horizontal range
value      of a cell
=========  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from matplotlib.text import Annotation, Text

from svcca_lib.paper.figures.names import Names

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("panel", "series", "mark", "x_label", "x", "x_name", "y_label", "y", "y_name"),
    *("low", "high", "value"),
)
WORDS = ("panel", "series", "mark", "x_label", "x_name", "y_label", "y_name")  # the rest: numbers
Rows = dict[str, Any]  # columns: an array for several rows, or what all of them have


def table(figure: Figure) -> pd.DataFrame:
    """Return all that the panels of a figure show, a row for each place, in the order of drawing.

    Panels whose axes are off, sketches, and colour bars hold no data.
    """
    import pandas as pd

    found = [pd.DataFrame(rows) for ax in panels(figure) for rows in _panel(figure, ax)]
    joined = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)
    for column in joined.columns.difference(WORDS):
        joined[column] = joined[column].astype(np.float64)
    used = [c for c in COLUMNS if c in joined and not joined[c].isin(["", None, np.nan]).all()]
    return joined[used]


def panels(figure: Figure) -> list[Axes]:
    """Return the axes of a figure that show data."""
    return [ax for ax in figure.axes if ax.axison and ax.get_label() != "<colorbar>"]


def plain(text: str) -> str:
    r"""Return a text as one line.

    >>> plain("freeze less base,\npercentage points")
    'freeze less base, percentage points'
    """
    return " ".join(text.split())


def name_of(ax: Axes) -> str:
    """Return the name of a panel: its label, or its title."""
    return plain(str(ax.get_label()) or ax.get_title(loc="left"))


def labels_of(figure: Figure, ax: Axes) -> tuple[str, str]:
    """Return what the axes of a panel are: by its own labels, or by those that it shares."""
    across, up = ax.get_shared_x_axes(), ax.get_shared_y_axes()
    named = {
        "x": [ax.get_xlabel(), *(a.get_xlabel() for a in across.get_siblings(ax))],
        "y": [ax.get_ylabel(), *(a.get_ylabel() for a in up.get_siblings(ax))],
    }
    named["x"].append(figure.get_supxlabel())
    named["y"].append(figure.get_supylabel())
    x, y = (next(filter(None, found), "") for found in named.values())
    return plain(x), plain(y)


def _panel(figure: Figure, ax: Axes) -> Iterator[Rows]:
    """Yield the rows of each thing that a panel shows."""
    x_label, y_label = labels_of(figure, ax)
    for artist in ax.get_children():
        if not artist.get_visible():
            continue
        for rows in _rows(ax, artist):
            named = {"panel": name_of(ax), "x_label": x_label, "y_label": y_label, **rows}
            for axis, side in ((ax.xaxis, "x"), (ax.yaxis, "y")):
                names = axis.get_major_formatter()
                if isinstance(names, Names) and rows.get(side) is not None:
                    named[f"{side}_name"] = [names.name(at) for at in np.atleast_1d(rows[side])]
            length = max(len(np.atleast_1d(values)) for values in named.values())
            yield {
                column: values if np.ndim(values) else [values] * length
                for column, values in named.items()
            }


def _rows(ax: Axes, artist: Artist) -> Iterator[Rows]:
    """Yield the rows of one thing; what only adorns the panel has none."""
    kinds = Line2D | LineCollection | PathCollection | PolyCollection | StepPatch | AxesImage
    if isinstance(artist, Text):
        if artist in ax.texts and artist.get_text():
            yield {"series": plain(artist.get_text()), "mark": "text", **_place(ax, artist)}
    elif isinstance(artist, kinds):
        name = str(artist.get_label())
        if not name or name.startswith("_"):
            raise ValueError(
                f"a {type(artist).__name__} of the panel {name_of(ax)!r} has no name: draw it with "
                "label=..., so that the figure's table can say what it is"
            )
        for rows in _drawn(ax, artist):
            yield {"series": plain(name), **rows}


def _drawn(ax: Axes, artist: Any) -> Iterator[Rows]:
    """Yield the places of one named thing."""
    if isinstance(artist, Line2D):
        x, y = (np.asarray(v, dtype=np.float64) for v in artist.get_data(orig=True))
        of_x, of_y = artist.get_transform().contains_branch_seperately(ax.transData)
        if of_x and of_y:
            mark = "points" if artist.get_linestyle() in ("None", "", " ", "none") else "line"
            yield {"mark": mark, "x": x, "y": y}
        else:
            yield {"mark": "level", "x": x[0] if of_x else None, "y": y[0] if of_y else None}
    elif isinstance(artist, LineCollection):
        segments = np.array([np.asarray(path.vertices)[[0, -1]] for path in artist.get_paths()])
        segments = segments[np.isfinite(segments).all(axis=(1, 2))]  # others are not drawn
        for upright in (True, False):
            ends = segments[(segments[:, 0, 0] == segments[:, 1, 0]) == upright]
            if len(ends):
                side, along = (0, 1) if upright else (1, 0)
                low, high = np.sort(ends[:, :, along], axis=1).T
                yield {"mark": "range", "xy"[side]: ends[:, 0, side], "low": low, "high": high}
    elif isinstance(artist, PathCollection):
        x, y = np.asarray(artist.get_offsets()).T
        yield {"mark": "points", "x": x, "y": y}
    elif isinstance(artist, PolyCollection):
        for path in artist.get_paths():
            # One bound from left to right, a corner, the other one back, and a corner.
            corners = np.asarray(path.vertices)
            n = (len(corners) - 3) // 2
            bounds = corners[1 : n + 1], corners[n + 2 : 2 * n + 2][::-1]
            ends = np.sort([bound[:, 1] for bound in bounds], axis=0)
            yield {"mark": "band", "x": bounds[0][:, 0], "low": ends[0], "high": ends[1]}
    elif isinstance(artist, StepPatch):
        values, edges, baseline = artist.get_data()
        rows: Rows = {"mark": "steps", "x": edges, "y": np.append(values, values[-1])}
        if np.ndim(baseline):
            ends = np.sort([values, baseline], axis=0)
            low, high = np.append(ends, ends[:, -1:], axis=1)
            rows = {"mark": "band", "x": edges, "low": low, "high": high}
        yield rows
    else:
        yield _cells(artist)


def _cells(image: AxesImage) -> Rows:
    """Return the cells of an image, those beyond the ends of a clipped scale at these ends."""
    values = np.ma.filled(np.ma.asarray(image.get_array(), dtype=np.float64), np.nan)
    if image.norm.clip:
        values = np.clip(values, image.norm.vmin, image.norm.vmax)
    y, x = np.indices(values.shape).reshape(2, -1)
    return {"mark": "cells", "x": x, "y": y, "value": values.ravel()}


def _place(ax: Axes, text: Text) -> Rows:
    """Return where a text stands, as far as that is a place among the data."""
    if isinstance(text, Annotation):  # what it points at
        of_data, place = text.xycoords == "data", text.xy
        return dict(zip("xy", place, strict=True)) if of_data else {}
    of_x, of_y = text.get_transform().contains_branch_seperately(ax.transData)
    x, y = text.get_position()
    return {"x": x if of_x else None, "y": y if of_y else None}
