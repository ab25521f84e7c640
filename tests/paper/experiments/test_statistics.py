"""Intervals against Student's table and simulated data; many decisions against SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from svcca_lib.paper.experiments.statistics import benjamini_hochberg, paired_interval, student


def test_paired_interval_is_that_of_student():
    # Student's factor for 4 degrees of freedom at 95 % is 2.776 (any table).
    found = paired_interval(np.zeros(5), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    half = 2.776 * np.sqrt(2.5 / 5)
    assert (found.mean, found.n) == (3.0, 5)
    assert found.low == pytest.approx(3 - half, abs=1e-3)
    assert found.high == pytest.approx(3 + half, abs=1e-3)


def test_paired_interval_ignores_what_the_pair_shares():
    rng = np.random.default_rng(0)
    shared, effect = rng.normal(size=6) * 100, rng.normal(size=6)
    found = paired_interval(shared, shared + effect)
    alone = paired_interval(np.zeros(6), effect)
    assert found.low == pytest.approx(alone.low)
    assert found.high == pytest.approx(alone.high)


@pytest.mark.parametrize("values", [np.zeros(1), np.zeros((2, 2))])
def test_one_pair_has_no_interval(values):
    with pytest.raises(ValueError, match="at least 2"):
        paired_interval(values, values)


class TestResolution:
    def test_equal_values_are_known_to_their_rounding(self):
        # three values within half a step of 1: their spread is that of a uniform distribution
        found = student([1.0, 1.0, 1.0], resolution=0.5)
        half = 4.303 * math.sqrt(0.25 / 12 / 3)  # Student's factor for 2 degrees of freedom
        assert found.low == pytest.approx(1 - half, abs=1e-3)
        assert found.high == pytest.approx(1 + half, abs=1e-3)

    def test_without_a_step_equal_values_are_a_point(self):
        found = student([1.0, 1.0, 1.0])
        assert (found.low, found.high) == (1.0, 1.0)

    def test_its_variance_is_added_to_that_of_the_values(self):
        values, step = np.array([0.2, 0.5, 0.1, 0.4]), 0.3
        found = student(values, resolution=step)
        alone = student(values)
        widths = [((i.high - i.low) / 2) ** 2 for i in (found, alone)]
        factor = stats.t.ppf(0.975, 3) ** 2 / 4
        assert widths[0] - widths[1] == pytest.approx(factor * step**2 / 12)

    def test_a_step_far_below_the_spread_changes_nothing(self):
        coarse, fine = (student([0.1, 0.5, 0.9], resolution=step) for step in (1e-6, 0.0))
        assert coarse.high == pytest.approx(fine.high, abs=1e-9)

    def test_rounded_values_are_covered_at_least_as_often_as_stated(self):
        """True values spread by less than the step: rounding hides what varies."""
        rng = np.random.default_rng(0)
        found, trials = 0, 2000
        for mean in rng.uniform(0, 1, trials):
            rounded = np.round(mean + rng.normal(0, 0.2, size=5))
            interval = student(rounded, resolution=1.0)
            found += interval.low <= mean <= interval.high
        assert found / trials > 0.95

    def test_pairs_take_it_too(self):
        found = paired_interval(np.zeros(3), np.ones(3), resolution=1.0)
        assert found == student([1.0, 1.0, 1.0], resolution=1.0)


class TestBenjaminiHochberg:
    @pytest.mark.parametrize("seed", range(20))
    @pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
    def test_decisions_are_those_of_scipy(self, seed, rate):
        rng = np.random.default_rng(seed)
        p = np.concatenate([rng.uniform(size=20), rng.uniform(size=10) ** 8, [0.0, 1.0, 0.05]])
        rng.shuffle(p)
        adjusted = stats.false_discovery_control(p)
        assert benjamini_hochberg(p, rate) == (adjusted <= rate).tolist()

    def test_equal_levels_stand_or_fall_together(self):
        assert benjamini_hochberg([0.02, 0.02, 0.9], 0.05) == [True, True, False]

    def test_one_that_passes_carries_those_below_it(self):
        # alone 0.04 and 0.03 would not pass 0.05 / 3 and 0.05 * 2 / 3; as the 3 of 3 they do
        assert benjamini_hochberg([0.04, 0.03, 0.045], 0.05) == [True, True, True]

    def test_no_decisions_are_none(self):
        assert benjamini_hochberg([]) == []
