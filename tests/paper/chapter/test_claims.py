import json
import math

import pytest
from scipy import stats

from svcca_lib.paper.chapter.claims import (
    Claim,
    Ledger,
    Rule,
    Verdict,
    at_least,
    at_most,
    band,
    drift,
    intervals,
    number,
    score,
    stand_together,
    within,
)


def claim(values=(0.86, 0.87, 0.892), null=0.1, **rest):
    """A claim as a chapter makes it; its null is one number, or one a value."""
    interval = rest.pop("interval", None)
    nulls = null if null is None or isinstance(null, tuple) else (null,)
    ends, margin = intervals(values, nulls, interval=interval)
    defaults = {
        "id": "25-directions-suffice",
        "kind": "paper",
        "figure": "Figure 2a",
        "statement": "25 directions give nearly the accuracy of all 512",
        "rule": at_least(0.8),
        "values": values,
        "over": "seeds",
        "interval": ends,
        "null_name": "" if null is None else "independent data",
        "null": None if null is None else sum(nulls) / len(nulls),
        "margin": margin,
        "paper": 0.9,
    }
    return Claim(**defaults | rest)


def single(value=0.5, **rest):
    return claim((value,), None, **rest)


def ledger(*claims):
    return Ledger("02-distributed", "quick", 0, "digits", claims)


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        (at_least(0.5), (0.5, 0.51, 7.0), (0.49, -math.inf)),
        (at_most(0.5), (0.5, 0.49, -7.0), (0.51, math.inf)),
        (within(0.2, 0.3), (0.2, 0.25, 0.3), (0.19, 0.31)),
        (within(0.2, 0.2), (0.2,), (0.2000001,)),
    ],
)
def test_rule_holds_exactly_on_its_closed_interval(rule, inside, outside):
    assert all(rule.contains(value, value) for value in inside)
    assert not any(rule.contains(value, value) for value in (*outside, math.nan))
    assert all(rule.excludes(value, value) for value in outside)
    assert not any(rule.excludes(value, value) for value in inside)
    assert Rule.parse(str(rule)) == rule or rule == within(0.2, 0.2)


def test_rule_says_what_it_needs():
    rules = (at_least(0.5), at_most(1e-9), within(0.2, 0.3))
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
        Claim("a", "paper", "Figure 1", "x", at_least(0), (0.5, value))


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
        (at_least(0.5), (0.90, 0.91, 0.92), 0.6, Verdict.HOLDS),
        (at_least(0.5), (0.90, 0.91, 0.92), 0.91, Verdict.OPEN),
        (at_least(0.5), (0.90, 0.91, 0.92), 0.99, Verdict.FAILS),
        (at_most(0.5), (0.20, 0.21, 0.22), 0.4, Verdict.HOLDS),
        (at_most(0.5), (0.20, 0.21, 0.22), 0.1, Verdict.FAILS),
        # value by value: what seeds share is no doubt about the difference
        (at_least(0.0), (0.5, 0.7, 0.9), (0.4, 0.6, 0.8), Verdict.HOLDS),
        (at_least(0.0), (0.5, 0.7, 0.9), (0.6, 0.8, 1.0), Verdict.FAILS),
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
    failing = claim(values, 0.1, rule=at_least(0.99))
    assert failing.p == pytest.approx(stats.ttest_1samp(values, 0.99).pvalue, rel=1e-9)
    assert claim(values, 0.1, rule=at_least(0.87)).p == 1  # not settled


def test_many_claims_at_once_stand_by_their_false_discovery_rate():
    clear = [claim((0.9, 0.901, 0.902), None) for _ in range(3)]
    barely = [claim((0.86, 0.87, 0.90), None) for _ in range(3)]
    checks = [single(0.9, kind="check") for _ in range(5)]
    assert {c.verdict for c in (*clear, *barely)} == {Verdict.HOLDS}
    openly = [single() for _ in range(4)]
    standing = stand_together([*clear, *barely, *checks, *openly])
    expected = stats.false_discovery_control([c.p for c in (*clear, *barely)]) <= 0.05
    assert len(standing) == expected.sum()
    assert not any(c.kind == "check" for c in standing)


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


def test_number_below_a_rule_finer_than_round_off_is_said_to_be_below_it():
    exact = repr(ledger(single(3e-25, rule=at_most(1e-20), kind="check")))
    assert "measured <1e-20" in exact
    assert "needs at most 1e-20" in exact
    assert "measured <1e-6" in repr(ledger(single(3e-15, rule=at_most(1e-20), kind="check")))


def test_number_shows_a_change_in_the_third_digit():
    assert number(0.876) != number(0.877)


def test_every_verdict_is_shown_as_it_is_in_every_form():
    shown = ledger(claim(), claim(rule=at_least(0.95)), single(), single(0.9, kind="check"))
    words = ["holds", "fails", "not settled", "holds"]
    assert shown.score == (
        "3 statements of the paper: 1 holds, 1 fails, 1 not settled; 1 of 1 checks hold"
    )
    assert [line[1 : line.index("]")] for line in repr(shown).splitlines()[1::2]] == words
    assert [c["verdict"] for c in shown.to_dict()["claims"]] == words
    html = shown._repr_html_()
    assert all(f"{mark} {word}" in html for mark, word in zip("✓✗○", words, strict=False))


def test_kinds_are_scored_apart():
    claims = [claim(kind=kind) for kind in ("ours", "later", "paper")]
    assert score(claims) == (
        "1 statement of the paper: 1 holds; 1 statement of later papers: 1 holds; "
        "1 statement of our own: 1 holds"
    )


def test_text_form_is_one_and_the_same():
    assert repr(ledger(claim(), single(0.5))) == (
        "2 statements of the paper: 1 holds, 1 not settled "
        "(profile quick, seed 0, data digits)\n"
        "[holds] 25-directions-suffice (Figure 2a): "
        "25 directions give nearly the accuracy of all 512\n"
        "    measured 0.874 (0.833 to 0.915 over 3 seeds), paper 0.9, "
        "null 0.1, independent data, needs at least 0.8\n"
        "[not settled] 25-directions-suffice (Figure 2a): "
        "25 directions give nearly the accuracy of all 512\n"
        "    measured 0.5 (one value), paper 0.9, needs at least 0.8"
    )


def test_what_was_not_measured_is_said_to_be():
    shown = Ledger("02", "quick", 0, "digits", (claim(),), None, (("b", "not <trained>"),))
    assert repr(shown).endswith("[not measured] b: not <trained>")
    assert "b: not &lt;trained&gt;" in shown._repr_html_()
    assert Ledger.from_dict(json.loads(json.dumps(shown.to_dict()))) == shown


def test_html_form_has_a_titled_cell_for_every_column():
    text = ledger(claim(null=None, paper=None))._repr_html_()
    assert text.count('<th scope="col">') == text.count("<td data-title=") == 6
    assert '<td data-title="Paper"></td>' in text


def test_html_form_escapes_what_the_statement_says():
    text = ledger(claim(statement="a < b & c"))._repr_html_()
    assert "a &lt; b &amp; c" in text
    assert "a < b" not in text


def test_ledger_survives_json_to_the_last_digit(tmp_path):
    ours = ledger(
        claim((1 / 3, 2 / 3, 0.7)),
        single(1 / 3, id="b", rule=at_most(0.9), paper=None),
        claim(id="c", rule=within(0.1, 0.9), changed=True),
    )
    ours.write(tmp_path / "claims.json")
    assert Ledger.read(tmp_path / "claims.json") == ours
    json.loads((tmp_path / "claims.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("stored", "anew", "word"),
    [
        (claim(), claim((0.85, 0.88, 0.9)), None),
        (claim(), claim((0.4, 0.41, 0.42)), "holds at 0.874 and fails"),
        # settled before, not settled now, or the other way round: no contradiction
        (claim(rule=at_least(0.87)), claim((0.88, 0.9, 0.9), rule=at_least(0.87)), None),
        (claim(), claim((0.5, 0.87, 0.95)), None),
        # both hold, but the number is not the same within what seeds explain
        (claim((0.9, 0.901, 0.902)), claim((0.95, 0.951, 0.952)), "seeds and machines explain"),
        (claim(), claim(rule=at_least(0.1)), "rule"),
        (claim(), claim(null=None), "null_name"),
        (single(0.9, kind="check"), single(0.9 + 1e-8, kind="check"), None),
        (single(0.9, kind="check"), single(0.91, kind="check"), None),
        (single(0.9, kind="check"), single(0.7, kind="check"), "holds at 0.9 and fails"),
        (single(0.9), single(0.91), "seeds and machines explain"),
    ],
)
def test_drift_names_what_disagrees(stored, anew, word):
    found = drift(stored, anew)
    assert found is None if word is None else word in found


def test_band_comes_from_seeds_and_machines():
    one, other = claim((0.86, 0.87, 0.892)), claim((0.85, 0.88, 0.9))
    pooled = (stats.tvar(one.values) + stats.tvar(other.values)) / 2
    factor = stats.t.ppf(0.9995, 4)
    assert band(one, other) == pytest.approx(factor * (2 * pooled / 3) ** 0.5, rel=1e-9)
    machines = (one.measured - 0.3, one.measured + 0.5)
    assert band(one, other, machines) == pytest.approx(1.5 * 0.8, rel=1e-9)


def test_notebook_without_a_ledger_says_so(tmp_path):
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "outputs": []}]}))
    with pytest.raises(ValueError, match="run it to its last cell"):
        Ledger.read(path)
