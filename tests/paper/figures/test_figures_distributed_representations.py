import numpy as np
import pytest
from figure_examples import EXAMPLES, has_line, titles

from svcca_lib.paper.figures.distributed_representations import LEVELS, LINES_2A, apart


def test_figure_2a_draws_means_with_their_range_and_names_chance():
    figure, layers = EXAMPLES["figure_2a"]()
    figure = figure.page
    assert titles(figure) == ["(a) p2 (64 neurons)", "(b) fc1 (48 neurons)"]
    for ax, curves in zip(figure.axes, layers.values(), strict=True):
        assert ax.get_xscale() == "log"
        bands = [path.get_paths()[0].vertices[:, 1] for path in ax.collections]
        for curve, band in zip(curves.values(), bands, strict=True):
            rows = curve.accuracy.reshape(10, 3)
            assert has_line(ax, curve.counts, rows.mean(axis=0))
            assert np.isclose(band.min(), rows.min())
            assert np.isclose(band.max(), rows.max())
        named = {line.get_label(): line.get_ydata()[0] for line in ax.lines}
        assert (named["network as it is"], named["chance"]) == (0.9, 0.1)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [*LINES_2A, *LEVELS]


def test_figure_2b_draws_the_directions_and_both_restrictions_of_each_subset():
    figure, (layers, directions) = EXAMPLES["figure_2b"]()
    figure = figure.page
    assert titles(figure) == ["(a) fc1", "(b) p2"]
    for ax, (layer, subsets) in zip(figure.axes, layers.items(), strict=True):
        curves = [directions[layer], *(c for m in subsets.values() for c in m.values())]
        for curve in curves:
            assert has_line(ax, curve.counts, curve.accuracy.mean(axis=0))
        assert {"m = 5", "m = 9"} <= {text.get_text() for text in ax.texts}


def test_labels_at_close_ends_of_curves_are_moved_apart():
    assert apart(0.5, 0.5, gap=0.1) == pytest.approx((0.45, 0.55))
    assert apart(0.52, 0.5, gap=0.1) == pytest.approx((0.56, 0.46))
    assert apart(0.8, 0.2, gap=0.1) == pytest.approx((0.8, 0.2))
