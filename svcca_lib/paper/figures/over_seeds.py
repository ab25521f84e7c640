"""Any figure's numbers over the seeds of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from svcca_lib.paper.figures.style import drawn, panels

if TYPE_CHECKING:
    import pandas as pd


@drawn
def over_seeds(mean: pd.DataFrame, low: pd.DataFrame, high: pd.DataFrame) -> Figure:
    """Draw the numbers of any figure as means with intervals, one panel for each of its tables.

    The frames are as a chapter writes them: the columns of a table are named ``table.column``,
    that of a list ``table``. Few columns are lines with a band, many a map of the means, all over
    a column ``index`` where there is one.
    """
    tables: dict[str, list[str]] = {}
    for column in mean.columns.drop("index", errors="ignore"):
        tables.setdefault(str(column).partition(".")[0], []).append(column)
    columns = min(3, len(tables))
    rows = -(-len(tables) // columns)
    figure, axes = panels(rows, columns, height=2.2 * rows + 0.2)
    for ax, (name, members) in zip(axes.flat, tables.items(), strict=False):
        ax.set_title(name, fontsize=7.5)
        used = mean[members].dropna(how="all").index
        values = mean.loc[used, members].to_numpy()
        if len(members) > 6 and len(used) > 1:
            image = ax.imshow(values, aspect="auto", cmap="viridis")
            figure.colorbar(image, ax=ax)
            continue
        at = mean["index"].loc[used].to_numpy() if "index" in mean else used.to_numpy()
        marker = "o" if len(used) == 1 else None
        for index, member in enumerate(members):
            (line,) = ax.plot(at, values[:, index], marker=marker, markersize=4)
            ends = (frame.loc[used, member].to_numpy() for frame in (low, high))
            if marker:
                ax.vlines(at, *ends, color=line.get_color())
            else:
                ax.fill_between(at, *ends, color=line.get_color(), alpha=0.2, linewidth=0)
    for ax in axes.flat[len(tables) :]:
        ax.set_axis_off()
    return figure
