"""From the options of a command to the jobs of a plan: every combination of values is one."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svcca_lib.paper import profiles
from svcca_lib.paper.data.sources import source_of
from svcca_lib.paper.publishing import site
from svcca_lib.paper.running import notebooks
from svcca_lib.paper.running.plan import GATHERING, Job, Plan, sorted_once

_RANGE = re.compile(r"(-?\d+)-(-?\d+)")
_UNSAFE = re.compile(r"[^A-Za-z0-9.+_-]+")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
MOST = 10_000  # jobs of one sweep
_FARTHEST = 2**62  # so that the length of ranges is a number that Python takes for one


def named(root: Path, given: Sequence[Path], chapters: str) -> list[Path]:
    """Return the notebooks that are given, and those of the book that are named.

    `chapters` is "all", or names or numbers with commas. ValueError if there is no such notebook or
    chapter, or none is asked for.
    """
    names = site.chapters(root)
    if chapters == "all":
        found = [name for name in names if name != GATHERING]
    else:
        found = []
        for wanted in filter(None, chapters.split(",")):
            matches = [n for n in names if wanted in (n, n[:2], n[:2].lstrip("0"))]
            if not matches:
                raise ValueError(f"chapters are all, {', '.join(names)}; got {wanted!r}")
            found += matches
    if not given and not found:
        raise ValueError("name a chapter, such as book/04-dynamics.ipynb, or give --chapters all")
    for path in given:
        if not path.is_file():
            raise ValueError(
                f"there is no notebook {path}; to execute one into a file use `execute`"
            )
    return [*given, *(root / "book" / f"{name}.ipynb" for name in found)]


@dataclass(frozen=True)
class Grid:
    """Every combination of parameters with every chapter, none of which is made before its time."""

    root: Path
    # of each chapter: its notebook, its parameters with their defaults, the values to take
    chapters: tuple[tuple[Path, Mapping[str, Any], Mapping[str, Sequence[Any]]], ...]
    timeout: float | None = None

    @classmethod
    def of(
        cls,
        root: Path,
        chosen: Iterable[Path],
        values: Mapping[str, Sequence[str]],
        timeout: float | None = None,
    ) -> Grid:
        """Return the grid of what `grid` takes, with its errors."""
        chapters = []
        for notebook in {path.resolve(): path for path in chosen}.values():
            known = notebooks.parameters(notebook)
            with _naming(notebook):
                if "out" in values:
                    raise ValueError("out is set by the sweep: its folder is given as --out FOLDER")
                choices = {name: expand(known, name, texts) for name, texts in values.items()}
            chapters.append((notebook, known, choices))
        return cls(root, tuple(chapters), notebooks.limit(timeout))

    @property
    def size(self) -> int:
        """The number of jobs."""
        return sum(_combinations(choices) for *_, choices in self.chapters)

    def job(self, place: int) -> Job:
        """Return a job by its place; ValueError or TypeError if its parameters are wrong."""
        for notebook, known, choices in self.chapters:
            if place < _combinations(choices):
                given = {}
                for name in reversed(tuple(choices)):
                    place, at = divmod(place, len(choices[name]))
                    given[name] = choices[name][at]
                with _naming(notebook):
                    return _job(self.root, notebook, known, given)
            place -= _combinations(choices)
        raise IndexError(place)

    def plan(self) -> Plan:
        """Return all the jobs; ValueError if they are more than `MOST`."""
        if self.size > MOST:
            raise ValueError(
                f"that is {self.size:,} jobs, and a sweep has {MOST:,} at most: give fewer values, "
                "or several sweeps"
            )
        plan = Plan(sorted_once(map(self.job, range(self.size))), self.timeout)
        _ = plan.trainings  # now is the time to find out that there are no such data, or width
        return plan


def _combinations(choices: Mapping[str, Sequence[Any]]) -> int:
    return math.prod(map(len, choices.values()))


def grid(
    root: Path,
    chosen: Iterable[Path],
    values: Mapping[str, Sequence[str]],
    timeout: float | None = None,
) -> Plan:
    """Expand parameters into one job for each combination and chapter.

    `values` are texts such as ``{"seed": ["0-9"], "keep": ["0.9,0.99"]}``, see `expand`; a notebook
    within `root` is named by its path from there. Parameters and values that a chapter does not
    take raise ValueError or TypeError, naming those it does; so does a `timeout` that is none.
    """
    return Grid.of(root, chosen, values, timeout).plan()


@contextmanager
def _naming(notebook: Path) -> Iterator[None]:
    """Have errors name the chapter."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise type(error)(f"{notebook.stem}: {error}") from None


class _Ranges(Sequence[Any]):
    """Whole numbers, each once, most of them in long ranges."""

    def __init__(self, parts: Iterable[Sequence[int]]) -> None:
        single = (range(n, n + 1) for part in parts if not isinstance(part, range) for n in part)
        spans = [part for part in parts if isinstance(part, range)]
        self._spans = _disjoint([*spans, *single])

    def __len__(self) -> int:
        return sum(map(len, self._spans))

    def __getitem__(self, place: Any) -> Any:
        for span in self._spans:
            if place < len(span):
                return span[place]
            place -= len(span)
        raise IndexError(place)


def _disjoint(ranges: Iterable[range]) -> list[range]:
    """Return upward ranges that hold the same numbers, each once."""
    found: list[range] = []
    for span in sorted(ranges, key=lambda span: span.start):
        if found and span.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, span.stop))
        else:
            found.append(span)
    return found


def expand(known: Mapping[str, Any], name: str, texts: Iterable[str]) -> Sequence[Any]:
    """Return the values of one parameter, typed as its default, each once.

    Commas separate values, except within brackets and quotes; for whole numbers ``0-9`` is a range,
    both ends included. Up to `MOST` values are a list. ValueError or TypeError for a text that is
    no such value.

    >>> expand({"seed": 0}, "seed", ["0-2,7"]), expand({"keep": 0.9}, "keep", ["0.5", "1"])
    ([0, 1, 2, 7], [0.5, 1.0])
    >>> expand({"sizes": (1,)}, "sizes", ["(1, 2),(3,)"]), expand({"a": ""}, "a", ["'x,y',it's"])
    ([(1, 2), (3,)], ['x,y', "it's"])
    >>> len(expand({"seed": 0}, "seed", ["0-100000000"]))
    100000001
    """
    parts: list[Sequence[Any]] = []
    default = known.get(name)
    whole = isinstance(default, int) and not isinstance(default, bool)
    for part in (part for text in texts for part in _split(text)):
        if whole and (ends := _RANGE.fullmatch(part)):
            low, high = map(int, ends.groups())
            if not -_FARTHEST < low <= high < _FARTHEST:
                raise ValueError(f"a range runs upward, to 2**62 at most; got {name}={part}")
            parts.append(range(low, high + 1))
            continue
        value = notebooks.parse(known, [f"{name}={part}"])[name]
        parts.append([float(value) if isinstance(default, float) else value])
    if sum(map(len, parts)) > MOST and whole:
        return _Ranges(parts)
    return list({repr(value): value for part in parts for value in part}.values())


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets and quotes.

    A quote opens where a value begins or within brackets; elsewhere it is an apostrophe. A bracket
    that nothing closes holds nothing together.
    """
    parts, closing, quote = [""], list[str](), ""
    for place, character in enumerate(text):
        escaped = len(parts[-1]) - len(parts[-1].rstrip("\\")) & 1
        if quote:
            quote = "" if character == quote and not escaped else quote
        elif character in "'\"" and (closing or not parts[-1].strip()):
            quote = character
        elif character in _CLOSING and _CLOSING[character] in text[place:]:
            closing.append(_CLOSING[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif character == "," and not closing:
            parts.append("")
            continue
        parts[-1] += character
    return [part.strip() for part in parts]


def _job(root: Path, notebook: Path, known: Mapping[str, Any], given: Mapping[str, Any]) -> Job:
    profiles.profile(given.get("profile", known.get("profile", "quick")))
    kept = {name: known[name] for name in ("profile", "seed") if name in known}
    changed = {name: value for name, value in given.items() if value != known[name]}
    parameters = kept | dict(sorted(changed.items()))
    seed = parameters.get("seed", 0)  # torch's generators take no larger one
    if isinstance(seed, int) and not 0 <= seed < 2**63:
        raise ValueError(f"seed must be at least 0, and less than 2**63; got {seed}")
    if "data" in parameters:
        parameters["data"] = notebooks.anchored(parameters["data"])
    path = notebook.resolve()
    if set("{}") & set(str(path)):
        raise ValueError(f"Snakemake takes braces in a path for wildcards; rename {path}")
    within = path.is_relative_to(root.resolve())
    source = path.relative_to(root.resolve()).as_posix() if within else str(path)
    return Job(f"{_folder(path.stem)}/{point(parameters)}", source, parameters)


def _folder(stem: str) -> str:
    """Name a notebook's folder: its own name, or where shells and Snakemake take offence like it.

    >>> _folder("04-dynamics"), _folder("über uns")
    ('04-dynamics', 'uber-uns-692fb4')
    """
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    plain = _UNSAFE.sub("-", plain)[:80].lstrip("._+-") or "notebook"
    if plain == stem:
        return stem
    return f"{plain.rstrip('-')}-{hashlib.sha256(stem.encode()).hexdigest()[:6]}"


def point(parameters: Mapping[str, Any]) -> str:
    """Name a set of parameters: readable, and a file name that no shell has to quote."""
    short = {name: str(value) for name, value in parameters.items()}
    if "data" in short:
        short["data"] = source_of(short["data"]) + ":"
    texts = [text if name == "profile" else f"{name}-{text}" for name, text in short.items()]
    point = "_".join(texts) or "defaults"
    ambiguous = any(isinstance(value, str) and "_" in value for value in parameters.values())
    if _UNSAFE.search(point) or len(point) > 100 or ambiguous:
        digest = hashlib.sha256(repr(parameters).encode()).hexdigest()[:6]
        point = f"{_UNSAFE.sub('-', point)[:80].strip('-')}_{digest}"
    return point
