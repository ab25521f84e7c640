import json
import math

import pytest

from svcca_lib.paper.claims import Claim, Ledger, Rule, at_least, at_most, number, within


def claim(**values):
    defaults = {
        "id": "25-directions-suffice",
        "figure": "Figure 2a",
        "statement": "25 directions give nearly the accuracy of all 512",
        "measured": 0.874,
        "rule": at_least(0.85),
        "band": 0.05,
        "paper": 0.9,
        "spread": (0.86, 0.89),
        "chance": 0.1,
    }
    return Claim(**defaults | values)


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
    assert all(rule.holds(value) for value in inside)
    assert not any(rule.holds(value) for value in (*outside, math.nan))


def test_rule_says_what_it_needs():
    rules = (at_least(0.5), at_most(1e-9), within(0.2, 0.3))
    assert [str(r) for r in rules] == ["at least 0.5", "at most 1e-9", "from 0.2 to 0.3"]


def test_rule_refuses_an_empty_interval():
    with pytest.raises(ValueError, match="low <= high"):
        Rule(0.3, 0.2)


@pytest.mark.parametrize("measured", [math.nan, math.inf])
def test_claim_refuses_what_is_not_a_number(measured):
    with pytest.raises(ValueError, match="finite number"):
        claim(measured=measured)


@pytest.mark.parametrize("band", [-0.1, math.nan, math.inf])
def test_claim_refuses_a_band_that_decides_nothing(band):
    with pytest.raises(ValueError, match="finite band"):
        claim(band=band)


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
    exact = repr(ledger(claim(measured=3e-25, rule=at_most(1e-20))))
    assert "measured <1e-20" in exact
    assert "needs at most 1e-20" in exact
    assert "measured <1e-6" in repr(ledger(claim(measured=3e-15, rule=at_most(1e-20))))


def test_number_shows_a_change_in_the_third_digit():
    assert number(0.876) != number(0.877)


def test_failing_claim_is_shown_as_failing_in_every_form():
    failing = ledger(claim(), claim(id="other", measured=0.2))
    assert failing.score == "1 of 2 claims hold"
    assert "[does not hold] other" in repr(failing)
    assert "✗ does not hold" in failing._repr_html_()
    assert [c["holds"] for c in failing.to_dict()["claims"]] == [True, False]


def test_text_form_is_one_and_the_same():
    assert repr(ledger(claim())) == (
        "1 of 1 claims hold (profile quick, seed 0, data digits)\n"
        "[holds] 25-directions-suffice (Figure 2a): "
        "25 directions give nearly the accuracy of all 512\n"
        "    measured 0.874 (0.86 to 0.89), paper 0.9, chance 0.1, needs at least 0.85"
    )


def test_html_form_has_a_titled_cell_for_every_column():
    text = ledger(claim(paper=None, chance=None))._repr_html_()
    assert text.count('<th scope="col">') == text.count("<td data-title=") == 6
    assert '<td data-title="Paper"></td>' in text


def test_html_form_escapes_what_the_statement_says():
    text = ledger(claim(statement="a < b & c"))._repr_html_()
    assert "a &lt; b &amp; c" in text
    assert "a < b" not in text


def test_ledger_survives_json_to_the_last_digit(tmp_path):
    ours = ledger(
        claim(measured=1 / 3),
        claim(id="b", rule=at_most(0.9), paper=None, spread=None, chance=None),
        claim(id="c", rule=within(0.1, 0.9)),
    )
    ours.write(tmp_path / "claims.json")
    assert Ledger.read(tmp_path / "claims.json") == ours
    json.loads((tmp_path / "claims.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("anew", "word"),
    [
        (claim(measured=0.90), None),
        (claim(measured=0.86), None),
        (claim(measured=0.84), "does not hold"),
        (claim(measured=0.95), "away"),
        (claim(rule=at_least(0.1)), "rule"),
    ],
)
def test_drift_names_verdict_rule_and_number(anew, word):
    drift = claim().drift(anew)
    assert drift is None if word is None else word in drift


def test_notebook_without_a_ledger_says_so(tmp_path):
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "outputs": []}]}))
    with pytest.raises(ValueError, match="run it to its last cell"):
        Ledger.read(path)
