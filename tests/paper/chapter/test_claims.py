import math

import numpy as np
import pytest
from ledgers import claim, single
from scipy import stats

from svcca_lib.paper.chapter.claims import Claim, Rule, Verdict, intervals, number
from svcca_lib.paper.experiments.statistics import student


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        (Rule(low=0.5), (0.5, 0.51, 7.0), (0.49, -math.inf)),
        (Rule(high=0.5), (0.5, 0.49, -7.0), (0.51, math.inf)),
        (Rule(0.2, 0.3), (0.2, 0.25, 0.3), (0.19, 0.31)),
        (Rule(0.2, 0.2), (0.2,), (0.2000001,)),
    ],
)
def test_rule_holds_exactly_on_its_closed_interval(rule, inside, outside):
    assert all(rule.contains(value, value) for value in inside)
    assert not any(rule.contains(value, value) for value in (*outside, math.nan))
    assert all(rule.excludes(value, value) for value in outside)
    assert not any(rule.excludes(value, value) for value in inside)
    assert Rule.parse(str(rule)) == rule or rule == Rule(0.2, 0.2)


def test_rule_says_what_it_needs():
    rules = (Rule(low=0.5), Rule(high=1e-9), Rule(0.2, 0.3))
    assert [str(r) for r in rules] == ["at least 0.5", "at most 1e-9", "from 0.2 to 0.3"]


def test_rule_refuses_an_empty_interval():
    with pytest.raises(ValueError, match="low <= high"):
        Rule(0.3, 0.2)


@pytest.mark.parametrize("text", ["0.5", "more than 1", "at least", "from 1", "from 2 to 1"])
def test_rule_in_other_words_is_refused(text):
    with pytest.raises(ValueError, match=r"a rule must read|could not convert|low <= high"):
        Rule.parse(text)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_claim_refuses_what_is_not_a_number(value):
    with pytest.raises(ValueError, match="finite numbers"):
        Claim("a", "paper", "Figure 1", "x", Rule(low=0), (0.5, value))


def test_claim_refuses_a_null_without_numbers_and_numbers_without_a_null():
    with pytest.raises(ValueError, match="registered with the null 'independent data'"):
        claim(null=None, null_name="independent data")
    with pytest.raises(ValueError, match="registered with the null 'none'"):
        claim(null_name="")


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.81, 0.95), Verdict.HOLDS),
        ((0.80, 0.95), Verdict.HOLDS),
        ((0.79, 0.95), Verdict.OPEN),
        ((0.70, 0.80), Verdict.OPEN),
        ((0.70, 0.79), Verdict.FAILS),
    ],
)
def test_interval_inside_outside_or_across_the_edge_decides(interval, verdict):
    assert single(interval=interval).verdict is verdict


@pytest.mark.parametrize(
    ("rule", "values", "null", "verdict"),
    [
        (Rule(low=0.5), (0.90, 0.91, 0.92), 0.6, Verdict.HOLDS),
        (Rule(low=0.5), (0.90, 0.91, 0.92), 0.91, Verdict.OPEN),
        (Rule(low=0.5), (0.90, 0.91, 0.92), 0.99, Verdict.FAILS),
        (Rule(high=0.5), (0.20, 0.21, 0.22), 0.4, Verdict.HOLDS),
        (Rule(high=0.5), (0.20, 0.21, 0.22), 0.1, Verdict.FAILS),
        # value by value: what seeds share is no doubt about the difference
        (Rule(low=0.0), (0.5, 0.7, 0.9), (0.4, 0.6, 0.8), Verdict.HOLDS),
        (Rule(low=0.0), (0.5, 0.7, 0.9), (0.6, 0.8, 1.0), Verdict.FAILS),
    ],
)
def test_claim_holds_only_where_it_beats_its_null(rule, values, null, verdict):
    assert claim(values, null, rule=rule).verdict is verdict


def test_one_value_settles_a_check_and_nothing_else():
    assert {single(kind=kind).verdict for kind in ("paper", "later", "ours")} == {Verdict.OPEN}
    assert single(0.9, kind="check").verdict is Verdict.HOLDS
    assert single(0.7, kind="check").verdict is Verdict.FAILS


def test_p_is_that_of_the_t_test_against_the_deciding_edge():
    values = (0.86, 0.87, 0.892)
    edge = stats.ttest_1samp(values, 0.8).pvalue
    null = stats.ttest_1samp(values, 0.82).pvalue
    assert claim(values, None).p == pytest.approx(edge, rel=1e-9)
    assert claim(values, 0.1).p == pytest.approx(edge, rel=1e-9)
    assert claim(values, 0.82).p == pytest.approx(max(edge, null), rel=1e-9)
    failing = claim(values, 0.1, rule=Rule(low=0.99))
    assert failing.p == pytest.approx(stats.ttest_1samp(values, 0.99).pvalue, rel=1e-9)
    assert claim(values, 0.1, rule=Rule(low=0.87)).p == 1  # not settled


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (0.87654, 0.876_540_9, "0.877"),
        (-0.0, 0.0, "0"),
        (1.3e-15, 4.4e-16, "<1e-6"),
        (-2e-9, 3e-12, "<1e-6"),
        (160_000, 160_049, "160,000"),
        (0.00123456, 0.00123411, "0.00123"),
    ],
)
def test_number_hides_what_differs_between_machines(a, b, text):
    assert number(a) == number(b) == text


def test_number_shows_a_change_in_the_third_digit():
    assert number(0.876) != number(0.877)


def test_a_level_reaches_the_interval_and_the_margin_over_the_null():
    values, null = [0.7, 0.8, 0.95], [0.1, 0.3, 0.2]
    ends, margin = intervals(values, null, level=0.8)
    less = student(np.subtract(values, null), 0.8)
    assert ends == pytest.approx((student(values, 0.8).low, student(values, 0.8).high))
    assert margin == pytest.approx((less.low, less.high))
