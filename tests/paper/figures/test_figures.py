"""The figures draw what they are given: compared by data, never by pixels."""

import inspect
import re

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.text import Text

from svcca_lib.paper.experiments.pairing import side_by_side
from svcca_lib.paper.figures import figures
from svcca_lib.paper.figures.figures import Curve

RNG = np.random.default_rng(0)
INDEX = np.linspace(0, 999, 50).astype(int)


def app_1():
    neurons, mixture, found = RNG.normal(size=(3, 50, 3))
    rho = {"A and B": np.ones(5), "A and C": np.linspace(1, 0.5, 5)}
    variances = {"B": np.array([0.7, 0.2, 0.1]), "C": np.array([0.4, 0.3, 0.3])}
    kept = {"B": 2, "C": 3}
    args = (INDEX, neurons, mixture, found, rho, variances, kept)
    return figures.appendix_figure_1(*args), args


def fig_1():
    views = {
        title: side_by_side(*RNG.normal(size=(2, 50, 3)), signed=title == "neurons")
        for title in ("neurons", "SVD", "SVCCA")
    }
    return figures.figure_1(INDEX, views, (1, 20, 20, 4)), views


def fig_3():
    outputs = {title: RNG.normal(size=(50, 4)) for title in ("all", "2", "6")}
    return figures.figure_3(INDEX, outputs, [1.0, 0.5, 0.12345]), outputs


def fig_2a():
    layers = {
        layer: {
            name: Curve(np.array([1, 3, 10]), RNG.uniform(0.2, 0.9, size=(2, 5, 3)))
            for name in figures.LINES_2A
        }
        for layer in ("p2 (64 neurons)", "fc1 (48 neurons)")
    }
    return figures.figure_2a(layers, full=0.9, chance=0.1), layers


def fig_2b():
    def curve():
        return Curve(np.arange(1, 5), RNG.uniform(0.2, 0.9, size=(2, 4)))

    layers = {
        layer: {m: {"read": curve(), "silent": curve()} for m in (5, 9)} for layer in ("fc1", "p2")
    }
    directions = {layer: curve() for layer in layers}
    return figures.figure_2b(layers, directions, full=0.9, chance=0.1), (layers, directions)


DRAW = {
    "appendix_figure_1": app_1,
    "figure_1": fig_1,
    "figure_3": fig_3,
    "figure_2a": fig_2a,
    "figure_2b": fig_2b,
}


def lines(ax):
    return [(line.get_xdata(), line.get_ydata()) for line in ax.lines]


def has_line(ax, x, y):
    return any(len(a) == len(x) and np.allclose(a, x) and np.allclose(b, y) for a, b in lines(ax))


def titles(figure):
    return [t for ax in figure.axes if (t := ax.get_title(loc="left"))]


def test_every_figure_here_is_among_the_figures_of_the_module():
    functions = {
        name
        for name, member in inspect.getmembers(figures, inspect.isfunction)
        if re.match(r"(appendix_)?figure_", name)
    }
    assert set(DRAW) <= functions


@pytest.mark.parametrize("name", DRAW)
def test_every_figure_is_an_opaque_card_of_the_books_width(name):
    figure, _ = DRAW[name]()
    assert isinstance(figure, Figure)
    assert figure.get_size_inches()[0] == figures.WIDTH
    assert same_color(figure.get_facecolor(), "white")
    assert figure.get_facecolor()[3] == 1


@pytest.mark.parametrize("name", DRAW)
def test_nothing_sticks_out_of_a_figure(name):
    figure, _ = DRAW[name]()
    figure.draw_without_rendering()
    drawn, size = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.width <= size[0] + 0.02
    assert drawn.height <= size[1] + 0.02


@pytest.mark.parametrize("name", DRAW)
def test_no_two_texts_of_a_figure_overlap(name):
    figure, _ = DRAW[name]()
    figure.draw_without_rendering()
    texts = [t for ax in figure.axes for t in ax.get_children() if isinstance(t, Text)]
    boxes = [t.get_window_extent() for t in texts if t.get_text() and t.get_visible()]
    for i, box in enumerate(boxes):
        for other in boxes[:i]:
            assert not box.overlaps(other)


def test_labels_at_close_ends_of_curves_are_moved_apart():
    assert figures._apart(0.5, 0.5, gap=0.1) == pytest.approx((0.45, 0.55))
    assert figures._apart(0.52, 0.5, gap=0.1) == pytest.approx((0.56, 0.46))
    assert figures._apart(0.8, 0.2, gap=0.1) == pytest.approx((0.8, 0.2))


@pytest.mark.parametrize("name", DRAW)
def test_every_panel_with_data_says_what_its_axes_are(name):
    figure, _ = DRAW[name]()
    for ax in figure.axes:
        if ax.axison and ax.xaxis.get_visible():
            assert ax.get_xlabel() or figure.get_supxlabel()


def test_the_style_ignores_the_readers_settings_and_leaves_them_alone():
    mine = {"font.size": 31.0, "axes.facecolor": "black"}
    with matplotlib.rc_context(mine):
        figure, _ = fig_3()
        assert matplotlib.rcParams["font.size"] == 31.0
    ax = figure.axes[0]
    assert ax.xaxis.label.get_fontsize() == figures.STYLE["axes.labelsize"]
    assert same_color(ax.get_facecolor(), "white")


def test_a_figure_is_the_same_bytes_each_time():
    from svcca_lib.paper.chapter.chapter import _png

    x, y = RNG.normal(size=(2, 50, 4))
    once, again = (_png(figures.figure_3(INDEX, {"all": x, "2": y}, [1, 0.5])) for _ in range(2))
    assert once == again


def test_appendix_figure_1_draws_the_neurons_their_mixture_and_what_was_found():
    figure, (index, neurons, mixture, found, rho, variances, kept) = app_1()
    a, b, c, d, e = figure.axes
    for ax, columns in ((a, neurons), (b, mixture), (c, neurons), (c, found)):
        for column in columns.T:
            assert has_line(ax, index, column)
    for values in rho.values():
        assert has_line(d, np.arange(1, 6), values)
    for name, share in variances.items():
        assert has_line(e, np.arange(1, 4), share)
        assert has_line(e, [kept[name]], [share[kept[name] - 1]])
    labels = [text.get_text() for text in e.get_legend().get_texts()]
    assert labels == ["B: 2 kept", "C: 3 kept"]
    assert [title[:3] for title in titles(figure)] == ["(a)", "(b)", "(c)", "(d)", "(e)"]


def test_figure_1_overlays_each_pair_and_states_its_correlation():
    figure, views = fig_1()
    panels = [ax for ax in figure.axes if ax.axison]
    assert len(panels) == 9
    for i, ax in enumerate(panels):
        row, column = divmod(i, 3)
        pairs = list(views.values())[column]
        assert has_line(ax, INDEX, pairs.net_1[:, row])
        assert has_line(ax, INDEX, pairs.net_2[:, row])
        assert [text.get_text() for text in ax.texts] == [f"$r$ = {pairs.correlations[row]:.2f}"]
    assert sorted(titles(figure)) == ["(a) Network", "(b) neurons", "(c) SVD", "(d) SVCCA"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["network 1", "network 2"]


def test_figure_3_draws_every_output_on_top_of_the_original():
    figure, outputs = fig_3()
    original = outputs["all"]
    assert titles(figure) == list(outputs)
    for ax, values in zip(figure.axes, outputs.values(), strict=True):
        assert len(ax.lines) == (4 if values is original else 8)
        for column in values.T:
            assert has_line(ax, INDEX, column)
        for column in original.T:
            assert has_line(ax, INDEX, column)
    assert [text.get_text() for text in figure.axes[2].texts] == ["$R^2$ = 0.1235"]


def test_figure_2a_draws_means_with_their_range_and_names_chance():
    figure, layers = fig_2a()
    assert titles(figure) == ["(a) p2 (64 neurons)", "(b) fc1 (48 neurons)"]
    for ax, curves in zip(figure.axes, layers.values(), strict=True):
        assert ax.get_xscale() == "log"
        bands = [path.get_paths()[0].vertices[:, 1] for path in ax.collections]
        for curve, band in zip(curves.values(), bands, strict=True):
            rows = curve.accuracy.reshape(10, 3)
            assert has_line(ax, curve.counts, rows.mean(axis=0))
            assert np.isclose(band.min(), rows.min())
            assert np.isclose(band.max(), rows.max())
        named = {text.get_text(): text.get_position()[1] for text in ax.texts}
        assert named == {"whole layer": pytest.approx(0.9), "chance": pytest.approx(0.1)}
    assert [t.get_text() for t in figure.legends[0].get_texts()] == list(figures.LINES_2A)


def test_figure_2b_draws_the_directions_and_both_restrictions_of_each_subset():
    figure, (layers, directions) = fig_2b()
    assert titles(figure) == ["(a) fc1", "(b) p2"]
    for ax, (layer, subsets) in zip(figure.axes, layers.items(), strict=True):
        curves = [directions[layer], *(c for m in subsets.values() for c in m.values())]
        for curve in curves:
            assert has_line(ax, curve.counts, curve.accuracy.mean(axis=0))
        assert {"$m$ = 5", "$m$ = 9"} <= {text.get_text() for text in ax.texts}


@pytest.mark.parametrize(("entries", "across"), [(1, 1), (5, 5), (6, 3), (7, 4), (10, 5)])
def test_rows_of_a_key_are_about_as_long(entries, across):
    figure = Figure()
    figures.key(figure, {str(i): {} for i in range(entries)}, columns=5)
    assert figure.legends[0]._ncols == across


def test_lines_differ_by_more_than_their_colour():
    dashes = [str(style.get("linestyle", "-")) for style in figures.LINES_2A.values()]
    assert len(set(dashes)) == len(dashes)
    assert figures.NET_1.get("linestyle", "-") != figures.NET_2["linestyle"]
