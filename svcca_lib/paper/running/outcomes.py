"""How a part of the tests went on a machine, from pytest's junit file, and a table of many."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from svcca_lib.paper.chapter.provenance import duration
from svcca_lib.paper.store.files import write_json


@dataclass(frozen=True)
class Outcome:
    """How one part of the tests went on one machine."""

    machine: str
    part: str
    state: str  # of the code, see `trials.state`
    passed: int
    failed: int
    skipped: int
    seconds: float
    kernels: str  # what the tests computed with
    failures: tuple[str, ...] = ()  # each test that failed, and how, in a line

    def write(self, path: Path) -> None:
        """Write it to a file, which is there only when it is whole."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Outcome | None:
        """Return what a file holds; None if there is none, or of another make."""
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            return cls(**said | {"failures": tuple(said["failures"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @property
    def counts(self) -> str:
        """Passed, failed and skipped, and how long it took."""
        return f"{self.passed}/{self.failed}/{self.skipped}  {duration(self.seconds)}"


def tally(junit: str) -> dict[str, Any]:
    """Return what a junit file counts: passed, failed, skipped, and the failures."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    failures = []
    for case in ElementTree.fromstring(junit).iter("testcase"):
        wrong = [e for e in case if e.tag in ("failure", "error")]
        if wrong:
            name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
            failures.append(f"{name}: {_told(wrong[0])}")
        kind = "failed" if wrong else "passed" if case.find("skipped") is None else "skipped"
        counts[kind] += 1
    return counts | {"failures": tuple(failures)}


def measured(junit: str) -> dict[str, float]:
    """Return the claims' numbers that the from-scratch tests recorded, by ``CHAPTER/ID``."""
    found = ElementTree.fromstring(junit).iter("property")
    return {each.get("name", ""): float(each.get("value", "nan")) for each in found}


def _told(wrong: ElementTree.Element) -> str:
    """Return in a line what a test that failed says: its message, of a cell what went wrong."""
    message, text = wrong.get("message") or "", wrong.text or ""
    cell = "Notebook cell" in message
    coloured = text if cell or not message else message
    # A terminal's colours; XML has no escape character, and pytest writes it out.
    plain = re.sub(r"(?:\x1b|#x1B)\[[\d;]*m", "", coloured)
    lines = [line.strip() for line in plain.splitlines() if line.strip()] or ["no message"]
    if not cell or len(lines) < 3:
        return lines[0][:200]
    what = re.sub(r"^Cell \d+: ", "", lines[1])
    # An error is the last line of its traceback; the first of the differences are enough.
    found = lines[lines.index("Traceback:") + 1 :] if "Traceback:" in lines else lines[2:]
    told = found[:3] if "differ" in what else found[-1:]
    return ": ".join([what, *told])[:200]


def table(results: Sequence[Outcome | str], parts: Sequence[str]) -> str:
    """Return results as a table, a machine a row, and below it all that failed.

    A cell has passed/failed/skipped and the time.
    """
    outcomes = [r for r in results if isinstance(r, Outcome)]
    found = {(o.machine, o.part): o for o in outcomes}
    kernels = {o.machine: o.kernels for o in outcomes}
    shown = [part for part in parts if any(o.part == part for o in outcomes)]
    rows = [["machine", "computes with", *shown]]
    for name in kernels:
        cells = (found.get((name, part)) for part in shown)
        rows.append([name, kernels[name], *(cell.counts if cell else "-" for cell in cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    failures = [f"{o.machine}, {o.part}: {text}" for o in outcomes for text in o.failures]
    lines = lines if outcomes else []
    for more in ([result for result in results if isinstance(result, str)], failures):
        if more:
            lines += ["", *more]
    return "\n".join(lines)


def failed(results: Iterable[Outcome | str]) -> bool:
    """Return whether a test failed, or a machine could not be had that should have been."""
    return any(r.startswith("error:") if isinstance(r, str) else r.failed > 0 for r in results)
