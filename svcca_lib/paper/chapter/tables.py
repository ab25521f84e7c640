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
from svcca_lib.paper.chapter.claims import READING, ROUND_OFF, Claim, Verdict, number
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


def by_verdict(
    ledgers: Sequence[Ledger],
    targets: Mapping[str, tuple[str, str]],
    explained: Mapping[str, str],
) -> str:
    """Return one HTML table of the claims of several chapters, those that fail first.

    `targets` has for each figure of the paper the chapter and the name of what shows it first;
    `explained`, by ``CHAPTER/ID``, what stands below a claim (HTML). The rows can be filtered by
    verdict and by kind.
    """
    groups: dict[str, list[str]] = {verdict: [] for verdict in READING} | {"check": []}
    for ledger in ledgers:
        name = ledger.chapter
        for claim in ledger.claims:
            own = (name, f"claim-{claim.id}")  # what is no figure leads to the claim itself
            support = ", ".join(link(*targets.get(figure, own), figure) for figure in claim.figures)
            style = f"{claim.verdict.name.lower()} {claim.kind}"
            row = _claim(claim, f"{name}-", f"{support}<br/>{slug(name, claim.id)}", style=style)
            if said := explained.get(f"{name}/{claim.id}"):
                cell = f'<td colspan="{len(COLUMNS)}">{said}</td>'
                row += f'<tr class="explained {style}">{cell}</tr>'
            groups["check" if claim.kind == "check" else claim.verdict].append(row)
    titles = {verdict: str(verdict).capitalize() for verdict in READING} | {"check": "Checks"}
    rows = []
    for group, found in groups.items():
        style = group.name.lower() if isinstance(group, Verdict) else group
        if found:
            title = f'<th colspan="{len(COLUMNS)}" scope="colgroup">{titles[group]}</th>'
            rows += [f'<tr class="chapter {style}">{title}</tr>', *found]
    rows += [row for ledger in ledgers for row in _omitted(ledger)]
    return f'<div class="all-claims">{_filter()}{_table(COLUMNS, rows)}</div>'


def _filter() -> str:
    """Return buttons that hide rows, and the style by which they do it, without a script."""
    choices = {
        "verdict": {v.name.lower(): str(v) for v in READING},
        "kind": dict(_WHOSE) | {"check": "checks"},
    }
    rules, sets = [], []
    for what, of in choices.items():
        buttons = []
        for value, words in ({"all": "all"} | of).items():
            checked = ' checked="checked"' if value == "all" else ""
            buttons.append(
                f'<label><input type="radio" name="claims-{what}" value="{value}"{checked}/> '
                f"{words}</label>"
            )
            others = ", ".join(f".{other}" for other in of if other != value)
            if value != "all":
                chosen = f'.all-claims:has([name="claims-{what}"][value="{value}"]:checked)'
                rules.append(f"{chosen} tr:is({others}) {{ display: none }}")
        sets.append(f"<fieldset><legend>{what.capitalize()}</legend>{' '.join(buttons)}</fieldset>")
    return f"<style>{' '.join(rules)}</style>{''.join(sets)}"


def slug(chapter: str, id: str) -> str:
    """Return the short name of a claim, as a link to its row in the ledger."""
    target = html.escape(f"claim-{chapter}-{id}")
    return f'<a class="slug" href="#{target}">{html.escape(f"{chapter[:2]} {id}")}</a>'


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
    claim: Claim,
    prefix: str = "",
    support: str = "",
    more: Mapping[str, str] | None = None,
    style: str = "",
) -> str:
    """Return the row of a claim; the mark and the word carry the verdict without colour.

    HTML are `support`, in place of the name of the figure, and `more`, by the titles of columns;
    `style` are classes of the row.
    """
    numbers = _numbers(claim)
    changed = ' <span class="kind">changed since, see the ledger</span>' if claim.changed else ""
    cells = (
        f'<span class="verdict-{claim.verdict.name.lower()}">{claim.verdict.marked}</span>',
        f"{markup(claim.statement)} <em>{support or markup(claim.figure)}</em> "
        f'<span class="kind">{_WHOSE[claim.kind]}</span>{changed}',
        *(markup(numbers.get(key, "")) for key in ("measured", "needs", "null", "paper")),
    )
    further = more or {}
    every = (*cells, *further.values())
    return _row((*COLUMNS, *further), every, f"claim-{prefix}{claim.id}", style)


def _omitted(ledger: Ledger) -> list[str]:
    """Return a row for each registered claim that a run did not decide."""
    return [
        f'<tr><td data-title="{COLUMNS[0]}">not measured</td>'
        f'<td colspan="{len(COLUMNS) - 1}">{markup(id)}: {markup(why)}</td></tr>'
        for id, why in ledger.omitted
    ]


def _row(columns: Sequence[str], cells: Sequence[str], id: str = "", style: str = "") -> str:
    # A narrow page shows the columns below each other, each with its title before it.
    shown = "".join(
        f'<td data-title="{html.escape(title)}">{cell}</td>'
        for title, cell in zip(columns, cells, strict=True)
    )
    about = {"id": id, "class": style}
    given = "".join(f' {name}="{html.escape(value)}"' for name, value in about.items() if value)
    return f"<tr{given}>{shown}</tr>"


def _table(columns: Iterable[str], rows: Iterable[str], kind: str = "", caption: str = "") -> str:
    head = "".join(f'<th scope="col">{title}</th>' for title in columns)
    above = f"<caption>{markup(caption)}</caption>" if caption else ""
    return (
        f'<table class="{f"claims {kind}".strip()}">{above}'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
