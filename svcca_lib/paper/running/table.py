"""How the steps of a plan stand: the table of a sweep, and a summary in words.

Everything is read from the files that steps leave (`progress`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svcca_lib.names import cells_of
from svcca_lib.paper.chapter.provenance import duration
from svcca_lib.paper.running import notebooks, progress
from svcca_lib.paper.running.plan import Job, Layout, Plan, kept
from svcca_lib.paper.store.files import write_json, write_whole

_SHOWN = {"id", "measured", "holds"}  # what the table takes of a claim


@dataclass(frozen=True)
class Row:
    """How one job stands: a row of the sweep's table."""

    job: Job
    state: progress.State  # "stopped" for one that was killed
    record: Mapping[str, Any]  # what it left: seconds, CPU seconds, memory; or why it failed
    claims: tuple[Mapping[str, Any], ...]  # of its ledger

    @property
    def holding(self) -> int:
        """Claims that hold."""
        return sum(claim["holds"] for claim in self.claims)

    @property
    def error(self) -> str:
        """Why it failed, in a line."""
        return first_line(self.record.get("error", ""))

    @property
    def values(self) -> dict[str, Any]:
        """The row without its parameters and claims, as the table shows it."""
        took = {name: self.record.get(name) for name in ("seconds", "cpu_seconds")}
        return {
            "status": self.state,
            **{name: seconds and round(seconds, 2) for name, seconds in took.items()},
            "memory_mb": self.record.get("memory_mb"),
            "claims_hold": self.holding if self.claims else None,
            "claims": len(self.claims) or None,
            "error": self.error,
        }


def row(layout: Layout, job: Job) -> Row:
    """Return how a job stands, from its files."""
    record, notebook = layout.record(job.name), layout.notebook(job.name)
    state = progress.state(record)
    if (state == "done" and not notebook.is_file()) or (
        state == "waiting" and notebooks.unfinished(notebook).is_file()
    ):
        state = "stopped"
    if state == "done" and layout.claims(job.name).is_file():  # a notebook need not make claims
        claims = (progress.read(layout.claims(job.name)) or {}).get("claims")
        if claims is None or not all(set(claim) >= _SHOWN for claim in claims):
            wrong = f"{layout.claims(job.name)} is damaged: remove {notebook} and resume"
            return Row(job, "failed", {"error": wrong}, ())
        return Row(job, state, progress.said(record, state), tuple(claims))
    return Row(job, state, progress.said(record, state), ())


def rows(plan: Plan, layout: Layout) -> list[Row]:
    """Return how the jobs of a plan stand."""
    return [row(layout, job) for job in plan.jobs]


def flat(found: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the table of a sweep: parameters, status, times, claims; one flat row for each job."""
    names = dict.fromkeys(name for r in found for name in r.job.parameters)
    ids = dict.fromkeys(claim["id"] for r in found for claim in r.claims)
    table = []
    for r in found:
        parameters = {name: r.job.parameters.get(name) for name in names}
        measured = {claim["id"]: claim["measured"] for claim in r.claims}
        measured = {claim: measured.get(claim) for claim in ids}
        table.append({"chapter": r.job.chapter} | parameters | r.values | measured)
    return table


def write(found: Sequence[Row], layout: Layout) -> None:
    """Write ``table.csv`` and ``table.json``, the latter with every claim in full."""
    import pandas as pd

    full = [
        {
            "job": r.job.name,
            "chapter": r.job.chapter,
            "parameters": kept(r.job.parameters),
            "status": r.state,
            **r.record,
            "claims": r.claims,
        }
        for r in found
    ]
    write_json(layout.table_json, full)
    write_whole(layout.table, pd.DataFrame(map(cells_of, flat(found))).to_csv(index=False))


def counts(states: Iterable[str]) -> str:
    """Return how many steps are in which state, in words.

    >>> counts(["done", "waiting", "done"])
    '2 of 3 done, 1 waiting'
    """
    found = Counter(states)
    parts = [f"{found['done']} of {found.total()} done"]
    order = ("running", "failed", "stopped", "waiting")
    return ", ".join([*parts, *(f"{found[state]} {state}" for state in order if found[state])])


def summary(plan: Plan, layout: Layout, most: int = 45) -> str:
    """Return how the steps of a plan stand: times, claims, and where to look at what failed.

    Of more than `most` steps, only those that failed or were stopped are listed one by one.
    """
    steps: list[tuple[str, Path, str, Mapping[str, Any], str]] = []
    for name in plan.trainings:
        record = layout.trained(name)
        stands = progress.state(record)
        steps.append((f"training {name}", record, stands, progress.said(record, stands), ""))
    for job in rows(plan, layout):
        name = job.job.name
        held = f"   {job.holding} of {len(job.claims)} claims hold" if job.claims else ""
        steps.append((name, layout.record(name), job.state, job.record, held))
    lines = []
    for name, record, state, said, more in steps:
        if state in ("done", "waiting") and len(steps) > most:
            continue
        if state in ("failed", "stopped"):
            shown = notebooks.unfinished(layout.notebook(name))
            more = f"   see {shown if shown.is_file() else layout.log(record)}"
        time = duration(said["seconds"]) if state == "done" and said else state
        lines.append(f"  {name:48}{time:>12}{more}")
    return "\n".join([*lines, f"  {counts(state for _, _, state, *_ in steps)}"])


def first_line(error: str) -> str:
    """Return what an error says, in one line: the last that is not empty."""
    return next((line.strip() for line in reversed(error.splitlines()) if line.strip()), "")
