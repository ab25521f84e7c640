"""The results at a glance, of the first page and of the README."""

import pytest
from ledgers import two_chapters

from svcca_lib.paper.chapter.differences import differences
from svcca_lib.paper.chapter.gathered import Book, published
from svcca_lib.paper.chapter.provenance import PAPER_FIGURES
from svcca_lib.paper.publishing import results
from svcca_lib.paper.store.paths import REPOSITORY as ROOT


def test_glance_has_a_row_for_each_figure_of_the_paper_what_fails_first():
    lines = results.glance(two_chapters()).splitlines()
    assert lines[0] == (
        "Of the paper's 3 statements, 2 hold, 1 fail and 0 are not settled at this scale "
        "(profile quick: digits)."
    )
    assert len(lines[4:]) == len(PAPER_FIGURES)
    assert lines[4] == (
        "| ✗ fails (all: ✗ 1 ✓ 1) | {ref}`Figure 2a <figure-2a>` | few \\| suffice "
        "| 0.2, the paper 0.7 | at least 0.5 "
        "| data: digits for CIFAR-10; network: narrower; length: 900 of 160,000 steps |"
    )
    assert [line[2] for line in lines[5:7]] == ["✓", "✓"]
    assert all(line.startswith("| not run |") for line in lines[7:])
    assert "{ref}" not in results.glance(two_chapters(), roles=False)


FINDING = """
[[finding]]
title = "A"
text = "It is {-02-first/a:.1f}, and {02-first/b:.2f}."
page = "02-first#figure-2a"
needs = { "02-first/a" = ["holds"], "02-first/b" = ["fails"] }
"""


def test_a_finding_is_said_only_where_its_verdicts_are_found(tmp_path):
    path = tmp_path / "findings.toml"
    other = FINDING.replace('"holds"', '"fails"')
    missing = FINDING.replace("02-first/a", "02-first/no-such-claim")
    better = FINDING + 'unless = ["02-first/b"]\n'  # another one says more
    path.write_text(other + missing + better + 2 * FINDING, encoding="utf-8")
    assert len(results.findings(two_chapters(), "{0}", path).splitlines()) == 2
    wanting = FINDING + 'unless = ["02-first/no-such-claim"]\n'
    path.write_text(other + missing + wanting + 6 * FINDING, encoding="utf-8")
    said = results.findings(two_chapters(), "[Look]({0}#{1})", path).splitlines()
    assert said == [
        f"{i}. **A.** It is \N{MINUS SIGN}0.9, and 0.20. [Look](02-first#figure-2a)"
        for i in range(1, 6)
    ]
    path.write_text(FINDING.replace("/b:", "/b|null:"), encoding="utf-8")
    with pytest.raises(ValueError, match="does not have"):
        results.findings(two_chapters(), "{0}{1}", path)


@pytest.mark.parametrize("profile", ["quick", *published()])
def test_every_book_has_five_findings(profile):
    book = Book.gather(profile)
    assert len(results.findings(book, "{0}").splitlines()) == results.MOST


@pytest.mark.parametrize("profile", ["quick", *published()])
def test_every_finding_leads_to_a_figure_of_its_page(profile):
    book = Book.gather(profile)
    for line in results.findings(book, "|{0}|{1}").splitlines():
        *_, chapter, target = line.split("|")
        assert target in {figure.name for figure in book.chapters[chapter].provenance.figures}


def test_differences_are_those_of_the_profile():
    rows = {row.figure: row for row in Book.gather("cifar10").rows()}
    assert differences(rows["Figure 5"]) == {"length": "3,500 of 160,000 steps"}
    assert set(differences(rows["Figure 6"])) == {"data", "network", "length"}
    assert differences(rows["Figure 1"]) == {}


def test_results_on_the_first_page_are_current(tmp_path):
    (tmp_path / "book").mkdir()
    results.write_results(Book.gather("quick"), tmp_path)
    current = (ROOT / "book" / "results.md").read_text(encoding="utf-8")
    written = (tmp_path / "book" / "results.md").read_text(encoding="utf-8")
    assert current == written, "run `python -m svcca_lib ledger`"


def test_readme_says_what_the_ledgers_say(tmp_path):
    written = (ROOT / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(written)
    books = map(Book.gather, ("quick", *published()))
    results.write_readme(books, tmp_path)
    again = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert again == written, "run `python -m svcca_lib ledger`"


def test_differences_in_data_are_those_of_the_chapter_that_the_claim_is_from():
    """Appendix Figure 6 is shown by two chapters: characters, and words of the paper's own text."""
    [row] = [row for row in Book.gather("cifar10").rows() if row.figure == "Appendix Figure 6"]
    assert row.headline in row.origin.claims
    assert differences(row)["data"].startswith(row.origin.data)
