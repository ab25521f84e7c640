"""The register of claims: what is claimed, by which rule it is decided, and what changed since.

``book/register.toml`` is the one place where a claim's kind, words, rule and null stand. A chapter
brings the numbers (`Chapter.claim`), so it cannot decide by another rule than the registered one;
and the register cannot be moved silently: each change is an entry with what it was, what it is and
why, and the present rule is the last of them.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import itertools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from svcca_lib.paper.chapter.claims import KINDS, Rule
from svcca_lib.paper.store.paths import REPOSITORY

PATH = REPOSITORY / "book" / "register.toml"
CHANGING = ("statement", "rule", "null")  # what a change may be of
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Change:
    """One change of a registered claim: what it was and is, such as ``"rule: at least 1.5"``."""

    date: datetime.date
    commit: str  # short hash; empty for the one that writes the entry
    was: str
    now: str
    why: str


@dataclass(frozen=True)
class Registered:
    """One claim as registered; its parts are those of a `Claim`."""

    chapter: str
    id: str
    kind: str
    figure: str
    statement: str  # the chapter fills the {words} in it
    rule: Rule
    null: str
    registered: datetime.date  # day on which it was first stored
    changes: tuple[Change, ...] = ()
    withdrawn: datetime.date | None = None  # since when no chapter makes it

    def worded(self, words: Mapping[str, object]) -> str:
        """Return the statement with just these words in its places; ValueError if it has others."""
        places = set(_PLACEHOLDER.findall(self.statement))
        if places != set(words):
            raise ValueError(
                f"the statement of {self.id!r} has places for {sorted(places) or 'no words'}; "
                f"got {sorted(words) or 'none'}"
            )
        return _PLACEHOLDER.sub(lambda place: str(words[place[1]]), self.statement)

    @property
    def last_change(self) -> datetime.date:
        """Day since which it has the words, the rule and the null that it has now."""
        decisive = tuple(f"{part}: " for part in CHANGING)
        days = (change.date for change in self.changes if change.now.startswith(decisive))
        return max(days, default=self.registered)


@dataclass(frozen=True)
class Register:
    """All claims of the book, withdrawn ones included, by chapter and id, in the book's order.

    `cifar10` has the day when each chapter was first published at CIFAR-10's size: a rule that is
    older was set before its number there could be seen.
    """

    claims: Mapping[tuple[str, str], Registered]
    cifar10: Mapping[str, datetime.date] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path = PATH) -> Register:
        """Read a register.

        Raises ValueError if an entry is not complete, or a chain of changes does not end in the
        present rule.
        """
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        claims: dict[tuple[str, str], Registered] = {}
        for entry in content["claim"]:
            claim = _registered(entry)
            key = claim.chapter, claim.id
            if key in claims:
                raise ValueError(f"{path.name} registers {claim.id!r} of {claim.chapter} twice")
            claims[key] = claim
        return cls(claims, content.get("cifar10", {}))

    def chapter(self, name: str) -> dict[str, Registered]:
        """Return the claims that a chapter has to make, by their ids."""
        return {
            id: claim
            for (chapter, id), claim in self.claims.items()
            if chapter == name and claim.withdrawn is None
        }

    def predates_cifar10(self, claim: Registered) -> bool:
        """Whether the claim is decided as it was before its chapter ran at CIFAR-10's size."""
        run = self.cifar10.get(claim.chapter)
        return run is not None and claim.last_change < run


@functools.cache
def registered() -> Register:
    """Return the book's own register, read once."""
    return Register.read()


def digest(chapter: str) -> str:
    """Return a hash of all that a chapter takes from the register."""
    claims = registered().chapter(chapter)
    return hashlib.sha256(repr(sorted(claims.items())).encode()).hexdigest()[:16]


def _registered(entry: Mapping[str, Any]) -> Registered:
    values = dict(entry)
    id = values.get("id", "an entry without id")
    changes = values.pop("change", ())
    missing = {"chapter", "id", "kind", "figure", "statement", "rule", "null", "registered"} - set(
        values
    )
    if missing:
        raise ValueError(f"{id!r} is registered without {', '.join(sorted(missing))}")
    if values["kind"] not in KINDS:
        raise ValueError(f"kind of {id!r} must be one of {', '.join(KINDS)}; got {values['kind']}")
    text = {name: values[name] for name in CHANGING}
    values["rule"] = Rule.parse(values["rule"])
    claim = Registered(**values, changes=tuple(_change(id, change) for change in changes))
    _check_chain(claim, text)
    return claim


def _change(id: str, values: Mapping[str, Any]) -> Change:
    empty = [name for name in ("was", "now", "why") if not str(values.get(name, "")).strip()]
    if empty or "date" not in values:
        raise ValueError(
            f"a change of {id!r} needs date, was, now and why; it lacks "
            + (", ".join(empty) or "date")
        )
    return Change(values["date"], *(values.get(n, "") for n in ("commit", "was", "now", "why")))


def _check_chain(claim: Registered, text: Mapping[str, str]) -> None:
    """Raise unless each kind of change leads, step by step, to what is registered now."""
    for name in CHANGING:
        steps = [c for c in claim.changes if c.now.startswith(f"{name}: ")]
        for before, after in itertools.pairwise(steps):
            if before.now != after.was:
                raise ValueError(f"changes of {claim.id!r} miss a step: {before.now} | {after.was}")
        present = f"{name}: {text[name] or 'none'}"
        if steps and claim.withdrawn is None and steps[-1].now != present:
            raise ValueError(f"{claim.id!r} changed to '{steps[-1].now}', but has '{present}'")
