"""What a kept result is a result of: the code that decided its numbers, by versions a test guards.

`versions.toml` holds two versions, of training and of the measures, each beside a digest of the
code that it stands for. A network is keyed by the first; what is measured on networks by both and
by the whole file of its experiment. Whoever edits that code says what the edit means:

- its numbers may change: ``python -m svcca_lib versions --bump measures`` (or ``training``), and
  what was kept is made anew when it is next asked for;
- code was only moved, renamed or explained: ``--repin``, and everything kept stays valid.

Until then the digest itself is part of the key, so that nothing stale is ever read, and a test
fails. Comments, docstrings, formatting and the place of a statement among the files are in no
digest (`code_digest`): functions that move between the files of one version need nothing at all.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from svcca_lib.paper.store.code_digest import digest
from svcca_lib.paper.store.files import write_whole
from svcca_lib.paper.store.paths import PACKAGE

LOCK = Path(__file__).with_name("versions.toml")


@dataclasses.dataclass(frozen=True)
class Version:
    """One version of the lock, with the digest of its code when last pinned, and as it is found."""

    name: str  # "training" or "measures"
    version: str  # what keys contain
    digest: str
    found: str

    @property
    def pinned(self) -> bool:
        """Whether the code is the one that the version stands for."""
        return self.digest == self.found

    def __str__(self) -> str:
        return self.version if self.pinned else f"{self.version}+{self.found}"


def locked() -> dict[str, Version]:
    """Read the lock and digest the code it names."""
    return {
        name: Version(name, entry["version"], entry["digest"], digest(files(entry["code"])))
        for name, entry in tomllib.loads(LOCK.read_text(encoding="utf-8")).items()
    }


def files(patterns: Iterable[str]) -> list[Path]:
    """Return the files of the package that patterns name; one with ``!`` takes its own out.

    A pattern that matches none is a FileNotFoundError: the lock would guard less than it says.
    """
    chosen: set[Path] = set()
    for pattern in patterns:
        found = set(PACKAGE.glob(pattern.removeprefix("!")))
        if not found:
            raise FileNotFoundError(f"no file of {PACKAGE} is named by {pattern!r}; mend {LOCK}")
        chosen = chosen - found if pattern.startswith("!") else chosen | found
    return sorted(chosen)


def of_training() -> str:
    """Return the version of the code that decides a trained network, for its key."""
    return str(current()["training"])


def of_measurement(make: Callable[..., Any]) -> str:
    """Return the version of the code that decides what `make` measures, for its key.

    That is training (which also reads the networks), the measures, and the whole file in which
    `make` is defined.
    """
    own = digest([Path(make.__code__.co_filename)])
    return " ".join([*(f"{name} {version}" for name, version in current().items()), own])


def bump(name: str) -> None:
    """Give the code of `name` a new version: what was kept of the last is made anew."""
    known = locked()
    if name not in known:
        raise ValueError(f"there is no version of {name!r}, only of {' and '.join(known)}")
    last = known[name].version
    _rewrite(name, "version", str(int(last) + 1) if last.isdecimal() else "2")
    repin([name])


def repin(names: Collection[str] = ()) -> None:
    """Say that the code as it is gives the numbers of its version: what was kept stays valid."""
    for name, version in locked().items():
        if not names or name in names:
            _rewrite(name, "digest", version.found)


def _rewrite(table: str, field: str, value: str) -> None:
    pattern = rf'(?ms)(^\[{table}\]$(?:(?!^\[).)*?^{field} = )"[^"]*"'
    text, count = re.subn(pattern, rf'\g<1>"{value}"', LOCK.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError(f"{LOCK} has no line '{field} = ...' under [{table}]")
    write_whole(LOCK, text)


def canonical_json(value: Any) -> str:
    """Write JSON in the one way that is hashed: sorted keys, no spaces, dataclasses as objects."""

    def as_object(part: Any) -> Any:
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            return {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
        raise TypeError(
            f"expected JSON values (numbers, strings, lists, dicts, dataclasses), got "
            f"{type(part).__name__}: {part!r}; convert it first"
        )

    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=as_object)


def key_of(identity: Mapping[str, Any]) -> str:
    """Return the key of what was made: of its ``kind``, ``config`` and ``version``."""
    parts = {name: identity[name] for name in ("kind", "config", "version")}
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def plain(value: Any) -> Any:
    """Return `value` as it comes back from JSON: dataclasses as dicts, tuples as lists."""
    return json.loads(canonical_json(value))


@functools.cache
def current() -> dict[str, Version]:
    """Return the lock as it was when this process first asked: the code it runs is that code."""
    return locked()
