"""The ledger: what chapters recorded of their claims and of how they came about, read and gathered.

A `Ledger` is of one chapter as run at one profile, a `Book` is all chapters of one run, a `Row` one
figure with all that concerns it. Several profiles are never mixed. How it is shown is in `tables`
and, for the page of the whole book, in `dashboard`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from svcca_lib.paper.chapter.claims import Claim, Verdict
from svcca_lib.paper.chapter.outputs import LEDGER_METADATA
from svcca_lib.paper.chapter.provenance import (
    PAPER_FIGURES,
    Making,
    ShownFigure,
    UsedNetwork,
    artefact,
)
from svcca_lib.paper.chapter.scores import score
from svcca_lib.paper.store.files import write_whole
from svcca_lib.paper.store.paths import REPOSITORY

LEDGER = "10-ledger"  # the chapter that shows the whole book's
CLAIMS = "claims.json"  # a chapter's ledger, among its results
BOOK = "ledger.json"  # the whole book's, among the results of that chapter


def notebooks(folder: Path) -> dict[str, Path]:
    """Return the chapters' notebooks in a folder by their names, in the order of the book."""
    return {path.stem: path for path in sorted(folder.glob("[0-9][0-9]-*.ipynb"))}


def published(root: Path = REPOSITORY) -> list[str]:
    """Return the profiles whose executed chapters are published."""
    return sorted(path.name for path in (root / "published").iterdir())


@dataclass(frozen=True)
class Ledger:
    """The claims of one chapter, as run.

    Attributes
    ----------
    chapter, profile, seed, data
        What was run.
    claims : tuple of Claim
    making : Making or None
        How the chapter came about; None where that was not recorded.
    omitted : tuple of (str, str)
        Id of each registered claim that was not decided, and why.
    """

    chapter: str
    profile: str
    seed: int
    data: str
    claims: tuple[Claim, ...]
    making: Making | None = None
    omitted: tuple[tuple[str, str], ...] = ()

    @property
    def score(self) -> str:
        """How many claims of each kind hold, in words."""
        return score(self.claims)

    @property
    def title(self) -> str:
        """One line: what was run and how many claims hold."""
        return f"{self.score} (profile {self.profile}, seed {self.seed}, data {self.data})"

    @property
    def provenance(self) -> Making:
        """How the chapter came about.

        Raises
        ------
        ValueError
            If it was run before chapters recorded that.
        """
        if self.making is None:
            raise ValueError(f"chapter {self.chapter!r} has no record of its making: run it again")
        return self.making

    def to_dict(self) -> dict[str, Any]:
        """Return the ledger as JSON-ready values."""
        return {
            "chapter": self.chapter,
            "profile": self.profile,
            "seed": self.seed,
            "data": self.data,
            "claims": [claim.to_dict() for claim in self.claims],
            "making": self.making and asdict(self.making),
            "omitted": [list(pair) for pair in self.omitted],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Ledger:
        """Return the ledger that `to_dict` wrote."""
        making = values.get("making")
        read = {
            "claims": tuple(map(Claim.from_dict, values["claims"])),
            "making": making and Making.from_dict(making),
            "omitted": tuple(map(tuple, values["omitted"])),
        }
        return cls(**dict(values) | read)

    def write(self, results: Path) -> None:
        """Write the ledger into the folder of a chapter's results."""
        _write(results / CLAIMS, self.to_dict())

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Read a ledger from a folder of results, or from the executed notebook that displays it.

        Raises
        ------
        ValueError
            If a notebook holds no ledger: it has not run to its end.
        """
        if path.suffix != ".ipynb":
            return cls.from_dict(json.loads((path / CLAIMS).read_text(encoding="utf-8")))
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", ()):
                if LEDGER_METADATA in output.get("metadata", {}):
                    return cls.from_dict(output["metadata"][LEDGER_METADATA])
        raise ValueError(f"{path} holds no claims: run it to its last cell, ch.ledger()")


@dataclass(frozen=True)
class Row:
    """One figure of the paper, or a figure of ours that is in none of them.

    Attributes
    ----------
    figure : str
        As the paper names it.
    chapters : tuple of Ledger
        Those that show it; none if their chapter has not run.
    shown : tuple of ShownFigure
        What they show of it.
    claims : tuple of Claim
        Those that name it.
    """

    figure: str
    chapters: tuple[Ledger, ...]
    shown: tuple[ShownFigure, ...]
    claims: tuple[Claim, ...]

    @property
    def networks(self) -> tuple[UsedNetwork, ...]:
        """The networks behind it, each once."""
        keys = {key for shown in self.shown for key in shown.networks}
        found = {n.key: n for ledger in self.chapters for n in ledger.provenance.networks}
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
    def gather(cls, profile: str, out: str = "", root: Path = REPOSITORY) -> Book:
        """Gather what was run at one profile.

        Parameters
        ----------
        profile : str
            Such as ``"quick"``.
        out : str
            The folder of the ledger's own results: those of the other chapters lie beside it.
            Where none do, and where it is empty, the stored notebooks are read: ``book/`` for
            quick, ``published/`` for the other profiles.
        root : Path
            The repository.

        Raises
        ------
        FileNotFoundError
            If there is nothing to gather.
        ValueError
            If a chapter was run at another profile.
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
        _write(Path(folder) / BOOK, self.to_dict())


def _write(path: Path, values: Mapping[str, Any]) -> None:
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, f"{text}\n")
