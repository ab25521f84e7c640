"""The table of a figure holds all that is drawn: arrays, and words, found in another way here."""

import re

import numpy as np
import pandas as pd
import pytest
from figure_examples import EXAMPLES
from matplotlib.collections import PolyCollection
from matplotlib.patches import StepPatch
from matplotlib.text import Text

from svcca_lib.paper.figures import tidy
from svcca_lib.paper.figures.names import Names
from svcca_lib.paper.figures.style import Drawn, drawn, panels
from svcca_lib.paper.figures.tidy import WORDS, table


@pytest.fixture(params=EXAMPLES, scope="module")
def both(request):
    return EXAMPLES[request.param]()[0]


def data_panels(figure):
    return [ax for ax in figure.axes if ax.axison and ax.get_label() != "<colorbar>"]


def drawn_arrays(ax):
    """Return the numbers of each thing in a panel, straight from the things."""
    for line in ax.lines:
        across, up = line.get_transform().contains_branch_seperately(ax.transData)
        ends = (line.get_xdata(), across), (line.get_ydata(), up)
        yield from (np.asarray(values, float) for values, is_data in ends if is_data)
    for image in ax.images:
        norm = image.norm
        array = np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
        yield array.clip(norm.vmin, norm.vmax) if norm.clip else array
    for things in ax.collections:
        if len(things.get_offsets()) and np.any(things.get_offsets()):
            yield np.asarray(things.get_offsets())
        elif not things.get_paths():
            continue
        elif isinstance(things, PolyCollection):
            yield np.concatenate([path.vertices[1:-1] for path in things.get_paths()])
        else:
            yield np.concatenate([path.vertices for path in things.get_paths()])
    for steps in (patch for patch in ax.patches if isinstance(patch, StepPatch)):
        values, edges, _ = steps.get_data()
        yield from (np.asarray(values), np.asarray(edges))


def test_every_array_that_is_drawn_is_in_the_table(both):
    rows = table(both.page)
    numbers = rows[rows.columns.difference(WORDS)].to_numpy()
    checked = 0
    for ax in data_panels(both.page):
        of_panel = numbers
        if "panel" in rows:
            of_panel = numbers[(rows["panel"] == tidy.name_of(ax)).to_numpy()]
        for array in drawn_arrays(ax):
            wanted = array[np.isfinite(array)].ravel()
            held = np.unique(of_panel[np.isfinite(of_panel)])
            nearest = held[np.abs(held - wanted[:, None]).argmin(axis=1)] if wanted.size else wanted
            np.testing.assert_allclose(nearest, wanted, rtol=1e-12, atol=1e-15)
            checked += 1
    assert checked


def test_every_word_that_is_drawn_is_in_the_table(both):
    """Or is a number of an axis, or a letter of a panel."""
    rows = table(both.page)
    said = " | ".join(str(v) for c in rows.columns.intersection(WORDS) for v in rows[c].unique())
    sketches = [ax for ax in both.page.axes if not ax.axison]
    of_sketches = {text for ax in sketches for text in ax.findobj(Text)}
    of_bars = {
        text
        for ax in both.page.axes
        if ax.get_label() == "<colorbar>"
        for text in (*ax.get_yticklabels(), *ax.get_xticklabels())
    }
    axes = [axis for ax in both.page.axes for axis in (ax.xaxis, ax.yaxis)]
    names = [axis.get_major_formatter() for axis in axes]
    short = {word for of in names if isinstance(of, Names) for word in of.shown.values()}
    both.page.draw_without_rendering()
    for text in both.page.findobj(Text):
        words = re.sub(r"^\([a-h]\) ", "", tidy.plain(text.get_text()))
        if not text.get_visible() or text in of_sketches or text in of_bars or is_number(words):
            continue
        if words in ("", *KEYS, *short):  # of a name that the table has in full
            continue
        assert words in said, words


# Of keys that explain a kind of line by its dashes, where names of curves say it in full.
KEYS = (
    "growth by Appendix C",
    "floor, dotted",
    "lower third of the layers",
    "middle third",
    "upper third",
    "layers compared",
    "99 % of the variance",
)


def is_number(words):
    return not words.strip("0123456789.,−-e+ ")


def test_page_and_phone_draw_the_same(both):
    one, other = (table(figure) for figure in (both.page, both.phone))
    order = [c for c in ("panel", "series", "mark", "x", "y", "low", "value") if c in one]
    # Where the numbers of a figure fit into its cells is up to their size.
    one, other = (
        t[t["mark"] != "text"].sort_values(order, ignore_index=True) for t in (one, other)
    )
    pd.testing.assert_frame_equal(one, other[list(one)])


def test_no_two_panels_have_one_name(both):
    names = [tidy.name_of(ax) for ax in data_panels(both.page)]
    assert len(set(names)) == len(names)


def test_layers_have_their_names_in_the_table():
    rows = table(EXAMPLES["figure_4"]()[0].page)
    assert set(rows["x_name"]) == set(rows["y_name"]) == {"c1", "c2", "c3", "c4", "fc"}
    matrices = EXAMPLES["figure_4"]()[1]["paper"]
    cell = rows[(rows["panel"] == "paper, 35 %") & (rows["y_name"] == "c2") & (rows["x"] == 4)]
    assert cell["value"].item() == matrices[1, 1, 4]


def test_what_has_no_name_is_refused():
    @drawn
    def nameless():
        figure, axes = panels(height=2)
        axes[0, 0].plot([0, 1], [0, 1])
        axes[0, 0].set_title("P")
        return figure

    with pytest.raises(ValueError, match="a Line2D of the panel 'P' has no name"):
        table(nameless().page)


KINDS = ("line", "points", "level", "band", "range", "points", "steps")


def test_marks_say_what_a_row_is():
    @drawn
    def all_kinds():
        figure, axes = panels(height=2)
        ax = axes[0, 0]
        ax.plot([0, 1], [2, 3], label="a")
        ax.plot([0, 1], [2, 3], "o", label="b")
        ax.axhline(0.5, label="c")
        ax.fill_between([0, 1], [1, 1], [4, 5], label="d")
        ax.hlines([7], [1], [2], label="e")
        ax.scatter([8], [9], label="f")
        ax.stairs([3, 4], [0, 1, 2], baseline=None, label="g")
        ax.text(1, 2, "h")
        return figure

    figure = all_kinds()
    assert isinstance(figure, Drawn)
    rows = table(figure.page).set_index("series")
    marks = dict(zip("abcdefg", KINDS, strict=True))
    assert {name: {mark} for name, mark in (*marks.items(), ("h", "text"))} == {
        name: set(rows.loc[[name], "mark"]) for name in rows.index
    }
    assert rows.loc["c", ["y"]].tolist() == [0.5]
    assert np.isnan(rows.loc["c", "x"])
    assert rows.loc[["d"], ["x", "low", "high"]].to_numpy().tolist() == [[0, 1, 4], [1, 1, 5]]
    assert rows.loc["e", ["y", "low", "high"]].tolist() == [7, 1, 2]
    assert rows.loc[["g"], ["x", "y"]].to_numpy().tolist() == [[0, 3], [1, 4], [2, 4]]
