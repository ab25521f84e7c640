"""The page of the whole book: its figures, how its claims fared, its networks, data, environments.

Each function gives one table of the ledger's chapter, `Claims` the longest of them.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from svcca_lib.names import markup
from svcca_lib.paper.chapter.claims import KINDS, Claim, Verdict, number
from svcca_lib.paper.chapter.differences import worded
from svcca_lib.paper.chapter.drift import on_other_machines
from svcca_lib.paper.chapter.gathered import Book, Row
from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.chapter.provenance import (
    ELSEWHERE,
    PAPER_FIGURES,
    SHORT,
    UsedNetwork,
    artefact,
    duration,
    short_commit,
)
from svcca_lib.paper.chapter.register import registered
from svcca_lib.paper.chapter.scores import stand_together, tally
from svcca_lib.paper.chapter.tables import Table, as_text, by_verdict, link, slug
from svcca_lib.paper.store.paths import REPOSITORY

EXPLANATIONS = REPOSITORY / "book" / "explanations.toml"


def made(figure: str) -> str:
    """Return the target, on this page, of the row that says how a figure was made."""
    return f"made-{figure}"


def figures(book: Book) -> Table:
    """Return one row for each figure: what the paper says, what we found, and how it was made."""
    keys = {claim: key for key, claim in book.by_key().items()}
    return Table(
        (
            "Figure",
            "Claims",
            "Differs from the paper in",
            "Networks",
            "Trained in",
            "Chapter took",
            "Commit",
        ),
        tuple(_figure(row, keys) for row in book.rows()),
    )


def _figure(row: Row, keys: Mapping[Claim, str]) -> tuple[str, ...]:
    if not row.shown:
        return (markup(row.figure), "not run", *5 * ("",))
    anchors = "".join(f'<span id="{made(shown.name)}"></span>' for shown in row.shown)
    [ledger, *_] = row.chapters
    making = ledger.provenance
    networks = row.networks
    return (
        anchors + link(ledger.chapter, row.shown[0].name, row.figure),
        "<br>".join(_decided(claim, keys[claim]) for claim in row.claims),
        _differs(row),
        _named(networks),
        duration(sum(n.seconds for n in networks)) if networks else "",
        duration(making.seconds),
        f"<code>{making.commit}</code>" if making.commit else "",
    )


def _differs(row: Row) -> str:
    """Return what is not as in the paper, in one line; nothing for a figure that is not of it."""
    if row.figure not in PAPER_FIGURES:
        return ""
    networks = len({network.seed for network in row.networks})
    seeds = f"seeds: {networks}" if networks else ""
    return markup("; ".join(filter(None, (worded(row), seeds))))


def _named(networks: Sequence[UsedNetwork]) -> str:
    """Return the artefact of some networks, and which they are: trainings with their seeds."""
    seeds: dict[str, list[int]] = {}
    for network in networks:
        seeds.setdefault(network.training, []).append(network.seed)
    if not seeds:
        return "none"
    names = [f"{name} {', '.join(map(str, sorted(of)))}" for name, of in seeds.items()]
    short = artefact([network.key for network in networks])
    return "<br>".join([f"<code>{short}</code>", *map(markup, names)])


def _decided(claim: Claim, key: str) -> str:
    """Return a claim's verdict, the number measured and, where it has one, the paper's."""
    paper = f", the paper {number(claim.paper)}" if claim.paper is not None else ""
    return f"{claim.verdict.mark} {_slug(key)}: <b>{number(claim.measured)}</b>{paper}"


def _slug(key: str) -> str:
    return slug(*key.split("/"))


@dataclass(frozen=True)
class Claims:
    """All claims of a book, with links to what supports them.

    What fails comes first, and what was looked into stands below it.
    """

    book: Book

    def __repr__(self) -> str:
        return "\n\n".join(f"{name}: {as_text(of)}" for name, of in self.book.chapters.items())

    def _repr_html_(self) -> str:
        shown = (row for row in self.book.rows() if row.shown)
        targets = {row.figure: (row.chapters[0].chapter, row.shown[0].name) for row in shown}
        return by_verdict(list(self.book.chapters.values()), targets, explanations(self.book))


def scores(book: Book) -> Table:
    """Return the verdicts of each kind of claim, and how many stand when all are decided at once.

    Each verdict has an interval of 95 % of its own. Of those in the last column, all claims taken
    together, at most 5 % are expected to be wrong (`scores.stand_together`).
    """
    together = stand_together(book.claims)
    return Table(
        ("Kind", *(str(verdict).capitalize() for verdict in Verdict), "Stand together"),
        tuple(
            (
                KINDS[kind],
                *map(str, counts.values()),
                "" if kind == "check" else str(sum(c.kind == kind for c in together)),
            )
            for kind, counts in tally(book.claims).items()
        ),
        kind="scores",
    )


def movements(book: Book, root: Path = REPOSITORY) -> Table:
    """Return how far the number of each claim moves, over seeds and over machines.

    Over machines: from what `make machines` measured from scratch, at the quick profile (nothing
    else is small enough), where that was done.
    """
    elsewhere = on_other_machines(root) if book.profiles == ["quick"] else {}
    rows = []
    for key, claim in book.by_key().items():
        over = f" ({len(claim.values)} {claim.over})"
        there = elsewhere.get(key, ())
        rows.append(
            (
                _slug(key),
                number(claim.measured),
                number(float(np.ptp(claim.values))) + over if len(claim.values) > 1 else "",
                number(float(np.ptp(there))) if there else "",
                claim.verdict.marked,
            )
        )
    return Table(("Claim", "Measured", "Range over seeds", "Over machines", "Verdict"), tuple(rows))


def explanations(book: Book, path: Path = EXPLANATIONS) -> dict[str, str]:
    """Return what was looked into (HTML), by the claims of this book that do not hold.

    Numbers in the explanations of `path` are taken from the claims of the book; an explanation of
    a claim that is not registered raises ValueError.
    """
    claims = book.by_key()
    known = {f"{chapter}/{id}" for chapter, id in registered().claims}
    found: dict[str, str] = {}
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["explanation"]:
        if unknown := set(entry["claims"]) - known:
            raise ValueError(f"{path.name} explains what is not registered: {sorted(unknown)}")
        concerned = [
            key for key in entry["claims"] if key in claims and claims[key].verdict != Verdict.HOLDS
        ]
        if concerned:
            first, *others = concerned
            said = _filled(entry["text"], first, claims)
            found[first] = f"<strong>{markup(entry['title'])}.</strong> {said}"
            found |= dict.fromkeys(others, f"Looked into with {_slug(first)}.")
    return found


def _filled(text: str, key: str, claims: Mapping[str, Claim]) -> str:
    """Return a text with its numbers: those of one claim, and of others by their names."""
    chapter, own = key.split("/")[0], claims[key]
    low, high = own.interval or (None, None)
    parts = {"measured": own.measured, "low": low, "high": high, "null": own.null}

    def value(place: re.Match[str]) -> str:
        name = place[1]
        if name in parts:
            return number(parts[name])
        other = claims.get(name if "/" in name else f"{chapter}/{name}")
        if other is None:
            raise ValueError(f"the explanation of {key} names a claim that is not made: {name}")
        return number(other.measured)

    return re.sub(r"\{([\w/-]+)\}", value, markup(text))


def changes(book: Book) -> Table:
    """Return every change of the claims of a book, and of those that were taken back since.

    What it was, what it is, when and why.
    """
    made = book.by_key()
    return Table(
        ("Claim", "Changed", "Was", "Is", "Why"),
        tuple(
            (
                slug(claim.chapter, claim.id)
                if claim.withdrawn is None
                else markup(f"{claim.chapter[:2]} {claim.id}"),
                change.date.isoformat()
                + (f" <code>{change.commit}</code>" if change.commit else ""),
                markup(change.was),
                markup(change.now),
                markup(change.why),
            )
            for claim in registered().claims.values()
            if claim.withdrawn is not None or f"{claim.chapter}/{claim.id}" in made
            for change in claim.changes
        ),
        kind="changes",
    )


def confirmations() -> str:
    """Say how many rules are older than the first CIFAR-10 page of their chapter.

    For these the run was a test: neither the number nor the verdict there could be known when the
    rule was set. Checks, and chapters whose data are no images, do not count.
    """
    live = [
        claim
        for claim in registered().claims.values()
        if claim.withdrawn is None
        and claim.kind != "check"
        and claim.chapter in registered().cifar10
    ]
    before = sum(map(registered().predates_cifar10, live))
    return (
        f"{before} of the {len(live)} statements that are decided on images have words, rule and "
        "null that are older than the first published CIFAR-10 page of their chapter, by the day"
    )


def networks(book: Book) -> Table:
    """Return every network behind the book: key, seed, training time, device, commit."""
    return Table(
        ("Network", "Seed", "Key", "Trained in", "On", "Commit"),
        tuple(
            (
                markup(n.training),
                str(n.seed),
                f"<code>{n.key[:SHORT]}</code>",
                "" if n.device == ELSEWHERE else duration(n.seconds),
                markup(n.device),
                f"<code>{short_commit(n.commit)}</code>",
            )
            for n in book.networks()
        ),
    )


def environments(book: Book) -> Table:
    """Return where the chapters ran, one row for each environment, with the data they saw."""
    groups: dict[str, list[Ledger]] = {}
    for ledger in book.chapters.values():
        same = {k: v for k, v in ledger.provenance.environment.items() if k != "commit"}
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(ledger)
    rows = []
    for text, ledgers in groups.items():
        at = json.loads(text)
        libraries = ", ".join(f"{name} {version}" for name, version in at["libraries"].items())
        rows.append(
            (
                ", ".join(ledger.chapter[:2] for ledger in ledgers),
                markup(f"Python {at['python']}, {libraries}"),
                markup(at["platform"]),
                markup(f"{at['device']}, {at['threads']} threads"),
            )
        )
    return Table(("Chapters", "Versions", "System", "Device"), tuple(rows))


def datasets(book: Book) -> Table:
    """Return every data set with its fingerprint and the chapters and seeds that used it."""
    used: dict[tuple[str, str], list[Ledger]] = {}
    for ledger in book.chapters.values():
        for item in ledger.provenance.datasets.items():
            used.setdefault(item, []).append(ledger)
    return Table(
        ("Data", "Fingerprint", "Chapters", "Seed of the chapters"),
        tuple(
            (
                markup(label),
                f"<code>{fingerprint[:SHORT]}</code>",
                ", ".join(ledger.chapter[:2] for ledger in ledgers),
                ", ".join(sorted({str(ledger.seed) for ledger in ledgers})),
            )
            for (label, fingerprint), ledgers in used.items()
        ),
    )
