"""What was found, for the first page and for the README: findings, and a table of all figures."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from svcca_lib.names import markdown
from svcca_lib.paper.chapter.claims import READING, Claim, Verdict, number
from svcca_lib.paper.chapter.differences import worded
from svcca_lib.paper.chapter.gathered import Book, Row
from svcca_lib.paper.chapter.provenance import PAPER_FIGURES
from svcca_lib.paper.chapter.scores import tally
from svcca_lib.paper.store.paths import REPOSITORY

RESULTS = "results.md"  # in the folder of the pages; the first of them includes it
FIRST, LAST = "<!-- results -->", "<!-- end of results -->"  # of the README
FINDINGS = REPOSITORY / "book" / "findings.toml"
MOST = 5  # findings on the first page
_NUMBER = re.compile(r"\{(-?)([\w/-]+)(\|null)?:([^}]+)\}")


def write_results(book: Book, root: Path, above: str = "") -> None:
    """Write what the first page includes: `above` (Markdown), the findings, the table."""
    parts = [
        above,
        "## What was found",
        findings(book, "{{ref}}`Look <{1}>`"),
        "## Results at a glance",
        glance(book),
    ]
    text = "\n\n".join(part.strip() for part in parts if part)
    (root / "book" / RESULTS).write_text(f"{text}\n", encoding="utf-8")


def write_readme(books: Iterable[Book], root: Path) -> None:
    """Write what the ledgers say into the README between its marks.

    The published books have their findings and their table; all have a sentence.
    """
    readme = root / "README.md"
    head, _, rest = readme.read_text(encoding="utf-8").partition(FIRST)
    _, _, tail = rest.partition(LAST)
    published, others = [], []
    for book in books:
        [profile] = book.profiles
        if profile == "quick":
            others.append(sentence(book))
        else:
            published.append(findings(book, f"[Look](published/{profile}/{{0}}.ipynb)"))
            published.append(glance(book, roles=False))
    said = "\n\n".join(part.strip() for part in (*published, *others))
    readme.write_text(f"{head}{FIRST}\n{said}\n{LAST}{tail}", encoding="utf-8")


def findings(book: Book, link: str, path: Path = FINDINGS) -> str:
    """Return the first findings of `path` that this book bears out, as a Markdown list.

    `link` is Markdown with two places, for the chapter and the target in it. A finding that names
    a claim that the book does not make is left out, as is one for want of a claim that it makes.
    """
    claims = book.by_key()
    lines: list[str] = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["finding"]:
        needs = entry["needs"].items()
        if claims.keys() & entry.get("unless", ()):
            continue
        if all(key in claims and claims[key].verdict in verdicts for key, verdicts in needs):
            chapter, _, target = entry["page"].partition("#")
            said = _NUMBER.sub(lambda place: _filled(place, claims), entry["text"])
            there = link.format(chapter, target)
            lines.append(f"{len(lines) + 1}. **{entry['title']}.** {said} {there}")
    return "\n".join(lines[:MOST])


def _filled(place: re.Match[str], claims: dict[str, Claim]) -> str:
    sign, key, null, form = place.groups()
    value = claims[key].null if null else claims[key].measured
    if value is None:
        raise ValueError(f"a finding names a number that {key!r} does not have: {place[0]}")
    return format(-value if sign else value, form).replace("-", "\N{MINUS SIGN}")


def glance(book: Book, roles: bool = True) -> str:
    """Return the table of results, in MyST Markdown or, without `roles`, in plain Markdown.

    It has a row for each figure, those with a failing claim first: the claim that stands for it,
    its number, its rule, in what the run differs from the paper, and the verdicts of all that the
    figure supports.
    """
    lines = [
        "| Verdict | Figure | Claim | Here | Rule | Differs from the paper in |",
        "|:--|:--|:--|--:|:--|:--|",
    ]
    rows = [row for row in book.rows() if row.figure in PAPER_FIGURES]
    rows.sort(key=lambda row: READING.index(row.headline.verdict) if row.headline else len(READING))
    lines += [_row(row, roles) for row in rows]
    return "\n".join([sentence(book), "", *lines]) + "\n"


def sentence(book: Book) -> str:
    """Return what a reader takes away: how the paper's statements fared, and at which scale."""
    ledgers = book.chapters.values()
    labels = dict.fromkeys(label for ledger in ledgers for label in ledger.provenance.datasets)
    own = tally(claim for claim in book.claims if claim.kind == "paper").get("paper", {})
    return (
        f"Of the paper's {sum(own.values())} statements, {own.get(Verdict.HOLDS, 0)} hold, "
        f"{own.get(Verdict.FAILS, 0)} fail and {own.get(Verdict.OPEN, 0)} are not settled at this "
        f"scale (profile {' and '.join(book.profiles)}: {'; '.join(map(markdown, labels))})."
    )


def counted(claims: Iterable[Claim]) -> dict[Verdict, int]:
    """Count the verdicts of claims, in the order of reading, without those that none has."""
    verdicts = [claim.verdict for claim in claims]
    counts = ((verdict, verdicts.count(verdict)) for verdict in READING)
    return {verdict: count for verdict, count in counts if count}


def _needed(claim: Claim) -> str:
    if claim.null is None:
        return str(claim.rule)
    return f"{claim.rule}, and better than {number(claim.null)} ({claim.null_name})"


def _row(row: Row, roles: bool) -> str:
    claim = row.headline
    if not row.shown or claim is None:
        return f"| not run | {row.figure} | | | | |"
    name = row.shown[0].name
    here = number(claim.measured)
    every = " ".join(f"{verdict.mark} {n}" for verdict, n in counted(row.claims).items())
    cells = (
        f"{claim.verdict.marked} (all: {every})",
        f"{{ref}}`{row.figure} <{name}>`" if roles else row.figure,
        markdown(claim.statement),
        here if claim.paper is None else f"{here}, the paper {number(claim.paper)}",
        _needed(claim),
        markdown(worded(row)),
    )
    return f"| {' | '.join(cells)} |"
