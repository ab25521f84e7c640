"""A figure as files: a sharp image, a vector drawing, its numbers, and their summary as text.

The same figure gives the same bytes each time, so that files can be compared.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from svcca_lib.paper.chapter.claims import number

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SCALE = 2  # pixels per CSS pixel: sharp on high-density screens


@dataclass(frozen=True)
class Drawing:
    """The forms of one figure."""

    png: bytes
    # by ending, for readers to download: "svg" and, where numbers were given, "csv"
    files: Mapping[str, str]
    # a line for each array that was drawn, which changes with its numbers
    summary: tuple[str, ...]

    @classmethod
    def of(cls, figure: Figure, name: str, data: Mapping[str, ArrayLike | pd.DataFrame]) -> Drawing:
        """Draw a figure; `name` seeds the ids in its SVG. ValueError for data not 1-D or 2-D."""
        import pandas as pd

        tables = {key: _table(key, values) for key, values in data.items()}
        image, files = png(figure), {"svg": svg(figure, name)}
        if tables:
            # Side by side; where lengths differ, the shorter ones end in empty cells.
            joined = pd.concat(list(tables.values()), axis="columns")
            files["csv"] = joined.to_csv(index=False, float_format="%.7g")
        return cls(image, files, tuple(_summary(*item) for item in tables.items()))

    @property
    def width(self) -> int:
        """The width at which a page shows the image, in CSS pixels."""
        return size(self.png)[0]


def size(png: bytes) -> tuple[int, int]:
    """Return width and height at which a page shows an image, in CSS pixels, from its header."""
    return (
        int.from_bytes(png[16:20], "big") // SCALE,
        int.from_bytes(png[20:24], "big") // SCALE,
    )


def png(figure: Figure) -> bytes:
    """Return the figure as PNG bytes that hold no time and no version."""
    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format="png",
        dpi=SCALE * figure.dpi,
        bbox_inches="tight",
        metadata={"Software": None},
    )
    return buffer.getvalue()


def svg(figure: Figure, name: str) -> str:
    """Return the figure as SVG, the same text each time; `name` seeds the ids in it."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return buffer.getvalue()


def _table(key: str, values: ArrayLike | pd.DataFrame) -> pd.DataFrame:
    """Return `values` as a table whose columns start with `key`; a named index is a column."""
    import pandas as pd

    if isinstance(values, pd.DataFrame):
        plain = isinstance(values.index, pd.RangeIndex)
        frame = values.reset_index(drop=plain)
    else:
        array = np.asarray(values)
        if array.ndim not in (1, 2):
            raise ValueError(f"data[{key!r}] needs 1 or 2 dimensions, got {array.ndim}")
        if array.ndim == 1:
            return pd.DataFrame({key: array})
        frame = pd.DataFrame(array)
    return frame.rename(columns=lambda column: f"{key}.{column}")


def _summary(key: str, table: pd.DataFrame) -> str:
    values = table.select_dtypes("number").to_numpy(np.float64)
    if not values.size or np.isnan(values).all():
        return f"  {key}: {len(table)} rows"
    ends = np.array([np.nanmin(values), np.nanmean(values), np.nanmax(values)])
    # What is left of a mean of opposites, or of a zero, is rounding: three digits of the largest
    # value count, which is itself rounded first: 0.9999999 has as many decimals as 1.
    if largest := float(f"{np.abs(ends).max():.3g}"):
        ends = ends.round(2 - int(np.floor(np.log10(largest))))
    low, mean, high = ends.tolist()
    shape = " x ".join(map(str, values.shape))
    return f"  {key}: {shape}, from {number(low)} to {number(high)}, mean {number(mean)}"
