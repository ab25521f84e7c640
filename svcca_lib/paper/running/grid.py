"""From the options of a command to the jobs of a plan: every combination of values is one."""

from __future__ import annotations

import ast
import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from svcca_lib.paper import profiles
from svcca_lib.paper.data.sources import source_of
from svcca_lib.paper.publishing import site
from svcca_lib.paper.running import notebooks
from svcca_lib.paper.running.plan import GATHERING, Job, Plan

_RANGE = re.compile(r"(-?\d+)-(-?\d+)")
_UNSAFE = re.compile(r"[^A-Za-z0-9.+_-]+")


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


def grid(
    root: Path,
    chosen: Iterable[Path],
    values: Mapping[str, Sequence[str]],
    timeout: float | None = None,
) -> Plan:
    """Expand parameters into one job for each combination and chapter.

    `values` are texts such as ``{"seed": ["0-9"], "keep": ["0.9,0.99"]}``, see `expand`; a notebook
    within `root` is named by its path from there. Parameters and values that a chapter does not
    take raise ValueError or TypeError, naming those it does.
    """
    jobs = {}
    for notebook in chosen:
        known = notebooks.parameters(notebook)
        try:
            if "out" in values:
                raise ValueError("out is set by the sweep: its folder is given as --out FOLDER")
            choices = {name: expand(known, name, texts) for name, texts in values.items()}
            for combination in itertools.product(*choices.values()):
                job = _job(root, notebook, known, dict(zip(choices, combination, strict=True)))
                jobs[job.name] = job
        except (ValueError, TypeError) as error:
            raise type(error)(f"{notebook.stem}: {error}") from None
    plan = Plan(tuple(jobs[name] for name in sorted(jobs)), timeout)
    _ = plan.trainings  # now is the time to find out that there are no such data, or no such width
    return plan


def expand(known: Mapping[str, Any], name: str, texts: Iterable[str]) -> list[Any]:
    """Return the values of one parameter, typed as its default.

    Commas separate values, except within brackets and quotes; for whole numbers ``0-9`` is a range,
    both ends included.

    >>> expand({"seed": 0}, "seed", ["0-2,7"]), expand({"keep": 0.9}, "keep", ["0.5", "1"])
    ([0, 1, 2, 7], [0.5, 1.0])
    >>> expand({"sizes": (1,)}, "sizes", ["(1, 2),(3,)"]), expand({"a": ""}, "a", ["'x,y',z"])
    ([(1, 2), (3,)], ['x,y', 'z'])
    """
    found: list[Any] = []
    for part in (part for text in texts for part in _split(text)):
        if isinstance(known.get(name), int) and (ends := _RANGE.fullmatch(part)):
            low, high = map(int, ends.groups())
            if high < low:
                raise ValueError(f"a range runs upward; got {name}={part}")
            found += range(low, high + 1)
            continue
        if isinstance(known.get(name), str) and part[:1] in ("'", '"'):
            part = ast.literal_eval(part)
        value = notebooks.parse(known, [f"{name}={part}"])[name]
        found.append(float(value) if isinstance(known[name], float) else value)
    return list(dict.fromkeys(found))


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and not depth:
            parts.append("")
            continue
        parts[-1] += character
    return [part.strip() for part in parts]


def _job(root: Path, notebook: Path, known: Mapping[str, Any], given: Mapping[str, Any]) -> Job:
    profiles.profile(given.get("profile", known.get("profile", "quick")))
    kept = {name: known[name] for name in ("profile", "seed") if name in known}
    changed = {name: value for name, value in given.items() if value != known[name]}
    parameters = kept | dict(sorted(changed.items()))
    if isinstance(parameters.get("seed"), int) and parameters["seed"] < 0:
        raise ValueError(f"seed must be at least 0; got {parameters['seed']}")
    if "data" in parameters:
        parameters["data"] = notebooks.anchored(parameters["data"])
    path = notebook.resolve()
    within = path.is_relative_to(root.resolve())
    source = path.relative_to(root.resolve()).as_posix() if within else str(path)
    return Job(f"{path.stem}/{point(parameters)}", source, parameters)


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
