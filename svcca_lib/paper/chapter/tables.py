"""Tables of claims: the one place where claims become text, HTML, or rows of a CSV file.

The text form is compared by the notebook tests, the HTML form is what the book shows. How a chapter
came about (times, versions, commit) differs between runs, and is in neither.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from svcca_lib.names import markup
from svcca_lib.paper.chapter.claims import ROUND_OFF, Claim, number
from svcca_lib.paper.chapter.ledger import Ledger

COLUMNS = ("Verdict", "Claim", "Measured", "Needed", "Null", "Paper")
_WHOSE = {"paper": "the paper's", "later": "a later paper's", "ours": "ours", "check": "check"}


@dataclass(frozen=True)
class Table:
    """A table that a notebook displays: as text for the tests, as HTML for readers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]  # HTML, a cell for each column
    kind: str = "ledger"  # the style of the table

    def __repr__(self) -> str:
        return f"table of {len(self.rows)} rows: {', '.join(self.columns)}"

    def _repr_html_(self) -> str:
        return _table(self.columns, (_row(self.columns, row) for row in self.rows), self.kind)


def as_text(ledger: Ledger) -> str:
    """Return the ledger of a chapter as text, its numbers to three digits."""
    lines = [ledger.title]
    for claim in ledger.claims:
        lines.append(f"[{claim.verdict}] {claim.id} ({claim.figure}): {claim.statement}")
        lines.append("    " + ", ".join(f"{key} {value}" for key, value in _numbers(claim).items()))
    lines += [f"[not measured] {id}: {why}" for id, why in ledger.omitted]
    return "\n".join(lines)


def as_html(ledger: Ledger) -> str:
    """Return the ledger of a chapter as an HTML table with its title as the caption."""
    rows = [*map(_claim, ledger.claims), *_omitted(ledger)]
    return _table(COLUMNS, rows, caption=ledger.title)


def with_column(claims: Sequence[Claim], title: str, cells: Sequence[str], prefix: str) -> str:
    """Return an HTML table of claims with one more column.

    The cells are HTML, one a claim; `prefix` stands before the ids of the rows, as the claims of
    several tables are on one page.
    """
    rows = (_claim(c, prefix, more={title: cell}) for c, cell in zip(claims, cells, strict=True))
    return _table((*COLUMNS, title), rows)


def of_chapters(ledgers: Iterable[Ledger], targets: Mapping[str, tuple[str, str]]) -> str:
    """Return one HTML table of the claims of several chapters, with links to what supports them.

    `targets` has for each figure of the paper the chapter and the name of what shows it first.
    """
    rows = []
    for ledger in ledgers:
        name = ledger.chapter
        heading = f'<a href="{html.escape(name)}.html">{markup(name)}</a>: {markup(ledger.title)}'
        rows.append(
            f'<tr class="chapter"><th colspan="{len(COLUMNS)}" scope="colgroup">{heading}</th></tr>'
        )
        for claim in ledger.claims:
            own = (name, f"claim-{claim.id}")  # what is no figure leads to the claim itself
            support = (link(*targets.get(figure, own), figure) for figure in claim.figures)
            rows.append(_claim(claim, f"{name}-", ", ".join(support)))
        rows += _omitted(ledger)
    return _table(COLUMNS, rows)


def link(chapter: str, target: str, text: str) -> str:
    """Return an HTML link from the ledger's page to a place in a chapter."""
    place = html.escape(f"{chapter}.html#{target}")
    return f'<a href="{place}">{markup(text)}</a>'


def flat(claim: Claim) -> dict[str, Any]:
    """Return a claim as a flat row, all digits included, for a data frame or a CSV file."""
    low, high = claim.interval or (None, None)
    return {
        "claim": claim.id,
        "figure": claim.figure,
        "statement": claim.statement,
        "kind": claim.kind,
        "mean": claim.measured,
        "low": low,
        "high": high,
        "smallest": min(claim.values),
        "largest": max(claim.values),
        "needs": str(claim.rule),
        "null": claim.null,
        "verdict": str(claim.verdict),
        "paper": claim.paper,
    }


def _numbers(claim: Claim) -> dict[str, str]:
    """Return the named numbers of a claim in the order of reading, absent ones left out."""
    # A number that has to be smaller than noise is said to be, where it is.
    exact = 0 < claim.rule.high < ROUND_OFF and claim.holds
    measured = number(claim.measured, claim.rule.high if exact else ROUND_OFF)
    if claim.interval is not None:
        low, high = map(number, claim.interval)
        count = f"{len(claim.values)} " if len(claim.values) > 1 else ""
        measured += f" ({low} to {high} over {count}{claim.over})"
    elif claim.kind != "check":
        measured += " (one value)"
    cells = {
        "measured": measured,
        "paper": number(claim.paper),
        "null": f"{number(claim.null)}, {claim.null_name}" if claim.null_name else "",
        "needs": str(claim.rule),
    }
    return {key: value for key, value in cells.items() if value}


def _claim(
    claim: Claim, prefix: str = "", support: str = "", more: Mapping[str, str] | None = None
) -> str:
    """Return the row of a claim; the mark and the word carry the verdict without colour.

    HTML are `support`, in place of the name of the figure, and `more`, by the titles of columns.
    """
    numbers = _numbers(claim)
    style = claim.verdict.name.lower()
    changed = ' <span class="kind">changed since, see the ledger</span>' if claim.changed else ""
    cells = (
        f'<span class="verdict-{style}">{claim.verdict.marked}</span>',
        f"{markup(claim.statement)} <em>{support or markup(claim.figure)}</em> "
        f'<span class="kind">{_WHOSE[claim.kind]}</span>{changed}',
        *(markup(numbers.get(key, "")) for key in ("measured", "needs", "null", "paper")),
    )
    further = more or {}
    return _row((*COLUMNS, *further), (*cells, *further.values()), f"claim-{prefix}{claim.id}")


def _omitted(ledger: Ledger) -> list[str]:
    """Return a row for each registered claim that a run did not decide."""
    return [
        f'<tr><td data-title="{COLUMNS[0]}">not measured</td>'
        f'<td colspan="{len(COLUMNS) - 1}">{markup(id)}: {markup(why)}</td></tr>'
        for id, why in ledger.omitted
    ]


def _row(columns: Sequence[str], cells: Sequence[str], id: str = "") -> str:
    # A narrow page shows the columns below each other, each with its title before it.
    shown = "".join(
        f'<td data-title="{html.escape(title)}">{cell}</td>'
        for title, cell in zip(columns, cells, strict=True)
    )
    return f'<tr id="{html.escape(id)}">{shown}</tr>' if id else f"<tr>{shown}</tr>"


def _table(columns: Iterable[str], rows: Iterable[str], kind: str = "", caption: str = "") -> str:
    head = "".join(f'<th scope="col">{title}</th>' for title in columns)
    above = f"<caption>{markup(caption)}</caption>" if caption else ""
    return (
        f'<table class="{f"claims {kind}".strip()}">{above}'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
