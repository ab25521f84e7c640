"""The results at a glance, of the first page and of the README."""

from ledgers import two_chapters

from svcca_lib.paper.chapter.gathered import Book, published
from svcca_lib.paper.chapter.provenance import PAPER_FIGURES
from svcca_lib.paper.publishing import results
from svcca_lib.paper.store.paths import REPOSITORY as ROOT


def test_glance_has_a_row_for_each_figure_of_the_paper():
    lines = results.glance(two_chapters()).splitlines()
    assert lines[0] == (
        "Of the paper's 3 statements, 2 hold, 1 fail and 0 are not settled at this scale. All "
        "kinds: 3 statements of the paper: 2 hold, 1 fails; 1 of 1 checks hold; in 2 chapters. "
        "Run at profile quick, on digits."
    )
    table = {line.split(" | ")[0]: line for line in lines[4:]}
    assert len(table) == len(PAPER_FIGURES)
    assert table["| {ref}`Figure 2a <figure-2a>`"] == (
        "| {ref}`Figure 2a <figure-2a>` | few \\| suffice | 0.7 | 0.2 | ✗ fails | ✓ 1 ✗ 1 |"
    )
    assert table["| Figure 1"] == "| Figure 1 | not run | | | | |"


def test_results_at_a_glance_are_current():
    current = (ROOT / "book" / "results.md").read_text(encoding="utf-8")
    assert current == results.glance(Book.gather("quick")), "run `python -m svcca_lib ledger`"


def test_readme_says_what_the_ledgers_say(tmp_path):
    written = (ROOT / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(written)
    books = map(Book.gather, ("quick", *published()))
    results.write_readme(books, tmp_path)
    again = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert again == written, "run `python -m svcca_lib ledger`"
