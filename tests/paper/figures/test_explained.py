"""Pictures of what a measure does: that what they show is so."""

import numpy as np
import pytest
from figure_examples import EXAMPLES

from svcca_lib.paper.figures import explained


def test_turning_a_direction_reaches_the_singular_values_and_no_more():
    product = np.array([[0.7, 0.4], [0.6, -0.5]])
    values = np.linalg.svd(product, compute_uv=False)
    best = explained.reached(product, np.linspace(0, np.pi, 20_001))
    assert best.max() == pytest.approx(values[0], abs=1e-6)
    assert best.min() == pytest.approx(values[1], abs=1e-6)


def test_layers_of_one_size_meet_everywhere_and_a_vector_meets_at_zero():
    assert len(explained.met((8, 8), (8, 8))) == 64
    assert len(explained.met((7, 6), (7, 6))) == 42
    assert explained.met((8, 8), (1, 1)) == {(0, 0)}


def test_layers_of_two_sizes_meet_below_the_smaller_ones_nyquist_frequency():
    inner = {(v, h) for v in (-1, 0, 1) for h in (-1, 0, 1)}
    assert explained.met((8, 8), (4, 4)) == inner


def test_each_frequency_is_drawn_once():
    figure, pairs = EXAMPLES["common_frequencies"]()
    for ax, (large, small) in zip(figure.page.axes, pairs.values(), strict=True):
        drawn = {line.get_label(): set(map(tuple, line.get_xydata())) for line in ax.lines}
        assert len(drawn["in common"]) == len(explained.met(large, small))
        assert not drawn["in common"] & drawn.get("in one only", set())
        assert sum(map(len, drawn.values())) == large[0] * large[1]


def test_what_is_left_of_a_neuron_is_its_nearest_point():
    figure, (neuron, kept, direction) = EXAMPLES["two_readings"]()
    shadows = [
        next(line for line in ax.lines if line.get_marker() == "o").get_xydata()[0]
        for ax in figure.page.axes
    ]
    for shadow, along in zip(shadows, (direction, kept), strict=False):
        assert (neuron - shadow) @ along == pytest.approx(0, abs=1e-12)
    assert not shadows[2].any()
