"""The tables of the ledger's page."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from ledgers import chapter, over_images, two_chapters

from svcca_lib.paper.chapter import dashboard
from svcca_lib.paper.chapter.drift import ELSEWHERE
from svcca_lib.paper.chapter.gathered import Book, published
from svcca_lib.paper.chapter.provenance import PAPER_FIGURES, artefact
from svcca_lib.paper.chapter.register import registered
from svcca_lib.paper.chapter.tables import as_text
from svcca_lib.paper.store.files import write_json


@pytest.fixture
def book():
    return two_chapters()


def rows(table):
    """Return the cells of a table's HTML, without their markup; it has to be well formed."""
    root = ET.fromstring(table._repr_html_().replace("<br>", "<br/>"))
    return [["".join(cell.itertext()) for cell in row] for row in root.find("tbody")]


def test_a_row_says_how_a_figure_fared_and_how_it_was_made(book):
    table = dashboard.figures(book)
    by_figure = {row[0]: row[1:] for row in rows(table)}
    both = artefact(["1" * 64, "2" * 64])
    assert by_figure["Figure 2a"] == [
        "✓ 02 a: 0.9✗ 02 b: 0.2, the paper 0.7",
        "data: digits for CIFAR-10; network: narrower; length: 900 of 160,000 steps; seeds: 2",
        f"{both}convnet 1, 2",
        "1 min 00 s",
        "1 min 15 s",
        "0123456",
    ]
    assert by_figure["Figure 1"] == ["not run", *5 * [""]]
    assert by_figure["figure-of-ours"] == ["", "", "none", "", "1 min 15 s", "0123456"]
    assert 'id="made-figure-4-convnet"' in table._repr_html_()
    assert '<a href="02-first.html#figure-2a">Figure 2a</a>' in table._repr_html_()


def test_claims_lead_to_their_figures_or_to_themselves(book):
    text = dashboard.Claims(book)._repr_html_()
    ET.fromstring(text)
    assert '<a href="02-first.html#figure-2a">Figure 2a</a>' in text
    assert '<a href="02-first.html#claim-c">Theorem 1</a>' in text
    assert '<a href="04-second.html#figure-4-convnet">Figure 4</a>, <a' in text
    assert text.count('<tr id="claim-') == len(book.claims) == 4
    assert '<a class="slug" href="#claim-02-first-a">02 a</a>' in text
    assert text.index('id="claim-02-first-b"') < text.index('id="claim-02-first-a"'), "b fails"
    assert text.index('id="claim-04-second-d"') < text.index('id="claim-02-first-c"'), "a check"


def test_what_was_looked_into_stands_below_the_claim_it_is_about():
    text = dashboard.Claims(Book.gather("quick"))._repr_html_()
    body = ET.fromstring(text.replace("<br>", "<br/>")).find("table/tbody")
    above = None
    explained = []
    for row in body:
        if "explained" in row.get("class", ""):
            explained.append(above)
        above = row.get("id")
    assert "claim-05-freeze-training-freeze-at-or-above-base-convnet" in explained
    assert len(explained) == len(dashboard.explanations(Book.gather("quick")))


def test_text_form_of_the_claims_changes_with_a_number(book):
    first, second = book.chapters.values()
    other = replace(first, claims=(over_images(value=0.91), *first.claims[1:]))
    changed = Book({"02-first": other, "04-second": second})
    assert repr(dashboard.Claims(book)) != repr(dashboard.Claims(changed))
    assert as_text(first) in repr(dashboard.Claims(book))


def test_networks_data_and_environments_are_listed_once(book):
    assert [row[1:3] for row in rows(dashboard.networks(book))] == [
        [str(n), f"{n}" * 12] for n in (1, 2, 3)
    ]
    assert rows(dashboard.datasets(book)) == [["digits", "ab" * 6, "02, 04", "0"]]
    assert [row[0] for row in rows(dashboard.environments(book))] == ["02", "04"]
    assert rows(dashboard.environments(book))[0][2] == "an <old> system"


def test_scores_count_kinds_apart(book):
    assert rows(dashboard.scores(book)) == [
        ["of the paper", "2", "1", "0", "3"],
        ["checks", "1", "0", "0", ""],
    ]


@pytest.fixture
def elsewhere(tmp_path):
    """A repository that knows what two other machines measured."""
    write_json(tmp_path / ELSEWHERE, {"one": {"02-first/a": 0.7}, "two": {"02-first/a": 0.75}})
    return tmp_path


def test_movements_are_over_seeds_and_over_machines(elsewhere):
    two = over_images(values=(0.8, 0.9), over="seeds")
    book = Book({"02-first": chapter("02-first", [two, over_images("b")], ())})
    assert rows(dashboard.movements(book, elsewhere)) == [
        ["02 a", "0.85", "0.1 (2 seeds)", "0.05", "✓ holds"],
        ["02 b", "0.9", "", "", "✓ holds"],
    ]


def test_numbers_of_other_machines_are_those_of_the_quick_profile(elsewhere):
    other = chapter("02-first", [over_images()], (), profile="cifar10")
    book = Book({"02-first": other})
    assert rows(dashboard.movements(book, elsewhere)) == [["02 a", "0.9", "", "", "✓ holds"]]


def test_changes_are_those_of_the_claims_of_the_book_and_of_withdrawn_ones(book):
    whole = Book.gather("quick")
    made = whole.by_key()
    concerned = [
        claim
        for (chapter, id), claim in registered().claims.items()
        if f"{chapter}/{id}" in made or claim.withdrawn
    ]
    listed = rows(dashboard.changes(whole))
    assert len(listed) == sum(len(claim.changes) for claim in concerned)
    assert all(all(row) for row in listed)
    assert len(rows(dashboard.changes(book))) < len(listed)


@pytest.mark.parametrize("profile", published())
def test_published_chapters_have_a_row_for_every_figure(profile):
    assert len(dashboard.figures(Book.gather(profile)).rows) >= len(PAPER_FIGURES)
