"""The ledger of the book: all claims of all chapters, and for every figure how it came about.

It is gathered from what the chapters recorded themselves, never from several profiles at once: a
run is found beside its results, the book as it is stored in its notebooks.
"""

from __future__ import annotations

import html
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svcca_lib.paper.chapter.claims import (
    COLUMNS,
    KINDS,
    MARKS,
    Claim,
    Ledger,
    Verdict,
    claim_row,
    number,
    omitted_rows,
    score,
    stand_together,
    tally,
)
from svcca_lib.paper.chapter.provenance import (
    PAPER_FIGURES,
    SHORT,
    Making,
    Shown,
    Trained,
    artefact,
    duration,
    short_commit,
)
from svcca_lib.paper.chapter.register import registered
from svcca_lib.paper.store.paths import REPOSITORY

LEDGER = "10-ledger"  # the chapter that shows all this
EXPLANATIONS = REPOSITORY / "book" / "explanations.toml"


def made(figure: str) -> str:
    """Return the target, on the ledger's page, of the row that says how a figure was made."""
    return f"made-{figure}"


@dataclass(frozen=True)
class Row:
    """One figure of the paper, or a figure of ours that is in none of them.

    Attributes
    ----------
    figure : str
        As the paper names it.
    chapters : tuple of Ledger
        Those that show it; none if their chapter has not run.
    shown : tuple of Shown
        What they show of it.
    claims : tuple of Claim
        Those that name it.
    """

    figure: str
    chapters: tuple[Ledger, ...]
    shown: tuple[Shown, ...]
    claims: tuple[Claim, ...]

    @property
    def networks(self) -> tuple[Trained, ...]:
        """The networks behind it, each once."""
        keys = {key for shown in self.shown for key in shown.networks}
        found = {n.key: n for ledger in self.chapters for n in _making(ledger).networks}
        return tuple(network for key, network in found.items() if key in keys)

    @property
    def headline(self) -> Claim | None:
        """The claim that stands for it: of the paper's own, the first that fails, else the first.

        Where the paper makes none, the first of any kind.
        """
        own = [claim for claim in self.claims if claim.kind == "paper"]
        failing = (claim for claim in own if claim.verdict is Verdict.FAILS)
        return next(iter((*failing, *own, *self.claims)), None)


@dataclass(frozen=True)
class Book:
    """The ledgers of the chapters of one run, by their names and in their order."""

    chapters: Mapping[str, Ledger]

    @classmethod
    def gather(cls, profile: str, out: str = "") -> Book:
        """Gather what was run at one profile.

        Parameters
        ----------
        profile : str
            Such as ``"quick"``.
        out : str
            The folder of the ledger's own results: those of the other chapters lie beside it.
            Where none do, and where it is empty, the stored notebooks are read: ``book/`` for
            quick, ``published/`` for the other profiles.

        Raises
        ------
        FileNotFoundError
            If there is nothing to gather.
        ValueError
            If a chapter was run at another profile.
        """
        stored = REPOSITORY / ("book" if profile == "quick" else f"published/{profile}")
        beside = sorted(Path(out).parent.glob("[0-9][0-9]-*/claims.json")) if out else []
        paths = {path.parent.name: path for path in beside} or {
            path.stem: path for path in sorted(stored.glob("[0-9][0-9]-*.ipynb"))
        }
        paths.pop(LEDGER, None)
        if not paths:
            raise FileNotFoundError(
                f"no chapter has been run at profile {profile!r}: there is none in {stored}"
                + (f" and none beside {out}" if out else "")
                + f"; run `make book PROFILE={profile}`"
            )
        book = cls.read(paths)
        others = {ledger.profile for ledger in book.chapters.values()} - {profile}
        if others:
            raise ValueError(
                f"the ledger of profile {profile!r} was to be gathered, but some chapters were "
                f"run at {', '.join(sorted(others))}: run them again"
            )
        return book

    @classmethod
    def read(cls, paths: Mapping[str, Path]) -> Book:
        """Read the ledgers of chapters, from JSON or executed notebooks, in the order of names."""
        return cls({name: Ledger.read(path) for name, path in sorted(paths.items())})

    @property
    def claims(self) -> tuple[Claim, ...]:
        """All claims of all chapters."""
        return tuple(claim for ledger in self.chapters.values() for claim in ledger.claims)

    @property
    def score(self) -> str:
        """How many claims of each kind hold, fail and are not settled, of how many chapters."""
        chapters = len(self.chapters)
        return f"{score(self.claims)}; in {chapters} chapter{'s' if chapters > 1 else ''}"

    def rows(self) -> list[Row]:
        """Return one row for each figure of the paper, then one for each that is in none."""
        shown = [(ledger, s) for ledger in self.chapters.values() for s in _making(ledger).figures]
        rows = []
        for figure in PAPER_FIGURES:
            mine = [(ledger, s) for ledger, s in shown if s.of_the_paper == figure]
            ledgers = tuple({ledger.chapter: ledger for ledger, _ in mine}.values())
            claims = tuple(claim for claim in self.claims if figure in supports(claim))
            rows.append(Row(figure, ledgers, tuple(s for _, s in mine), claims))
        rows += [Row(s.name, (ledger,), (s,), ()) for ledger, s in shown if not s.of_the_paper]
        return rows

    def networks(self) -> list[Trained]:
        """Return all networks, each once, in the order of first use."""
        found = {n.key: n for ledger in self.chapters.values() for n in _making(ledger).networks}
        return list(found.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the ledger as JSON-ready values: figures first, then chapter by chapter."""
        return {
            "figures": [
                {
                    "figure": row.figure,
                    "chapters": [ledger.chapter for ledger in row.chapters],
                    "shown": [shown.name for shown in row.shown],
                    "artefact": artefact([network.key for network in row.networks]),
                    "claims": [claim.to_dict() for claim in row.claims],
                }
                for row in self.rows()
            ],
            "chapters": [ledger.to_dict() for ledger in self.chapters.values()],
        }

    def write(self, path: Path) -> None:
        """Write the ledger as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")


def supports(claim: Claim) -> list[str]:
    """Return the figures that a claim names: "Figure 4, Appendix Figure 3" are two."""
    return claim.figure.split(", ")


def _making(ledger: Ledger) -> Making:
    """Return how a chapter came about.

    Raises
    ------
    ValueError
        If it was run before chapters recorded that.
    """
    if ledger.making is None:
        raise ValueError(f"chapter {ledger.chapter!r} has no record of its making: run it again")
    return ledger.making


# ------------------------------------------------------------------------------- what is displayed


@dataclass(frozen=True)
class Table:
    """A table that a notebook displays: as text for the tests, as HTML for readers.

    Attributes
    ----------
    columns : tuple of str
    rows : tuple of tuple of str
        HTML, a cell for each column.
    kind : str
        The style of the table.
    caption : str
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    kind: str = "ledger"
    caption: str = ""

    def __repr__(self) -> str:
        return f"table of {len(self.rows)} rows: {', '.join(self.columns)}"

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{title}</th>' for title in self.columns)
        body = "".join(
            "<tr>"
            + "".join(
                f'<td data-title="{html.escape(title)}">{cell}</td>'
                for title, cell in zip(self.columns, row, strict=True)
            )
            + "</tr>"
            for row in self.rows
        )
        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        return (
            f'<table class="claims {self.kind}">{caption}'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


@dataclass(frozen=True)
class Claims:
    """All claims of a book, chapter by chapter, each with a link to what supports it."""

    book: Book

    def __repr__(self) -> str:
        return "\n\n".join(f"{name}: {ledger!r}" for name, ledger in self.book.chapters.items())

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{title}</th>' for title in COLUMNS)
        targets = _targets(self.book)
        body = "".join(
            f'<tr class="chapter"><th colspan="{len(COLUMNS)}" scope="colgroup">'
            f'<a href="{name}.html">{html.escape(name)}</a>: {html.escape(ledger.title)}</th></tr>'
            + "".join(
                claim_row(claim, f"{name}-", _support(name, claim, targets))
                for claim in ledger.claims
            )
            + omitted_rows(ledger)
            for name, ledger in self.book.chapters.items()
        )
        return f'<table class="claims"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def dashboard(book: Book) -> Table:
    """Return one row for each figure: what the paper says, what we found, and how it was made."""
    return Table(
        ("Figure", "Claims", "Networks", "Trained in", "Chapter took", "Commit"),
        tuple(map(_dashboard_row, book.rows())),
    )


def _dashboard_row(row: Row) -> tuple[str, ...]:
    if not row.shown:
        return (html.escape(row.figure), "not run", *4 * ("",))
    anchors = "".join(f'<span id="{made(shown.name)}"></span>' for shown in row.shown)
    [ledger, *_] = row.chapters
    making = _making(ledger)
    networks = row.networks
    return (
        anchors + _link(ledger.chapter, row.shown[0].name, row.figure),
        "<br>".join(map(_numbers, row.claims)),
        _named(networks),
        duration(sum(n.seconds for n in networks)) if networks else "",
        duration(making.seconds),
        f"<code>{making.commit}</code>" if making.commit else "",
    )


def _named(networks: Sequence[Trained]) -> str:
    """Return the artefact of some networks, and which they are: trainings with their seeds."""
    seeds: dict[str, list[int]] = {}
    for network in networks:
        seeds.setdefault(network.training, []).append(network.seed)
    if not seeds:
        return "none"
    names = [f"{name} {', '.join(map(str, sorted(of)))}" for name, of in seeds.items()]
    short = artefact([network.key for network in networks])
    return "<br>".join([f"<code>{short}</code>", *map(html.escape, names)])


def _numbers(claim: Claim) -> str:
    """Return a claim's verdict, the number measured and, where it has one, the paper's."""
    paper = f", the paper {number(claim.paper)}" if claim.paper is not None else ""
    mark = MARKS[claim.verdict]
    return f"{mark} {html.escape(claim.id)}: <b>{number(claim.measured)}</b>{paper}"


def scores(book: Book) -> Table:
    """Return the verdicts of each kind of claim, and how many stand when all are decided at once.

    Each verdict has an interval of 95 % of its own. Of those in the last column, all claims taken
    together, at most 5 % are expected to be wrong (`claims.stand_together`).
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


def movements(book: Book) -> Table:
    """Return how far the number of each claim moves, over seeds and over machines.

    Over machines: from what `make machines` measured from scratch, where that was done
    (``reference/machines.json``).
    """
    elsewhere = machines(book)
    rows = []
    for name, ledger in book.chapters.items():
        for claim in ledger.claims:
            there = elsewhere.get(f"{name}/{claim.id}", ())
            spread = max(claim.values) - min(claim.values) if len(claim.values) > 1 else None
            moved = max(there) - min(there) if there else None
            rows.append(
                (
                    html.escape(f"{name[:2]} {claim.id}"),
                    number(claim.measured),
                    ""
                    if spread is None
                    else f"{number(spread)} ({len(claim.values)} {claim.over})",
                    "" if moved is None else number(moved),
                    f"{MARKS[claim.verdict]} {claim.verdict}",
                )
            )
    return Table(("Claim", "Measured", "Range over seeds", "Over machines", "Verdict"), tuple(rows))


def machines(book: Book) -> Mapping[str, Sequence[float]]:
    """Return what each claim measured on other machines, by ``CHAPTER/ID``, from scratch.

    Empty for other profiles than quick: nothing else is small enough to be trained there.
    """
    quick = {ledger.profile for ledger in book.chapters.values()} == {"quick"}
    return elsewhere() if quick else {}


def elsewhere(root: Path = REPOSITORY) -> Mapping[str, Sequence[float]]:
    """Return the numbers of ``reference/machines.json``: by ``CHAPTER/ID``, one a machine."""
    path = root / "reference" / "machines.json"
    if not path.is_file():
        return {}
    found: dict[str, list[float]] = {}
    for measured in json.loads(path.read_text(encoding="utf-8")).values():
        for claim, value in measured.items():
            found.setdefault(claim, []).append(value)
    return found


def explanations(book: Book, path: Path = EXPLANATIONS) -> Table:
    """Return what was looked into, for the claims of this book that fail or are not settled.

    Parameters
    ----------
    book : Book
    path : Path
        The explanations; numbers in them are taken from the claims of `book`.

    Raises
    ------
    ValueError
        If an explanation is of a claim that is not registered.
    """
    claims = {
        f"{name}/{claim.id}": claim
        for name, ledger in book.chapters.items()
        for claim in ledger.claims
    }
    known = {f"{chapter}/{id}" for chapter, id in registered().claims}
    rows = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["explanation"]:
        if unknown := set(entry["claims"]) - known:
            raise ValueError(f"{path.name} explains what is not registered: {sorted(unknown)}")
        concerned = [
            key for key in entry["claims"] if key in claims and claims[key].verdict != Verdict.HOLDS
        ]
        if concerned:
            named = "<br>".join(
                f"{MARKS[claims[key].verdict]} "
                + _link(key.split("/")[0], f"claim-{claims[key].id}", claims[key].id)
                for key in concerned
            )
            said = _filled(entry["text"], concerned[0], claims)
            rows.append((named, f"<strong>{html.escape(entry['title'])}.</strong> {said}"))
    return Table(("Claims", "What was looked into"), tuple(rows), kind="explanations")


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

    return re.sub(r"\{([\w/-]+)\}", value, html.escape(text))


def changes() -> Table:
    """Return every change of a registered claim: what it was, what it is, when and why."""
    return Table(
        ("Claim", "Changed", "Was", "Is", "Why"),
        tuple(
            (
                html.escape(f"{claim.chapter[:2]} {claim.id}"),
                change.date.isoformat()
                + (f" <code>{change.commit}</code>" if change.commit else ""),
                html.escape(change.was),
                html.escape(change.now),
                html.escape(change.why),
            )
            for claim in registered().claims.values()
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
                html.escape(n.training),
                str(n.seed),
                f"<code>{n.key[:SHORT]}</code>",
                duration(n.seconds),
                html.escape(n.device),
                f"<code>{short_commit(n.commit)}</code>",
            )
            for n in book.networks()
        ),
    )


def environments(book: Book) -> Table:
    """Return where the chapters ran, one row for each environment, with the data they saw."""
    groups: dict[str, list[Ledger]] = {}
    for ledger in book.chapters.values():
        same = {k: v for k, v in _making(ledger).environment.items() if k != "commit"}
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(ledger)
    rows = []
    for text, ledgers in groups.items():
        at = json.loads(text)
        libraries = ", ".join(f"{name} {version}" for name, version in at["libraries"].items())
        rows.append(
            (
                ", ".join(ledger.chapter[:2] for ledger in ledgers),
                html.escape(f"Python {at['python']}, {libraries}"),
                html.escape(at["platform"]),
                html.escape(f"{at['device']}, {at['threads']} threads"),
            )
        )
    return Table(("Chapters", "Versions", "System", "Device"), tuple(rows))


def datasets(book: Book) -> Table:
    """Return every data set with its fingerprint and the chapters and seeds that used it."""
    used: dict[tuple[str, str], list[Ledger]] = {}
    for ledger in book.chapters.values():
        for item in _making(ledger).datasets.items():
            used.setdefault(item, []).append(ledger)
    return Table(
        ("Data", "Fingerprint", "Chapters", "Seed of the chapters"),
        tuple(
            (
                html.escape(label),
                f"<code>{fingerprint[:SHORT]}</code>",
                ", ".join(ledger.chapter[:2] for ledger in ledgers),
                ", ".join(sorted({str(ledger.seed) for ledger in ledgers})),
            )
            for (label, fingerprint), ledgers in used.items()
        ),
    )


def _targets(book: Book) -> dict[str, tuple[str, str]]:
    """Return for each figure of the paper the chapter and the name of what shows it first."""
    return {
        row.figure: (row.chapters[0].chapter, row.shown[0].name) for row in book.rows() if row.shown
    }


def _support(chapter: str, claim: Claim, targets: Mapping[str, tuple[str, str]]) -> str:
    """Return links to the figures a claim names; what is no figure leads to the claim itself."""
    own = (chapter, f"claim-{claim.id}")
    return ", ".join(_link(*targets.get(name, own), name) for name in supports(claim))


def _link(chapter: str, target: str, text: str) -> str:
    return f'<a href="{chapter}.html#{html.escape(target)}">{html.escape(text)}</a>'


# ------------------------------------------------------------------------- results at a glance


def glance(book: Book) -> str:
    """Return the table of results for the first page, as MyST Markdown.

    One row for each figure of the paper: the claim that stands for it, the paper's number and
    ours, its verdict, and the verdicts of all that the figure supports.
    """
    lines = [
        "| Figure | A claim it supports | Paper | Here | Verdict | All its claims |",
        "|:--|:--|--:|--:|:--|:--|",
    ]
    lines += [_glance_row(row) for row in book.rows() if row.figure in PAPER_FIGURES]
    return "\n".join([sentence(book), "", *lines]) + "\n"


def sentence(book: Book) -> str:
    """Return what a reader takes away: how the paper's statements fared, then all kinds apart."""
    profiles = dict.fromkeys(ledger.profile for ledger in book.chapters.values())
    labels = dict.fromkeys(
        label for ledger in book.chapters.values() for label in _making(ledger).datasets
    )
    own = tally(claim for claim in book.claims if claim.kind == "paper").get("paper", {})
    return (
        f"Of the paper's {sum(own.values())} statements, {own.get(Verdict.HOLDS, 0)} hold, "
        f"{own.get(Verdict.FAILS, 0)} fail and {own.get(Verdict.OPEN, 0)} are not settled at this "
        f"scale. All kinds: {book.score}. "
        f"Run at profile {' and '.join(profiles)}, on {'; '.join(labels)}."
    )


def _glance_row(row: Row) -> str:
    claim = row.headline
    if not row.shown or claim is None:
        return f"| {row.figure} | not run | | | | |"
    figure = f"{{ref}}`{row.figure} <{row.shown[0].name}>`"
    counts = {v: sum(c.verdict is v for c in row.claims) for v in Verdict}
    cells = (
        figure,
        claim.statement.replace("|", "\\|"),
        number(claim.paper),
        number(claim.measured),
        f"{MARKS[claim.verdict]} {claim.verdict}",
        " ".join(f"{MARKS[verdict]} {count}" for verdict, count in counts.items() if count),
    )
    return f"| {' | '.join(cells)} |"
