"""The results at a glance: the table of the first page, and a sentence, for the README too."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from svcca_lib.names import markdown
from svcca_lib.paper.chapter.claims import Verdict, number
from svcca_lib.paper.chapter.gathered import Book, Row
from svcca_lib.paper.chapter.provenance import PAPER_FIGURES
from svcca_lib.paper.chapter.scores import tally

RESULTS = "results.md"  # in the folder of the pages; the first of them includes it
FIRST, LAST = "<!-- results -->", "<!-- end of results -->"  # of the README


def write_results(book: Book, root: Path) -> None:
    """Write the results at a glance that the first page includes."""
    (root / "book" / RESULTS).write_text(glance(book), encoding="utf-8")


def write_readme(books: Iterable[Book], root: Path) -> None:
    """Write what the ledgers say, in a sentence each, into the README between its marks."""
    readme = root / "README.md"
    head, _, rest = readme.read_text(encoding="utf-8").partition(FIRST)
    _, _, tail = rest.partition(LAST)
    said = "".join(f"- {sentence(book)}\n" for book in books)
    readme.write_text(f"{head}{FIRST}\n{said}{LAST}{tail}", encoding="utf-8")


def glance(book: Book) -> str:
    """Return the table of results for the first page, as MyST Markdown: a row for each figure.

    It has the claim that stands for it, the paper's number and ours, its verdict, and the verdicts
    of all that the figure supports.
    """
    lines = [
        "| Figure | A claim it supports | Paper | Here | Verdict | All its claims |",
        "|:--|:--|--:|--:|:--|:--|",
    ]
    lines += [_row(row) for row in book.rows() if row.figure in PAPER_FIGURES]
    return "\n".join([sentence(book), "", *lines]) + "\n"


def sentence(book: Book) -> str:
    """Return what a reader takes away: how the paper's statements fared, then all kinds apart."""
    ledgers = book.chapters.values()
    labels = dict.fromkeys(label for ledger in ledgers for label in ledger.provenance.datasets)
    own = tally(claim for claim in book.claims if claim.kind == "paper").get("paper", {})
    return (
        f"Of the paper's {sum(own.values())} statements, {own.get(Verdict.HOLDS, 0)} hold, "
        f"{own.get(Verdict.FAILS, 0)} fail and {own.get(Verdict.OPEN, 0)} are not settled at this "
        f"scale. All kinds: {book.score}. "
        f"Run at profile {' and '.join(book.profiles)}, on {'; '.join(map(markdown, labels))}."
    )


def _row(row: Row) -> str:
    claim = row.headline
    if not row.shown or claim is None:
        return f"| {row.figure} | not run | | | | |"
    counts = {v: sum(c.verdict is v for c in row.claims) for v in Verdict}
    cells = (
        f"{{ref}}`{row.figure} <{row.shown[0].name}>`",
        markdown(claim.statement),
        number(claim.paper),
        number(claim.measured),
        claim.verdict.marked,
        " ".join(f"{verdict.mark} {count}" for verdict, count in counts.items() if count),
    )
    return f"| {' | '.join(cells)} |"
