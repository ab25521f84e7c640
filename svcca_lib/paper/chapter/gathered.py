"""The ledgers of all chapters of one run, gathered: by chapter, and figure by figure.

They are gathered from what the chapters recorded themselves, and never of several profiles at once.
The tables made of them are in `dashboard`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svcca_lib.paper.chapter.claims import Claim, Verdict
from svcca_lib.paper.chapter.ledger import CLAIMS, Ledger, write_exact
from svcca_lib.paper.chapter.provenance import PAPER_FIGURES, ShownFigure, UsedNetwork, artefact
from svcca_lib.paper.chapter.scores import score
from svcca_lib.paper.store.paths import REPOSITORY

LEDGER = "10-ledger"  # the chapter that shows all this
BOOK = "ledger.json"  # where it is written, in a folder


def notebooks(folder: Path) -> dict[str, Path]:
    """Return the chapters' notebooks in a folder by their names, in the order of the book."""
    return {path.stem: path for path in sorted(folder.glob("[0-9][0-9]-*.ipynb"))}


def published(root: Path = REPOSITORY) -> list[str]:
    """Return the profiles whose executed chapters are published."""
    return sorted(path.name for path in (root / "published").iterdir())


@dataclass(frozen=True)
class Row:
    """One figure of the paper, or a figure of ours that is in none of them."""

    figure: str  # as the paper names it
    chapters: tuple[Ledger, ...]  # those that show it; none if their chapter has not run
    shown: tuple[ShownFigure, ...]  # what they show of it
    claims: tuple[Claim, ...]  # those that name it

    @property
    def networks(self) -> tuple[UsedNetwork, ...]:
        """The networks behind it, each once."""
        keys = {key for shown in self.shown for key in shown.networks}
        found = {n.key: n for ledger in self.chapters for n in ledger.provenance.networks}
        return tuple(network for key, network in found.items() if key in keys)

    @property
    def headline(self) -> Claim | None:
        """The claim that stands for it: the first of the paper's own that fails, else its first.

        Where the paper makes none, the first of any kind.
        """
        own = [claim for claim in self.claims if claim.kind == "paper"]
        failing = (claim for claim in own if claim.verdict is Verdict.FAILS)
        return next(iter((*failing, *own, *self.claims)), None)

    @property
    def origin(self) -> Ledger | None:
        """The chapter that made this claim; without one, the first that shows the figure."""
        made = (ledger for ledger in self.chapters if self.headline in ledger.claims)
        return next(iter((*made, *self.chapters)), None)


@dataclass(frozen=True)
class Book:
    """The ledgers of the chapters of one run, by their names and in their order."""

    chapters: Mapping[str, Ledger]

    @classmethod
    def gather(cls, profile: str, out: str = "", root: Path = REPOSITORY) -> Book:
        """Gather what was run at one profile.

        `out` is the folder of the ledger's own results: those of the other chapters lie beside it.
        Where none do, and where it is empty, the stored notebooks are read: ``book/`` for quick,
        ``published/`` for the other profiles. Raises FileNotFoundError if there is nothing to
        gather, ValueError if a chapter was run at another profile.
        """
        stored = root / ("book" if profile == "quick" else f"published/{profile}")
        beside = Path(out).parent.glob(f"[0-9][0-9]-*/{CLAIMS}") if out else ()
        paths = {path.parent.name: path.parent for path in beside} or notebooks(stored)
        book = cls.read(paths)
        if not book.chapters:
            raise FileNotFoundError(
                f"no chapter has been run at profile {profile!r}: there is none in {stored}"
                + (f" and none beside {out}" if out else "")
                + f"; run `make book PROFILE={profile}`"
            )
        if others := sorted(set(book.profiles) - {profile}):
            raise ValueError(
                f"the ledger of profile {profile!r} was to be gathered, but some chapters were "
                f"run at {', '.join(others)}: run them again"
            )
        return book

    @classmethod
    def read(cls, paths: Mapping[str, Path]) -> Book:
        """Read the ledgers of chapters in the order of names, but of the one that shows them."""
        return cls(
            {name: Ledger.read(path) for name, path in sorted(paths.items()) if name != LEDGER}
        )

    @property
    def profiles(self) -> list[str]:
        """The profiles at which the chapters ran, each once."""
        return list(dict.fromkeys(ledger.profile for ledger in self.chapters.values()))

    @property
    def claims(self) -> tuple[Claim, ...]:
        """All claims of all chapters."""
        return tuple(claim for ledger in self.chapters.values() for claim in ledger.claims)

    def by_key(self) -> dict[str, Claim]:
        """Return all claims by ``CHAPTER/ID``."""
        ledgers = self.chapters.items()
        return {f"{name}/{claim.id}": claim for name, of in ledgers for claim in of.claims}

    @property
    def score(self) -> str:
        """How many claims of each kind hold, fail and are not settled, of how many chapters."""
        chapters = len(self.chapters)
        return f"{score(self.claims)}; in {chapters} chapter{'s' if chapters > 1 else ''}"

    def rows(self) -> list[Row]:
        """Return one row for each figure of the paper, then one for each that is in none."""
        shown = [(of, s) for of in self.chapters.values() for s in of.provenance.figures]
        rows = []
        for figure in PAPER_FIGURES:
            mine = [(ledger, s) for ledger, s in shown if s.of_the_paper == figure]
            ledgers = tuple({ledger.chapter: ledger for ledger, _ in mine}.values())
            claims = tuple(claim for claim in self.claims if figure in claim.figures)
            rows.append(Row(figure, ledgers, tuple(s for _, s in mine), claims))
        rows += [Row(s.name, (ledger,), (s,), ()) for ledger, s in shown if not s.of_the_paper]
        return rows

    def networks(self) -> list[UsedNetwork]:
        """Return all networks, each once, in the order of first use."""
        found = {n.key: n for of in self.chapters.values() for n in of.provenance.networks}
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

    def write(self, folder: Path | str) -> None:
        """Write the ledger into a folder."""
        write_exact(Path(folder) / BOOK, self.to_dict())
