"""Claims as text, as HTML and as flat rows."""

import xml.etree.ElementTree as ET

import pytest
from ledgers import claim, ledger, single

from svcca_lib.paper.chapter.claims import Rule
from svcca_lib.paper.chapter.tables import as_html, as_text, flat, with_column


def test_number_below_a_rule_finer_than_round_off_is_said_to_be_below_it():
    exact = as_text(ledger(single(3e-25, rule=Rule(high=1e-20), kind="check")))
    assert "measured <1e-20" in exact
    assert "needs at most 1e-20" in exact
    assert "measured <1e-6" in as_text(ledger(single(3e-15, rule=Rule(high=1e-20), kind="check")))


def test_every_verdict_is_shown_as_it_is_in_every_form():
    shown = ledger(claim(), claim(rule=Rule(low=0.95)), single(), single(0.9, kind="check"))
    words = ["holds", "fails", "not settled", "holds"]
    assert shown.score == (
        "3 statements of the paper: 1 holds, 1 fails, 1 not settled; 1 of 1 checks hold"
    )
    assert [line[1 : line.index("]")] for line in as_text(shown).splitlines()[1::2]] == words
    assert [c["verdict"] for c in shown.to_dict()["claims"]] == words
    html = as_html(shown)
    assert all(f"{mark} {word}" in html for mark, word in zip("✓✗○", words, strict=False))


def test_text_form_is_one_and_the_same():
    assert as_text(ledger(claim(), single(0.5))) == (
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
    shown = ledger(claim(), omitted=(("b", "not <trained>"),))
    assert as_text(shown).endswith("[not measured] b: not <trained>")
    assert "b: not &lt;trained&gt;" in as_html(shown)


def test_html_form_has_a_titled_cell_for_every_column():
    text = as_html(ledger(claim(null=None, paper=None)))
    assert text.count('<th scope="col">') == text.count("<td data-title=") == 6
    assert '<td data-title="Paper"></td>' in text


def test_html_form_escapes_what_the_statement_says():
    text = as_html(ledger(claim(statement="a < b & c")))
    assert "a &lt; b &amp; c" in text
    assert "a < b" not in text


def test_a_further_column_stands_at_the_end_of_each_row():
    claims = (claim(), single(id="b"))
    root = ET.fromstring(with_column(claims, "Seeds", ["3 of 3", "none"], "a-"))
    rows = list(root.find("tbody"))
    assert [row.get("id") for row in rows] == ["claim-a-25-directions-suffice", "claim-a-b"]
    last = [row[-1] for row in rows]
    assert [(cell.get("data-title"), cell.text) for cell in last] == [
        ("Seeds", "3 of 3"),
        ("Seeds", "none"),
    ]


def test_flat_row_has_all_digits_and_no_nested_value():
    row = flat(claim((1 / 3, 0.5)))
    assert (row["mean"], row["smallest"], row["largest"]) == (pytest.approx(5 / 12), 1 / 3, 0.5)
    assert all(isinstance(value, str | float | None) for value in row.values())
    assert flat(single())["low"] is None
