"""How it goes, for those who watch: lines that live on a terminal, plain lines, or JSON.

Everything is read from the files that steps write (`progress`), so it is the same for processes of
this machine and for jobs of a cluster.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from svcca_lib.paper.chapter.provenance import duration
from svcca_lib.paper.running import progress, table
from svcca_lib.paper.running.plan import Layout, Plan


@dataclass(frozen=True)
class Event:
    """A step began, or ended."""

    step: str  # a job's name, or "training ..." and its id
    state: progress.State
    seconds: float | None = None  # that it took
    claims: int | None = None  # of a chapter that is done
    holding: int | None = None
    error: str = ""  # of one that failed, in a line

    def __str__(self) -> str:
        text = f"{self.step}: {self.state}"
        if self.seconds is not None:
            text += f" after {duration(self.seconds)}"
        if self.claims:
            text += f", {self.holding} of {self.claims} claims hold"
        return f"{text}: {self.error}" if self.error else text


class Lines:
    """For people: a line for each step that ended and, on a terminal, live lines below them."""

    def __init__(self, stream: TextIO) -> None:
        console = Console(file=stream, force_terminal=stream.isatty(), highlight=False)
        # Shows nothing where there is no terminal: a log is no place for what changes every second.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def tell(self, event: Event) -> None:
        """Write steps that ended."""
        console = self._live.console
        if event.state == "running":
            return
        if console.is_terminal:
            console.print(Text(str(event), style="green" if event.state == "done" else "red"))
        else:
            console.print(Text(f"{time.strftime('%H:%M:%S')} {event}"), soft_wrap=True)

    def show(self, lines: list[str]) -> None:
        """Replace the live lines: one for each step that is under way and one for all."""
        width = self._live.console.width
        self._live.start()
        self._live.update(Text("\n".join(line[:width] for line in lines)), refresh=True)

    def close(self) -> None:
        """Take the live lines away; the stream is the caller's."""
        self._live.stop()


class Json(Lines):
    """For machines: an object in a line for each event."""

    def tell(self, event: Event) -> None:
        """Write what is known of the event."""
        known = {key: value for key, value in asdict(event).items() if value not in (None, "")}
        stream = self._live.console.file
        print(json.dumps({"time": round(time.time(), 1), **known}), file=stream, flush=True)

    def show(self, lines: list[str]) -> None:
        """Write nothing: see the files of the steps."""


class Watch:
    """Looks every second at the files of a plan's steps, and tells a listener what is new.

    With `keep_table` it keeps the table of the sweep up to date, too.
    """

    def __init__(
        self, plan: Plan, layout: Layout, listener: Lines, keep_table: bool = False
    ) -> None:
        self.plan, self.layout, self.listener = plan, layout, listener
        self.keep_table = keep_table
        self.jobs = {job.name: job for job in plan.jobs}
        self.records = {f"training {name}": layout.trained(name) for name in plan.trainings}
        self.records |= {name: layout.record(name) for name in self.jobs}
        self.states: dict[str, progress.State] = {}
        self._seen: dict[str, tuple[progress.State, int]] = {}
        self._took: dict[str, list[float]] = defaultdict(list)  # seconds of a kind's finished steps

    @property
    def stopped(self) -> list[str]:
        """Steps that failed or were killed meanwhile."""
        return [name for name, state in self.states.items() if state in ("failed", "stopped")]

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look for as long as this is entered."""
        for name, record in self.records.items():
            self._seen[name] = state, _ = _look_at(record)
            # That a step stopped in an earlier run is no news of this one.
            self.states[name] = "waiting" if state in ("failed", "stopped") else state
            if state == "done":
                self._learn(name, progress.said(record, state))
        try:
            with progress.regularly(self._update):
                yield
        finally:
            self._update()
            self.listener.close()

    def lines(self) -> list[str]:
        """Return a line for each step under way: where it is and what time it has left."""
        return [
            self._line(name, progress.read(progress.pulse_path(record)) or {})
            for name, record in self.records.items()
            if progress.state(record) == "running"
        ]

    def _update(self) -> None:
        news = False
        for name, record in self.records.items():
            state, stamp = _look_at(record)
            if (state, stamp) != self._seen[name]:
                self._seen[name], self.states[name], news = (state, stamp), state, True
                if state != "waiting":
                    self.listener.tell(self._event(name, state))
        if self.keep_table and news:
            with suppress(OSError):  # a full disk: the next look tries again
                table.write(table.rows(self.plan, self.layout), self.layout)
        self.listener.show([*self.lines(), table.counts(self.states.values())])

    def _event(self, name: str, state: progress.State) -> Event:
        said = progress.said(self.records[name], state)
        if state == "done":
            self._learn(name, said)
        seconds, error = said.get("seconds"), table.first_line(said.get("error", ""))
        if state != "done" or name not in self.jobs:
            return Event(name, state, seconds, error=error)
        row = table.row(self.layout, self.jobs[name])
        claims, holding = (len(row.claims), row.holding) if row.claims else (None, None)
        return Event(name, state, seconds, claims, holding, error)

    def _learn(self, name: str, said: dict[str, Any]) -> None:
        if "seconds" in said:
            self._took[self._kind(name)].append(said["seconds"])

    def _kind(self, name: str) -> str:
        return name.split("/")[0] if name in self.jobs else name.rpartition("-")[0]

    def _line(self, name: str, pulse: dict[str, Any]) -> str:
        """Return where a step is and, where that can be judged, the time it has left."""
        spent = max(0.0, time.time() - pulse.get("started", time.time()))
        where, left = f"{duration(spent)}", None
        if "step" in pulse:
            where = f"step {pulse['step']:,} of {pulse['steps']:,}"
            left = pulse["seconds"] / max(pulse["step"], 1) * (pulse["steps"] - pulse["step"])
        elif "cell" in pulse:
            where = f"cell {pulse['cell']} of {pulse['cells']}"
        if left is None and (took := self._took.get(self._kind(name))):
            left = max(0.0, statistics.median(took) - spent)
        return f"{name}: {where}" + (f", {duration(left)} left" if left is not None else "")


def _look_at(record: Path) -> tuple[progress.State, int]:
    """Return the state of a step, and which failure it is: a step may fail twice in a row."""
    state = progress.state(record)
    with suppress(OSError):
        if state == "failed":
            return state, progress.failed_path(record).stat().st_mtime_ns
    return state, 0
