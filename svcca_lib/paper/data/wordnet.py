"""How the 1,000 classes of ImageNet are related: the part of WordNet 3.0 that is above them.

A class of ImageNet is a noun of WordNet 3.0, named by "n" and its place in that database. The table
beside this file has every class and all that WordNet has above it; `hypernyms_in` made it from
WordNet's own ``data.noun``. In the order of their names, the classes are in that of the logits.

References
----------
Fellbaum (ed.), "WordNet: An Electronic Lexical Database", MIT Press (1998). The table is shipped
under WordNet's licence, which lies beside it.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

TABLE = Path(__file__).with_name("wordnet3") / "imagenet.csv"
ARTEFACT, ANIMAL, DOG = "n00021939", "n00015388", "n02084071"


@dataclass(frozen=True)
class Noun:
    """A noun of WordNet, a synonym set."""

    name: str  # its first word
    above: tuple[str, ...]  # its hypernyms: what it is a kind of


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Classes, and the nouns above them."""

    classes: tuple[str, ...]  # sorted: the order of the logits
    nouns: Mapping[str, Noun]  # the classes, and all that is above them

    def below(self, noun: str) -> np.ndarray:
        """Say of each class whether it is a kind of this noun, shape (classes,), bool.

        KeyError if the noun is not above any class.
        """
        found: np.ndarray = np.isfinite(self._up[:, list(self.nouns).index(self._known(noun))])
        return found

    @functools.cached_property
    def distance(self) -> np.ndarray:
        """Steps from class to class by way of a noun above both, at the fewest: (classes, classes).

        Two breeds below one noun are two steps apart. What shares no noun is infinitely far.
        """
        up = self._up
        found = np.full((len(up), len(up)), np.inf)
        for row, steps in zip(found, up, strict=True):
            for noun in np.flatnonzero(np.isfinite(steps)):
                np.minimum(row, steps[noun] + up[:, noun], out=row)
        return found

    @functools.cached_property
    def neighbours(self) -> np.ndarray:
        """Which classes are as near to each as any is, shape (classes, classes), bool."""
        others = self.distance + np.diag(np.full(len(self.classes), np.inf))
        found: np.ndarray = (others == others.min(1, keepdims=True)) & np.isfinite(others)
        return found

    @functools.cached_property
    def _up(self) -> np.ndarray:
        """Steps from each class up to each noun, infinite where it is not above."""
        place = {wnid: i for i, wnid in enumerate(self.nouns)}
        edges = [(place[w], place[a]) for w, noun in self.nouns.items() for a in noun.above]
        rows, columns = np.reshape(edges, (-1, 2)).T.astype(int)
        graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=2 * (len(place),))
        starts = [place[wnid] for wnid in self.classes]
        up: np.ndarray = shortest_path(graph, unweighted=True, indices=starts)
        return up

    def _known(self, noun: str) -> str:
        if noun not in self.nouns:
            raise KeyError(f"no class is a kind of {noun!r}, nor is it one")
        return noun


@functools.cache
def imagenet() -> Hierarchy:
    """Return the 1,000 classes of ImageNet with the nouns above them."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    nouns = {row["wnid"]: Noun(row["name"], tuple(row["above"].split())) for row in rows}
    return Hierarchy(tuple(sorted(r["wnid"] for r in rows if r["is_class"] == "1")), nouns)


def hypernyms_in(database: Path, classes: Collection[str]) -> dict[str, Noun]:
    """Read the classes and all that is above them from WordNet's ``data.noun``, by their names.

    KeyError if a class is not in the database.
    """
    lines = {}
    for line in database.read_text(encoding="latin-1").splitlines():
        if not line.startswith(" "):  # of the licence
            lines[f"n{line[:8]}"] = line.partition(" | ")[0].split()
    found: dict[str, Noun] = {}
    open_ = sorted(classes)
    while open_:
        if (wnid := open_.pop()) in found:
            continue
        fields = lines[wnid]
        pointers = fields[4 + 2 * int(fields[3], 16) :]  # their number, then four fields for each
        above = tuple(
            f"n{pointers[i + 1]}" for i in range(1, len(pointers), 4) if pointers[i] in ("@", "@i")
        )
        found[wnid] = Noun(fields[4].replace("_", " "), above)
        open_ += above
    return dict(sorted(found.items()))


def write(nouns: Mapping[str, Noun], classes: Collection[str], path: Path = TABLE) -> None:
    """Write nouns as the table that `imagenet` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["wnid", "is_class", "name", "above"])
        for wnid, noun in nouns.items():
            rows.writerow([wnid, int(wnid in classes), noun.name, " ".join(noun.above)])
