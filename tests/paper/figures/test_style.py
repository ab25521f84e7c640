"""What holds of every figure: compared by data, never by pixels."""

import importlib
import pkgutil

import matplotlib
import numpy as np
import pytest
from figure_examples import EXAMPLES
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.text import Text

from svcca_lib.paper import figures
from svcca_lib.paper.chapter.drawings import png
from svcca_lib.paper.figures import distributed_representations, style, toy_regression


# The numbers of other figures over the seeds are drawn as they come, without names.
@pytest.fixture(params=[name for name in EXAMPLES if name != "over_seeds"])
def figure(request):
    return EXAMPLES[request.param]()[0]


def test_every_figure_has_an_example_here():
    drawing = set()
    for module in pkgutil.iter_modules(figures.__path__, f"{figures.__name__}."):
        members = vars(importlib.import_module(module.name)).items()
        drawing |= {name for name, member in members if hasattr(member, "__wrapped__")}
    assert drawing == set(EXAMPLES)


def test_every_figure_is_an_opaque_card_of_the_books_width(figure):
    assert isinstance(figure, Figure)
    assert figure.get_size_inches()[0] == style.WIDTH
    assert same_color(figure.get_facecolor(), "white")
    assert figure.get_facecolor()[3] == 1


def test_nothing_sticks_out_of_a_figure(figure):
    figure.draw_without_rendering()
    drawn, size = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.width <= size[0] + 0.02
    assert drawn.height <= size[1] + 0.02


def test_no_two_texts_of_a_figure_overlap(figure):
    figure.draw_without_rendering()
    texts = [t for ax in figure.axes for t in ax.get_children() if isinstance(t, Text)]
    boxes = [t.get_window_extent() for t in texts if t.get_text() and t.get_visible()]
    for i, box in enumerate(boxes):
        for other in boxes[:i]:
            assert not box.overlaps(other)


def test_every_panel_says_what_its_axes_are(figure):
    for ax in figure.axes:
        if ax.axison and ax.xaxis.get_visible() and ax.get_label() != "<colorbar>":
            column = ax.get_shared_x_axes().get_siblings(ax)
            names = any(name.get_text().isalpha() for name in ax.get_xticklabels())
            assert names or figure.get_supxlabel() or any(other.get_xlabel() for other in column)


def test_the_style_ignores_the_readers_settings_and_leaves_them_alone():
    x = np.eye(4)
    with matplotlib.rc_context({"font.size": 31.0, "axes.facecolor": "black"}):
        figure = toy_regression.figure_3(np.arange(4), {"all": x}, [1.0])
        assert matplotlib.rcParams["font.size"] == 31.0
    ax = figure.axes[0]
    assert ax.xaxis.label.get_fontsize() == style.STYLE["axes.labelsize"]
    assert same_color(ax.get_facecolor(), "white")


def test_a_figure_is_the_same_bytes_each_time():
    x = np.eye(4)
    once, again = (
        png(toy_regression.figure_3(np.arange(4), {"all": x, "2": x}, [1, 0.5])) for _ in range(2)
    )
    assert once == again


@pytest.mark.parametrize(("entries", "across"), [(1, 1), (5, 5), (6, 3), (7, 4), (10, 5)])
def test_rows_of_a_key_are_about_as_long(entries, across):
    figure = Figure()
    style.key(figure, {str(i): {} for i in range(entries)}, columns=5)
    assert figure.legends[0]._ncols == across


@pytest.mark.parametrize(("panels", "found"), [(1, ["t"]), (2, ["(a) t", "(b) t"])])
def test_panels_have_letters_where_there_are_several(panels, found):
    _, axes = style.panels(1, panels, height=2)
    for ax in axes[0]:
        ax.set_title("t", loc="left")
    with matplotlib.rc_context({"axes.titlelocation": "left"}):
        style.letters(axes[0])
    assert [ax.get_title(loc="left") for ax in axes[0]] == found


def test_lines_differ_by_more_than_their_colour():
    lines = distributed_representations.LINES_2A.values()
    dashes = [str(line.get("linestyle", "-")) for line in lines]
    assert len(set(dashes)) == len(dashes)
    one, other = toy_regression.NET_1, toy_regression.NET_2
    assert one.get("linestyle", "-") != other["linestyle"]
