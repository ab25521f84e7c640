"""What holds of every figure: compared by data, never by pixels."""

import functools
import importlib
import pkgutil

import matplotlib
import numpy as np
import pytest
from figure_examples import EXAMPLES
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from svcca_lib.paper import figures
from svcca_lib.paper.chapter.drawings import png
from svcca_lib.paper.figures import distributed_representations, style, toy_regression


@pytest.fixture(
    params=[(name, size) for name in EXAMPLES for size in ("page", "phone")], ids="-".join
)
def figure(request):
    name, size = request.param
    return getattr(EXAMPLES[name]()[0], size)


def test_every_figure_has_an_example_here():
    drawing = set()
    for module in pkgutil.iter_modules(figures.__path__, f"{figures.__name__}."):
        members = vars(importlib.import_module(module.name)).items()
        drawing |= {name for name, member in members if hasattr(member, "__wrapped__")}
    assert drawing == set(EXAMPLES)


def test_every_figure_is_an_opaque_card_as_wide_as_a_page_or_a_phone(figure):
    assert isinstance(figure, Figure)
    assert figure.get_size_inches()[0] in (style.WIDTH, style.PHONE)
    assert same_color(figure.get_facecolor(), "white")
    assert figure.get_facecolor()[3] == 1


def test_nothing_sticks_out_of_a_figure(figure):
    figure.draw_without_rendering()
    drawn, size = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.width <= size[0] + 0.02
    assert drawn.height <= size[1] + 0.02


@functools.cache
def shown_texts(figure):
    """Return all texts that are seen: titles, labels, ticks, keys, notes and numbers in cells."""
    figure.draw_without_rendering()
    hidden = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            if not (ax.axison and axis.get_visible()):
                hidden |= set(axis.findobj(Text))
            # Ticks beyond the ends of an axis are kept by it, but not drawn.
            drawn = {label for tick in axis._update_ticks() for label in (tick.label1, tick.label2)}
            hidden |= {t for tick in (*axis.majorTicks, *axis.minorTicks)
                       for t in (tick.label1, tick.label2)} - drawn  # fmt: skip
    texts = figure.findobj(lambda artist: isinstance(artist, Text))
    return [
        t
        for t in dict.fromkeys(texts)
        if t.get_text().strip() and t.get_visible() and t not in hidden
    ]


def test_no_two_texts_of_a_figure_overlap(figure):
    texts = shown_texts(figure)
    assert len(texts) > 3
    boxes = [text.get_window_extent().padded(-0.5) for text in texts]
    for i, box in enumerate(boxes):
        for j, other in enumerate(boxes[:i]):
            assert not box.overlaps(other), (texts[i].get_text(), texts[j].get_text())


def test_no_curve_runs_through_a_text(figure):
    """Of those that are not written on something: keys inside a panel, notes, names of lines."""
    shown_texts(figure)
    for ax in figure.axes:
        legend = ax.get_legend()
        texts = [*ax.texts, *(legend.get_texts() if legend else ())]
        for text in texts:
            box = text.get_window_extent()
            for line in ax.lines:
                path = line.get_transform().transform_path(line.get_path())
                assert not path.intersects_bbox(box, filled=False), (text.get_text(), line)


def test_no_letter_of_a_figure_is_smaller_than_seven_points(figure):
    sizes = {text.get_text(): text.get_fontsize() for text in shown_texts(figure)}
    assert min(sizes.values()) >= style.SMALLEST, sizes
    # Formulas make their own, smaller letters.
    assert not any("$" in text for text in sizes)


# Told apart by where they are: a wide line under a thin one, the foot of a mark, the neighbours in
# depth of a layer, whose third of the depth has its dashes.
BY_PLACE = {"neuron 1", "mean, chance", "1: a", "3: c"}


def test_no_series_of_a_panel_differs_from_another_by_its_colour_alone(figure):
    for ax in filter(lambda ax: ax.axison, figure.axes):
        looks = {}
        for line in ax.lines:
            form = (str(line._unscaled_dash_pattern), line.get_marker(), line.get_linewidth(),
                    line.get_alpha())  # fmt: skip
            looks.setdefault(form, set()).add((to_hex(line.get_color()), line.get_label()))
        for form, same in looks.items():
            colours, names = {colour for colour, _ in same}, {name for _, name in same}
            assert len(colours) == 1 or BY_PLACE & names, (form, same)


def test_every_panel_says_what_its_axes_are(figure):
    for ax in figure.axes:
        if ax.axison and ax.xaxis.get_visible() and ax.get_label() != "<colorbar>":
            column = ax.get_shared_x_axes().get_siblings(ax)
            names = any(name.get_text().isalpha() for name in ax.get_xticklabels())
            assert names or figure.get_supxlabel() or any(other.get_xlabel() for other in column)


def test_the_style_ignores_the_readers_settings_and_leaves_them_alone():
    x = np.eye(4)
    with matplotlib.rc_context({"font.size": 31.0, "axes.facecolor": "black"}):
        figure = toy_regression.figure_3(np.arange(4), {"all": x}, [1.0]).page
        assert matplotlib.rcParams["font.size"] == 31.0
    ax = figure.axes[0]
    assert ax.xaxis.label.get_fontsize() == style.STYLE["axes.labelsize"]
    assert same_color(ax.get_facecolor(), "white")


def test_a_figure_is_the_same_bytes_each_time():
    x = np.eye(4)
    once, again = (
        png(toy_regression.figure_3(np.arange(4), {"all": x, "2": x}, [1, 0.5]).page)
        for _ in range(2)
    )
    assert once == again


@pytest.mark.parametrize(("entries", "across"), [(1, 1), (5, 5), (9, 9), (11, 6), (12, 6)])
def test_rows_of_a_key_are_about_as_long(entries, across):
    figure = Figure(figsize=(5.5, 2))
    style.key(figure, {str(i): {} for i in range(entries)})
    assert figure.legends[0]._ncols == across


def test_a_key_takes_no_more_columns_than_fit():
    figure = Figure(figsize=(5.5, 2))
    style.key(figure, {f"a name of some length, the {i}.": {} for i in range(4)})
    assert figure.legends[0]._ncols == 2


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
